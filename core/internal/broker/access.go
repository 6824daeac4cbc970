package broker

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// checkKind says why the grant does not cover the verb for the kind; "" when it
// does. Subresources (pods/exec, serviceaccounts/token) cannot be asked for at
// all: the broker addresses objects only.
func checkKind(grant rollout.Grant, verb string, gk schema.GroupKind) string {
	if rollout.NeverGrantable(gk) {
		return fmt.Sprintf("%s is never given to plugins, whatever the grant says; remove the need", gk)
	}
	if verb == verbRead {
		if grant.Allows("get", gk) || grant.Allows("list", gk) || grant.Allows("watch", gk) {
			return ""
		}
		verb = "get, list, watch"
	} else if grant.Allows(verb, gk) {
		return ""
	}
	return fmt.Sprintf("the plugin's grant does not cover %s; add to its entry in the plugin ConfigMap: grants: [{group: %q, kind: %s, verbs: [%s]}]",
		gk, gk.Group, gk.Kind, verb)
}

// verbRead stands for any of get, list and watch: an informer needs them all,
// so having one of them is having them all.
const verbRead = "read"

// namespaceGranted reports whether the rules of the grant hold in the namespace
// without asking the namespace itself. Cluster-scoped objects live in no
// namespace; for them the rule that names the kind is all there is.
func namespaceGranted(caller rollout.Caller, grant rollout.Grant, namespace string) bool {
	return namespace == "" || namespace == caller.Namespace ||
		slices.Contains(grant.AllowNamespaces, "*") || slices.Contains(grant.AllowNamespaces, namespace)
}

// rbacCure spells the rule that lets the controller do what the API server
// refused. The verbs are those the plugin's grant will use.
func rbacCure(grant rollout.Grant, k kind) string {
	verbs := []string{"get", "list", "watch"}
	gk := schema.GroupKind{Group: k.Group, Kind: k.Kind}
	for _, v := range []struct{ granted, api string }{{"create", "create"}, {"update", "patch"}, {"delete", "delete"}} {
		if grant.Allows(v.granted, gk) {
			verbs = append(verbs, v.api)
		}
	}
	return fmt.Sprintf("grant it in a ClusterRole bound to the controller's ServiceAccount: {apiGroups: [%q], resources: [%s], verbs: [%s]}",
		k.Group, k.Resource, strings.Join(verbs, ", "))
}
