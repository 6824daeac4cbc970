package e2e

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// `undo` writes the pod template of an earlier ReplicaSet, as the API server
// stored it, into the Rollout: it is that revision again.
func TestUndo(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(20), stage.Pause)
	app.Update("v2")
	app.Await("paused at 20", func(w stage.World) bool { return w.Paused(1, 20) })
	app.PatchStatus(`{"status": {"promoteFull": true}}`)
	w := app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") && w.Wanted("v1") == 0 })

	app.PatchJSON("Rollout", stage.AppName, stage.UndoPatch(w.Set("v1")))
	app.Await("v1 is paused at 20", func(w stage.World) bool { return w.Paused(1, 20) && w.Status().CurrentPodHash == w.Hash("v1") })
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	w = app.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
	assert.Len(t, w.Sets, 2, "no third revision")
	assert.Equal(t, "3", w.Rollout.Annotations[v1alpha1.AnnotationRevision])
	assert.Equal(t, "1", w.Set("v1").Annotations[v1alpha1.AnnotationRevisionHistory])
}

// `set image` replaces the whole object with one that has another image.
func TestSetImage(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(20), stage.Pause)
	app.Replace("Rollout", stage.AppName, func(o map[string]any) {
		pod := o["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
		pod["containers"].([]any)[0].(map[string]any)["image"] = "example.com/app:v2"
	})
	app.Await("paused at 20 with v2", func(w stage.World) bool { return w.Paused(1, 20) && w.Selects(stage.CanaryService) == w.Hash("v2") })
}

// `terminate analysisrun` ends the run successfully, and with it the step.
func TestTerminateAnalysisRun(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.PatchJSON("AnalysisTemplate", stage.TemplateName, `[{"op": "replace", "path": "/spec/metrics/0/count", "value": 10000}]`)
	app.Deploy(stage.SetWeight(20), stage.Analysis, stage.Pause)
	app.Update("v2")
	w := app.Await("the analysis is running", func(w stage.World) bool {
		for _, run := range w.Runs {
			return run.Status.Phase == v1alpha1.AnalysisPhaseRunning
		}
		return false
	})
	for name := range w.Runs {
		app.Patch("AnalysisRun", name, `{"spec": {"terminate": true}}`)
	}
	w = app.Await("the step is over", func(w stage.World) bool { return w.Paused(2, 20) })
	for _, run := range w.Runs {
		assert.Equal(t, v1alpha1.AnalysisPhaseSuccessful, run.Status.Phase)
	}
}

// After an analysis that could not tell, `promote` goes on behind it.
func TestPromoteAfterInconclusive(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.PatchJSON("AnalysisTemplate", stage.TemplateName, `[{"op": "add", "path": "/spec/metrics/0/failureCondition", "value": "result[0] > 0.9"}]`)
	app.Metric(0.5)
	app.Deploy(stage.SetWeight(20), stage.Analysis, stage.SetWeight(40), stage.Pause)
	app.Update("v2")
	w := app.Await("paused by the analysis", func(w stage.World) bool {
		return slices.ContainsFunc(w.Status().PauseConditions, func(c v1alpha1.PauseCondition) bool {
			return c.Reason == v1alpha1.PauseReasonInconclusiveAnalysis
		})
	})
	assert.Equal(t, 1, w.Step())
	app.PatchStatus(`{"status": {"pauseConditions": null, "controllerPause": false, "currentStepIndex": 2}}`)
	w = app.Await("paused at 40", func(w stage.World) bool { return w.Paused(3, 40) })
	assert.Len(t, w.Runs, 1)
}

// Clients compare the whole list of conditions.
func TestConditionsAreExact(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	conditions := func(w stage.World) (out []string) {
		for _, c := range w.Status().Conditions {
			out = append(out, string(c.Type)+" "+string(c.Status)+" "+c.Reason)
		}
		slices.Sort(out)
		return out
	}
	await := func(what string, want ...string) {
		t.Helper()
		app.Await(what, func(w stage.World) bool { return w.Observed() && slices.Equal(conditions(w), want) })
	}
	app.Deploy(stage.SetWeight(50), stage.Pause)
	await("healthy", "Available True AvailableReason", "Completed True RolloutCompleted",
		"Healthy True RolloutHealthy", "Progressing True NewReplicaSetAvailable")

	app.Update("v2")
	app.Await("paused at 50", func(w stage.World) bool { return w.Paused(1, 50) })
	await("paused", "Available True AvailableReason", "Completed False RolloutCompleted", "Healthy False RolloutHealthy",
		"Paused True RolloutPaused", "Progressing Unknown RolloutPaused")

	app.PatchStatus(`{"status": {"abort": true}}`)
	app.Await("aborted", func(w stage.World) bool { return w.Aborted("v2", "v1") })
	await("aborted", "Available True AvailableReason", "Completed False RolloutCompleted", "Healthy False RolloutHealthy",
		"Paused False RolloutPaused", "Progressing False RolloutAborted")

	app.PatchRollout(`{"spec": {"strategy": {"canary": {"trafficRouting": {"plugins": {"example/absent": {}}}}}}}`)
	w := app.Await("blocked", func(w stage.World) bool { return w.Blocked(v1alpha1.ReasonPluginUnavailable) })
	c := w.Condition(v1alpha1.ConditionBlocked)
	assert.Contains(t, c.Message, "example/absent")
	assert.Contains(t, c.Message, "; ended by ")
	assert.False(t, c.LastTransitionTime.IsZero(), "since when")
	app.AwaitEvent(v1alpha1.ReasonPluginUnavailable, "example/absent")
}

// `kubectl scale` and a HorizontalPodAutoscaler work through the scale
// subresource, and read the count that they set.
func TestScaleSubresource(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(50), stage.Pause)
	app.Scale(5)
	app.Await("5 pods", func(w stage.World) bool { return w.Healthy("v1") && w.Wanted("v1") == 5 && w.Status().HPAReplicas == 5 })
	scale := app.ReadScale()
	require.Equal(t, int32(5), scale.Status.Replicas)
	require.Equal(t, "app=app", scale.Status.Selector)

	app.Apply(`
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: app}
spec:
  scaleTargetRef: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: app}
  minReplicas: 7
  maxReplicas: 9
`)
	app.Await("the autoscaler asks for 7 pods", func(w stage.World) bool { return w.Healthy("v1") && w.Wanted("v1") == 7 })
}
