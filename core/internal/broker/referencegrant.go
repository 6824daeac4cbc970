package broker

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// referenceGrants is the broker's own need when a plugin asks for an object in
// a namespace that neither the caller nor the plugin's grant covers.
func referenceGrants(namespace string) rollout.Need {
	return rollout.Need{
		Group:     "gateway.networking.k8s.io",
		Kind:      "ReferenceGrant",
		Versions:  []string{"v1", "v1beta1"},
		Namespace: namespace,
		Selector:  &metav1.LabelSelector{},
	}
}

// referenceGrant is what matters of a Gateway API ReferenceGrant.
type referenceGrant struct {
	Spec struct {
		From []struct {
			Group, Kind, Namespace string
		}
		To []struct {
			Group, Kind string
			// Name nil or empty means every object of the kind.
			Name string
		}
	}
}

// allows reports whether the grant lets the caller refer to the object. An
// empty name asks for every object of the kind.
func (g referenceGrant) allows(caller rollout.Caller, to schema.GroupKind, name string) bool {
	from := schema.FromAPIVersionAndKind(caller.APIVersion, caller.Kind).GroupKind()
	trusted := false
	for _, f := range g.Spec.From {
		trusted = trusted || f.Group == from.Group && f.Kind == from.Kind && f.Namespace == caller.Namespace
	}
	if !trusted {
		return false
	}
	for _, t := range g.Spec.To {
		if t.Group == to.Group && t.Kind == to.Kind && (t.Name == "" || t.Name == name) {
			return true
		}
	}
	return false
}

// permitted decides from the ReferenceGrants of a namespace whether the caller
// may refer to the object in it: SYNCED means yes, SYNCING that it is not known
// yet, DENIED no.
func permitted(grants rollout.NeedResult, caller rollout.Caller, to schema.GroupKind, namespace, name string) (rollout.NeedState, string) {
	why := ""
	switch grants.State {
	case rollout.NeedSyncing:
		return rollout.NeedSyncing, grants.Message
	case rollout.NeedSynced:
	default:
		why = "; ReferenceGrants cannot be read: " + grants.Message
	}
	for _, obj := range grants.Objects {
		var g referenceGrant
		if err := json.Unmarshal(obj.JSON, &g); err == nil && g.allows(caller, to, name) {
			return rollout.NeedSynced, ""
		}
	}
	from := schema.FromAPIVersionAndKind(caller.APIVersion, caller.Kind).GroupKind()
	return rollout.NeedDenied, fmt.Sprintf(
		"namespace %[1]s does not let %[2]s in namespace %[3]s use its %[4]s; create a ReferenceGrant in %[1]s with spec {from: [{group: %[5]s, kind: %[6]s, namespace: %[3]s}], to: [{group: %[7]q, kind: %[8]s}]}, or list %[1]s under allowNamespaces of the plugin's entry%[9]s",
		namespace, from, caller.Namespace, to, from.Group, from.Kind, to.Group, to.Kind, why)
}
