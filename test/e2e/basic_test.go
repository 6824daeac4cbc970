package e2e

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// basicYAML is a canary without traffic routing.
func basicYAML(replicas, more string) string {
	return `
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: app}
spec:
  replicas: ` + replicas + `
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: "example.com/app:v1", ports: [{containerPort: 8080}]}]}
  strategy: {canary: {` + more + `}}
`
}

func serves(version string, replicas int) func(stage.World) bool {
	return func(w stage.World) bool {
		st, hash := w.Status(), w.Hash(version)
		return w.Observed() && hash != "" && st.Phase == v1alpha1.RolloutPhaseHealthy && st.StableRS == hash &&
			st.CurrentPodHash == hash && w.Wanted(version) == replicas
	}
}

// The events of a basic canary with one replica that is deployed, updated,
// aborted while paused, retried and left to promote itself: the list, complete
// and in this order, that clients of Argo Rollouts compare.
func TestBasicCanaryEvents(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Apply(basicYAML("1", "steps: [{setWeight: 50}, {pause: {duration: 3s}}]"))
	app.Await("v1 is healthy", serves("v1", 1))
	app.Update("v2")
	app.Await("the pause", func(w stage.World) bool { return w.Paused(1, 0) })
	app.PatchStatus(`{"status": {"abort": true}}`)
	app.Await("v2 is given up", func(w stage.World) bool {
		return w.Status().Phase == v1alpha1.RolloutPhaseDegraded && w.Status().AbortedAt != nil && w.Wanted("v2") == 0
	})
	app.PatchStatus(`{"status": {"abort": false}}`)
	app.Await("v2 is healthy", serves("v2", 1))

	requireEvents(app,
		"RolloutAddedToInformer", "RolloutUpdated", "NewReplicaSetCreated", "RolloutNotCompleted", "ScalingReplicaSet", "RolloutCompleted",
		"RolloutUpdated", "NewReplicaSetCreated", "RolloutNotCompleted", "ScalingReplicaSet",
		"RolloutStepCompleted", "RolloutPaused",
		"ScalingReplicaSet", "RolloutAborted",
		"ScalingReplicaSet", "RolloutStepCompleted", "RolloutPaused", "RolloutStepCompleted", "RolloutResumed",
		"ScalingReplicaSet", "RolloutCompleted")
}

// A basic canary with Services: pods are the weight, the names follow them, an
// abort comes back and the next version goes through.
func TestBasicCanary(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Apply(basicYAML("4", "stableService: app-stable, canaryService: app-canary, maxSurge: 1, maxUnavailable: 0, steps: [{setWeight: 50}, {pause: {}}]"))
	app.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
	app.Update("v2")
	w := app.Await("half of the pods are v2", func(w stage.World) bool {
		return w.Paused(1, 0) && w.Wanted("v1") == 2 && w.Wanted("v2") == 2 && w.Selects(stage.CanaryService) == w.Hash("v2")
	})
	assert.Nil(t, w.Status().Canary.Weights, "nobody routes traffic")
	assert.Equal(t, int32(4), w.Status().HPAReplicas)
	assert.Equal(t, "app=app", w.Status().Selector)

	app.PatchStatus(`{"status": {"abort": true}}`)
	app.Await("v2 is given up", func(w stage.World) bool { return w.Aborted("v2", "v1") && w.Wanted("v1") == 4 })
	app.PatchStatus(`{"status": {"abort": false}}`)
	app.Await("half of the pods are v2 again", func(w stage.World) bool { return w.Paused(1, 0) && w.Wanted("v2") == 2 })
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") && w.Wanted("v2") == 4 && w.Wanted("v1") == 0 })
	assert.Empty(t, app.Controller.Counters(t).Violations)
}

// setCanaryScale makes the pods before any weight.
func TestCanaryScale(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy("{setCanaryScale: {replicas: 3}}", stage.Pause, stage.SetWeight(25), "{setCanaryScale: {matchTrafficWeight: true}}", stage.Pause)
	app.Update("v2")
	app.Await("three pods of v2 without traffic", func(w stage.World) bool { return w.Paused(1, 0) && w.Wanted("v2") == 3 })
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("one pod has 25 %", func(w stage.World) bool { return w.Paused(4, 25) && w.Wanted("v2") == 1 })
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") })
	app.RequireWeights(0, 25, 100, 0)
}

// With dynamicStableScale v1 shrinks behind its traffic, and an abort brings it
// back before the traffic returns.
func TestDynamicStableScale(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Apply(basicYAML("4", `stableService: app-stable, canaryService: app-canary, dynamicStableScale: true,
    trafficRouting: {plugins: {argoproj-labs/gatewayAPI: {httpRoute: app}}}, steps: [{setWeight: 50}, {pause: {}}]`))
	app.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
	app.Update("v2")
	w := app.Await("v1 has given up half", func(w stage.World) bool { return w.Paused(1, 50) && w.Wanted("v1") == 2 && w.Wanted("v2") == 2 })
	app.RequireOrder("weight 50", "app-"+w.Hash("v1")+" wants 2")

	app.PatchStatus(`{"status": {"abort": true}}`)
	w = app.Await("v2 is given up", func(w stage.World) bool { return w.Aborted("v2", "v1") && w.Wanted("v1") == 4 })
	app.RequireOrder("app-"+w.Hash("v1")+" wants 2", "app-"+w.Hash("v1")+" wants 4", "weight 0", "app-"+w.Hash("v2")+" wants 0")
	app.PatchStatus(`{"status": {"abort": false}}`)
	app.Await("half again", func(w stage.World) bool { return w.Paused(1, 50) })
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") && w.Wanted("v1") == 0 })
}
