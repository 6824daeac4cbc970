package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// sharers is how many Rollouts have backends in one HTTPRoute: two in each of ten rules, of the 16 that there may be.
const sharers = 20

func sharer(i int) string { return fmt.Sprintf("team-%02d", i) }

// sharedRoute is that HTTPRoute, with filters, timeouts, a rule and an annotation that are nobody's business.
func sharedRoute() string {
	var rules strings.Builder
	for i := 0; i < sharers; i += 2 {
		fmt.Fprintf(&rules, `
    - matches: [{path: {type: PathPrefix, value: /%[1]s}}]
      timeouts: {request: %[3]ds}
      filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-team, value: %[1]s}]}}]
      backendRefs:
        - {name: %[1]s-stable, port: 80, weight: 100}
        - {name: %[1]s-canary, port: 80, weight: 0}
        - {name: %[2]s-stable, port: 80, weight: 100}
        - {name: %[2]s-canary, port: 80, weight: 0}`, sharer(i), sharer(i+1), i+1)
	}
	return `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shared, annotations: {example.com/note: keep me}}
spec:
  parentRefs: [{name: gateway, namespace: gateways}]
  hostnames: [shared.example.com]
  rules:` + rules.String() + `
    - matches: [{path: {type: PathPrefix, value: /docs}}]
      backendRefs: [{name: docs, port: 80, weight: 7}]
`
}

// canaryWeights of the shared route, by Rollout; -1 where a pair does not add up to 100.
func canaryWeights(route map[string]any) map[string]int {
	at, out := map[string]int{}, map[string]int{}
	for _, rule := range route["spec"].(map[string]any)["rules"].([]any) {
		for _, ref := range rule.(map[string]any)["backendRefs"].([]any) {
			backend := ref.(map[string]any)
			weight, _ := backend["weight"].(int64)
			at[backend["name"].(string)] = int(weight)
		}
	}
	for i := range sharers {
		out[sharer(i)] = at[sharer(i)+"-canary"]
		if out[sharer(i)]+at[sharer(i)+"-stable"] != 100 {
			out[sharer(i)] = -1
		}
	}
	return out
}

func each(weight int) map[string]int {
	out := map[string]int{}
	for i := range sharers {
		out[sharer(i)] = weight
	}
	return out
}

// Twenty teams have backends in one HTTPRoute and update at the same moment: no weight is lost, and in the end the route is
// what it was, to the byte.
func TestManyRolloutsOnOneRoute(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Apply(sharedRoute())
	for i := range sharers {
		for _, role := range []string{"stable", "canary"} {
			app.Apply(fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: %[1]s-%[2]s}, spec: {selector: {app: %[1]s}, ports: [{port: 80, targetPort: 8080}]}}`,
				sharer(i), role))
		}
		one := strings.NewReplacer("{name: app}\nspec", "{name: "+sharer(i)+"}\nspec", "app: app", "app: "+sharer(i), "app-stable", sharer(i)+"-stable",
			"app-canary", sharer(i)+"-canary", "httpRoute: app", "httpRoute: shared", "replicas: 4", "replicas: 1").Replace(stage.RolloutYAML(stage.SetWeight(20), stage.Pause))
		app.Apply(one)
	}
	all := func(is func(*v1alpha1.Rollout) bool) func(stage.World) bool {
		return func(w stage.World) bool {
			for i := range sharers {
				if ro := w.Others[sharer(i)]; ro == nil || !is(ro) {
					return false
				}
			}
			return true
		}
	}
	healthy := func(ro *v1alpha1.Rollout) bool {
		return ro.Status.Phase == v1alpha1.RolloutPhaseHealthy && ro.Status.StableRS == ro.Status.CurrentPodHash
	}
	app.Await("all are healthy", all(healthy))
	before := app.Read("HTTPRoute", "shared")
	require.Equal(t, each(0), canaryWeights(before))

	for i := range sharers {
		app.PatchJSON("Rollout", sharer(i), `[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "example.com/app:v2"}]`)
	}
	app.Await("all are at 20", all(func(ro *v1alpha1.Rollout) bool {
		return ro.Status.Phase == v1alpha1.RolloutPhasePaused && *ro.Status.CurrentStepIndex == 1
	}))
	assert.Equal(t, each(20), canaryWeights(app.Read("HTTPRoute", "shared")))

	for i := range sharers {
		app.PatchSubresource("Rollout", sharer(i), "status", `{"status": {"pauseConditions": null}}`)
	}
	app.Await("all are healthy at v2", all(func(ro *v1alpha1.Rollout) bool {
		return healthy(ro) && ro.Annotations[v1alpha1.AnnotationRevision] == "2" && ro.Status.Canary.Weights.Canary.Weight == 0
	}))
	after := app.Read("HTTPRoute", "shared")
	assert.Equal(t, before["spec"], after["spec"])
	for _, field := range []string{"annotations", "labels"} {
		assert.Equal(t, before["metadata"].(map[string]any)[field], after["metadata"].(map[string]any)[field], field)
	}
}
