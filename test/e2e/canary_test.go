package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// A healthy update: the route gets the weights that were asked for, in their
// order; what is not ours on it stays; the Services are adopted; the old pods
// go only after their delay; in the end all is Healthy.
func TestHealthyCanary(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	before := foreign(app)

	v1 := app.Deploy(stage.SetWeight(10), stage.ShortPause, stage.Analysis, stage.SetWeight(50), stage.Pause)
	require.Len(t, v1.Sets, 1)
	for _, name := range []string{stage.StableService, stage.CanaryService} {
		assert.Equal(t, stage.AppName, v1.Services[name].Annotations[v1alpha1.AnnotationManagedBy])
	}
	app.PatchRollout(`{"spec": {"strategy": {"canary": {"scaleDownDelaySeconds": 3}}}}`)

	app.Update("v2")
	app.Await("the last pause", func(w stage.World) bool { return w.Paused(4, 50) && w.Wanted("v2") == 2 })
	assert.Equal(t, before, foreign(app), "foreign parts of the route")
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)

	w := app.Await("v2 serves, v1 has a deadline", func(w stage.World) bool {
		return w.Healthy("v2") && w.Wanted("v1") == 4 && deadline(w, "v1") != ""
	})
	end, err := time.Parse(time.RFC3339, deadline(w, "v1"))
	require.NoError(t, err)
	w = app.Await("v1 is scaled down", func(w stage.World) bool { return w.Wanted("v1") == 0 })
	assert.False(t, time.Now().Before(end), "v1 was scaled down before its deadline")
	assert.Empty(t, deadline(w, "v1"), "the deadline goes with the pods")

	app.Await("everything is at rest", func(w stage.World) bool {
		return w.Reason(v1alpha1.ConditionProgressing) == v1alpha1.ReasonNewReplicaSetAvailable && w.Status().Replicas == 4
	})
	assert.Equal(t, map[v1alpha1.RolloutConditionType]corev1.ConditionStatus{
		v1alpha1.ConditionAvailable: "True", v1alpha1.ConditionHealthy: "True", v1alpha1.ConditionPaused: "False",
		v1alpha1.ConditionProgressing: "True", v1alpha1.ConditionCompleted: "True",
	}, conditionsOf(app.Now()))
	app.RequireWeights(0, 10, 50, 100, 0)
	assert.Equal(t, before, foreign(app), "foreign parts of the route")
	app.RequireOrder("app-canary selects "+w.Hash("v2"), "weight 10", "weight 50", "weight 100", "stable "+w.Hash("v2"),
		"app-stable selects "+w.Hash("v2"), "weight 0", "app-"+w.Hash("v1")+" wants 0")
	requireEvents(app, healthyEvents...)
}

// healthyEvents are the reasons of TestHealthyCanary, in order: an initial
// deploy, then an update with five steps.
var healthyEvents = []string{
	"RolloutAddedToInformer",
	"RolloutUpdated", "NewReplicaSetCreated", "RolloutNotCompleted", "ScalingReplicaSet", "RolloutCompleted",
	"SwitchService", "SwitchService",
	"RolloutUpdated", "NewReplicaSetCreated", "RolloutNotCompleted", "ScalingReplicaSet", "SwitchService",
	"TrafficWeightUpdated", "RolloutStepCompleted", // setWeight: 10
	"RolloutPaused", "RolloutStepCompleted", "RolloutResumed", // pause: 1s
	"AnalysisRunRunning", "AnalysisRunSuccessful", "RolloutStepCompleted", // analysis
	"ScalingReplicaSet", "TrafficWeightUpdated", "RolloutStepCompleted", // setWeight: 50
	"RolloutPaused", "RolloutStepCompleted", "RolloutResumed", // pause
	"ScalingReplicaSet", "TrafficWeightUpdated", "RolloutCompleted", "SwitchService", "TrafficWeightUpdated",
	"ScalingReplicaSet", // the old one, down
}

// A release that changes while the first deployment is still under way, before
// anything serves.
func TestUpdateBeforeTheFirstIsServed(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Apply(neverReady(stage.RolloutYAML(stage.SetWeight(50), stage.Pause)))
	app.Await("v1 is being started", func(w stage.World) bool { return w.Wanted("v1") == 4 })

	app.PatchRollout(`{"spec": {"template": {"metadata": {"annotations": null}}}}`)
	app.Update("v2")
	app.Await("v2 is deployed as the first", func(w stage.World) bool { return w.Healthy("v2") })
	app.Await("v1 is gone", func(w stage.World) bool { return w.Wanted("v1") == 0 })
	app.RequireWeights(0)
}

// Many quick steps: each has its event, none is combined with others.
func TestEveryStepHasItsEvent(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	var steps, want []string
	for i := 1; i <= 14; i++ {
		steps = append(steps, stage.SetWeight(5*i))
		want = append(want, fmt.Sprintf("Rollout step %d/14 completed (setWeight: %d)", i, 5*i))
	}
	app.Deploy(steps...)
	app.Update("v2")
	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") })
	app.AwaitEvent(v1alpha1.EventRolloutCompleted, "Completed all 14 canary steps")
	var got []string
	for _, e := range app.Events() {
		if e.Reason == v1alpha1.EventRolloutStepCompleted {
			got = append(got, e.Message)
		}
	}
	assert.Equal(t, want, got)
}

// neverReady is the Rollout with pods that do not become ready.
func neverReady(manifest string) string {
	return strings.Replace(manifest, "labels: {app: app}",
		`labels: {app: app}, annotations: {"devcluster.sluice.dev/never-ready": "true"}`, 1)
}

func deadline(w stage.World, version string) string {
	if rs := w.Set(version); rs != nil {
		return rs.Annotations[v1alpha1.AnnotationScaleDownDeadline]
	}
	return ""
}

func conditionsOf(w stage.World) map[v1alpha1.RolloutConditionType]corev1.ConditionStatus {
	out := map[v1alpha1.RolloutConditionType]corev1.ConditionStatus{}
	for _, c := range w.Status().Conditions {
		out[c.Type] = c.Status
	}
	return out
}

// foreign is everything on the route that is not the controller's business.
func foreign(app *stage.App) map[string]any {
	route := app.Read("HTTPRoute", stage.AppName)
	delete(route, "status")
	metadata := route["metadata"].(map[string]any)
	for _, key := range []string{"resourceVersion", "generation", "managedFields"} {
		delete(metadata, key)
	}
	delete(metadata["labels"].(map[string]any), "rollouts.argoproj.io/gatewayapi-canary")
	rule := route["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)
	for _, backend := range rule["backendRefs"].([]any) {
		delete(backend.(map[string]any), "weight")
	}
	return route
}

// requireEvents waits until the events have come and compares all of them.
func requireEvents(app *stage.App, reasons ...string) {
	app.Await("all events", func(stage.World) bool { return len(app.Reasons()) >= len(reasons) })
	got := app.Reasons()
	for i := range reasons {
		app.Require(got[i] == reasons[i], "event %d is %s, want %s", i+1, got[i], reasons[i])
	}
	app.Require(len(got) == len(reasons), "events after the last one: %v", got[len(reasons):])
}
