package stage

import "k8s.io/apimachinery/pkg/types"

// LeaseKey is where the controller's lease is: Argo Rollouts' name for its instance
// id.
func LeaseKey(c *Controller) types.NamespacedName {
	name := "argo-rollouts-controller-lock"
	if c.Instance != "" {
		name += "-" + c.Instance
	}
	return types.NamespacedName{Namespace: c.Namespace, Name: name}
}
