package e2e

import (
	"testing"

	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// Somebody edits the weights by hand during a pause. The watch brings it to the
// controller, which puts them right: nothing else happens in a pause.
func TestHandEditIsRepaired(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(20), stage.Pause)
	app.Update("v2")
	app.Await("paused at 20", func(w stage.World) bool { return w.Paused(1, 20) })

	app.PatchJSON("HTTPRoute", stage.AppName, `[
		{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 30},
		{"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 70}]`)
	app.Await("the weight is 20 again", func(w stage.World) bool { return len(app.Weights()) > 3 && w.Paused(1, 20) })
	app.RequireWeights(0, 20, 70, 20)

	app.PatchJSON("HTTPRoute", stage.AppName, `[
		{"op": "remove", "path": "/spec/rules/0/backendRefs/0/weight"}]`)
	app.Await("the missing weight is back", func(w stage.World) bool {
		weight := w.Route.Spec.Rules[0].BackendRefs[0].Weight
		return weight != nil && *weight == 80
	})
	app.Await("still paused", func(w stage.World) bool { return w.Paused(1, 20) })
}

// A Service whose selector somebody turned is turned back, traffic first: it
// carries some.
func TestSelectorEditIsRepaired(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	w := app.Deploy(stage.SetWeight(20), stage.Pause)
	v1 := w.Hash("v1")
	app.Update("v2")
	w = app.Await("paused at 20", func(w stage.World) bool { return w.Paused(1, 20) })
	v2 := w.Hash("v2")

	app.Patch("Service", stage.CanaryService, `{"spec": {"selector": {"rollouts-pod-template-hash": "`+v1+`"}}}`)
	app.Await("the canary name selects v2 again, at 20", func(w stage.World) bool {
		return len(app.Weights()) > 3 && w.Selects(stage.CanaryService) == v2 && w.Paused(1, 20)
	})
	app.RequireOrder("weight 20", "app-canary selects "+v1, "weight 0", "app-canary selects "+v2, "weight 20")
}
