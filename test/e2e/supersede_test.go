package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// half brings an App to a pause at 50 % v2.
func half(t *testing.T, more ...string) *stage.App {
	app := on.NewApp(t, shared)
	app.Deploy(append([]string{stage.SetWeight(50), stage.Pause}, more...)...)
	app.Update("v2")
	app.Await("paused at 50", func(w stage.World) bool { return w.Paused(1, 50) && w.Wanted("v2") == 2 })
	return app
}

// v3 comes while v2 has half of the traffic: v2 is drained before its name
// moves, then v3 starts from the first step.
func TestSupersede(t *testing.T) {
	t.Parallel()
	app := half(t)
	app.Update("v3")
	w := app.Await("v3 is paused at 50", func(w stage.World) bool {
		return w.Paused(1, 50) && w.Selects(stage.CanaryService) == w.Hash("v3")
	})
	app.RequireOrder("weight 50", "weight 0", "app-canary selects "+w.Hash("v3"), "weight 50")
	app.Await("v2 is scaled down", func(w stage.World) bool { return w.Wanted("v2") == 0 && w.Paused(1, 50) })

	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	w = app.Await("v3 is healthy", func(w stage.World) bool { return w.Healthy("v3") })
	assert.Equal(t, "3", w.Rollout.Annotations[v1alpha1.AnnotationRevision])
}

// Back to v1 in the middle: no steps, traffic first.
func TestRollback(t *testing.T) {
	t.Parallel()
	app := half(t)
	app.Update("v1")
	w := app.Await("v1 is healthy, v2 is gone", func(w stage.World) bool { return w.Healthy("v1") && w.Wanted("v2") == 0 })
	assert.Equal(t, 2, w.Step())
	app.RequireWeights(0, 50, 0)
	app.RequireOrder("weight 50", "weight 0", "app-canary selects "+w.Hash("v1"), "app-"+w.Hash("v2")+" wants 0")
	app.AwaitEvent(v1alpha1.EventSkipSteps, "Rollback to stable ReplicaSets")
}

// spec.replicas is an input at any time: both sides follow it, the weight stays.
func TestScaleDuringCanary(t *testing.T) {
	t.Parallel()
	app := half(t)
	app.PatchRollout(`{"spec": {"replicas": 8}}`)
	app.Await("both have grown", func(w stage.World) bool { return w.Wanted("v1") == 8 && w.Wanted("v2") == 4 && w.Paused(1, 50) })
	app.PatchRollout(`{"spec": {"replicas": 2}}`)
	app.Await("both have shrunk", func(w stage.World) bool { return w.Wanted("v1") == 2 && w.Wanted("v2") == 1 && w.Paused(1, 50) })
	app.RequireWeights(0, 50)

	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") && w.Wanted("v2") == 2 })
}

// Two Rollouts want the same backends of one rule: the younger one has to wait,
// says so, and goes on when the older one is gone.
func TestRouteConflict(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	// Without ready pods the older one has not adopted the Services yet: then the
	// younger one would be refused for those.
	app.Apply(neverReady(stage.RolloutYAML()))
	app.Await("the older one holds the route", func(w stage.World) bool {
		return len(w.Status().Canary.Routers) == 1 && len(w.Status().Canary.Routers[0].Holds) == 2
	})
	route := app.Read("HTTPRoute", stage.AppName)

	younger := strings.NewReplacer("{name: app}\nspec", "{name: younger}\nspec", "app: app}", "app: app, tier: younger}").Replace(stage.RolloutYAML())
	app.Apply(younger)
	w := app.Await("the younger one is blocked", func(w stage.World) bool {
		other := w.Others["younger"]
		return other != nil && reasonOf(other, v1alpha1.ConditionBlocked) == "RouteConflict"
	})
	for name := range w.Sets {
		assert.NotContains(t, name, "younger-", "a ReplicaSet of a blocked Rollout")
	}
	assert.Equal(t, route, app.Read("HTTPRoute", stage.AppName))

	app.Delete("Rollout", stage.AppName)
	app.Await("the younger one serves", func(w stage.World) bool {
		other := w.Others["younger"]
		return other != nil && other.Status.Phase == v1alpha1.RolloutPhaseHealthy && reasonOf(other, v1alpha1.ConditionBlocked) == "" &&
			w.Selects(stage.StableService) == other.Status.StableRS
	})
}

func reasonOf(ro *v1alpha1.Rollout, t v1alpha1.RolloutConditionType) string {
	return stage.World{Rollout: *ro}.Reason(t)
}
