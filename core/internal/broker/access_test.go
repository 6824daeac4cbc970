package broker

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

func TestNoGrantOpensWhatIsNeverGrantable(t *testing.T) {
	for _, gk := range []schema.GroupKind{
		{Group: "", Kind: "Secret"},
		{Group: "argoproj.io", Kind: "Rollout"},
		{Group: "argoproj.io", Kind: "AnalysisRun"},
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"},
		{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"},
		{Group: "authentication.k8s.io", Kind: "TokenReview"},
		{Group: "authentication.k8s.io", Kind: "TokenRequest"},
	} {
		for _, verb := range []string{verbRead, "create", "update", "delete"} {
			assert.Contains(t, checkKind(all(gk.Group, gk.Kind), verb, gk), "never given to plugins", "%s %s", verb, gk)
		}
	}
}

func TestGrantIsByKindAndVerb(t *testing.T) {
	service := schema.GroupKind{Kind: "Service"}
	watchOnly := rollout.Grant{Rules: []rollout.GrantRule{{Kind: "Service", Verbs: []string{"watch"}}}}
	assert.Empty(t, checkKind(watchOnly, verbRead, service))
	assert.Contains(t, checkKind(watchOnly, "update", service), `grants: [{group: "", kind: Service, verbs: [update]}]`)
	assert.Contains(t, checkKind(watchOnly, verbRead, schema.GroupKind{Group: "other.io", Kind: "Service"}), "does not cover")
	assert.Contains(t, checkKind(rollout.Grant{}, verbRead, service), "verbs: [get, list, watch]")
}

func TestRefusedByRBACNamesTheRuleToGrant(t *testing.T) {
	k := kind{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Resource: "httproutes"}
	grant := rollout.Grant{Rules: []rollout.GrantRule{{Group: k.Group, Kind: k.Kind, Verbs: []string{"get", "update"}}}}
	assert.Contains(t, rbacCure(grant, k),
		`ClusterRole bound to the controller's ServiceAccount: {apiGroups: ["gateway.networking.k8s.io"], resources: [httproutes], verbs: [get, list, watch, patch]}`)
}

func TestReferenceGrantDecides(t *testing.T) {
	to := schema.GroupKind{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute"}
	const right = `{"spec":{"from":[{"group":"argoproj.io","kind":"Rollout","namespace":"shop"}],"to":[{"group":"gateway.networking.k8s.io","kind":"HTTPRoute"}]}}`
	const oneName = `{"spec":{"from":[{"group":"argoproj.io","kind":"Rollout","namespace":"shop"}],"to":[{"group":"gateway.networking.k8s.io","kind":"HTTPRoute","name":"web"}]}}`
	for name, tc := range map[string]struct {
		grant, object string
		state         rollout.NeedState
	}{
		"right":                       {right, "web", rollout.NeedSynced},
		"right, for all objects":      {right, "", rollout.NeedSynced},
		"for one name":                {oneName, "web", rollout.NeedSynced},
		"for another name":            {oneName, "api", rollout.NeedDenied},
		"for one name, all asked for": {oneName, "", rollout.NeedDenied},
		"from another namespace":      {`{"spec":{"from":[{"group":"argoproj.io","kind":"Rollout","namespace":"evil"}],"to":[{"group":"gateway.networking.k8s.io","kind":"HTTPRoute"}]}}`, "web", rollout.NeedDenied},
		"from another kind":           {`{"spec":{"from":[{"group":"gateway.networking.k8s.io","kind":"HTTPRoute","namespace":"shop"}],"to":[{"group":"gateway.networking.k8s.io","kind":"HTTPRoute"}]}}`, "web", rollout.NeedDenied},
		"to another kind":             {`{"spec":{"from":[{"group":"argoproj.io","kind":"Rollout","namespace":"shop"}],"to":[{"group":"","kind":"Service"}]}}`, "web", rollout.NeedDenied},
	} {
		t.Run(name, func(t *testing.T) {
			grants := rollout.NeedResult{State: rollout.NeedSynced, Objects: []rollout.Object{{JSON: []byte(tc.grant)}}}
			state, message := permitted(grants, caller("shop"), to, "infra", tc.object)
			assert.Equal(t, tc.state, state, message)
			if state == rollout.NeedDenied {
				assert.Contains(t, message, "create a ReferenceGrant in infra with spec {from: [{group: argoproj.io, kind: Rollout, namespace: shop}]")
			}
		})
	}
	state, message := permitted(rollout.NeedResult{State: rollout.NeedSyncing, Message: "listing"}, caller("shop"), to, "infra", "web")
	assert.Equal(t, rollout.NeedSyncing, state, message)
	state, message = permitted(rollout.NeedResult{State: rollout.NeedNotServed, Message: "no CRD"}, caller("shop"), to, "infra", "web")
	assert.Equal(t, rollout.NeedDenied, state)
	assert.Contains(t, message, "allowNamespaces", "without the CRD the ConfigMap is the way")
	assert.Contains(t, message, "no CRD")
}
