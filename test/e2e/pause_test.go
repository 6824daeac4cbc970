package e2e

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// An indefinite pause ends by what `kubectl argo rollouts promote` writes.
func TestPauseIsPromoted(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(20), stage.Pause, stage.SetWeight(40), stage.ShortPause)
	app.Update("v2")
	w := app.Await("paused at 20", func(w stage.World) bool { return w.Paused(1, 20) && w.Reason(v1alpha1.ConditionPaused) != "" })
	assert.Equal(t, v1alpha1.RolloutPhasePaused, w.Status().Phase)
	assert.Equal(t, "CanaryPauseStep", w.Status().Message)
	assert.True(t, w.Status().ControllerPause)

	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	w = app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") })
	assert.False(t, w.Status().ControllerPause)
	app.RequireWeights(0, 20, 40, 100, 0)
}

// `promote --full` skips pauses and analyses, but not the pods.
func TestPromoteFull(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(20), stage.Pause, stage.Analysis, stage.SetWeight(40), stage.Pause)
	app.Update("v2")
	app.Await("paused at 20", func(w stage.World) bool { return w.Paused(1, 20) })

	app.PatchStatus(`{"status": {"promoteFull": true}}`)
	w := app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") })
	assert.False(t, w.Status().PromoteFull)
	assert.Empty(t, w.Runs)
	app.RequireWeights(0, 20, 100, 0)
	app.RequireOrder("weight 20", "app-"+w.Hash("v2")+" wants 4", "weight 100")
}

// `promote` in the middle of an analysis moves the index behind it; the run that
// nobody waits for any more is terminated.
func TestPromoteSkipsARunningAnalysis(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.PatchJSON("AnalysisTemplate", stage.TemplateName, `[{"op": "replace", "path": "/spec/metrics/0/count", "value": 10000}]`)
	app.Deploy(stage.SetWeight(20), stage.Analysis, stage.SetWeight(40), stage.Pause)
	app.Update("v2")
	app.Await("the analysis is running", func(w stage.World) bool {
		for _, run := range w.Runs {
			if run.Status.Phase == v1alpha1.AnalysisPhaseRunning {
				return w.Step() == 1
			}
		}
		return false
	})

	app.PatchStatus(`{"status": {"pauseConditions": null, "currentStepIndex": 2}}`)
	app.Await("the next step is reached, the run is over", func(w stage.World) bool {
		for _, run := range w.Runs {
			if !run.Spec.Terminate || run.Status.Phase != v1alpha1.AnalysisPhaseSuccessful {
				return false
			}
		}
		return w.Paused(3, 40) && len(w.Runs) == 1
	})
}

// spec.paused stops everything, and goes on where it was.
func TestPausedByHand(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(20), stage.ShortPause, stage.SetWeight(40), stage.ShortPause)
	app.PatchRollout(`{"spec": {"paused": true}}`)
	app.Update("v2")
	w := app.Await("paused by hand", func(w stage.World) bool {
		return w.Observed() && w.Status().Phase == v1alpha1.RolloutPhasePaused && w.Set("v2") != nil
	})
	assert.Equal(t, "manually paused", w.Status().Message)
	assert.Equal(t, 0, w.Wanted("v2"))

	app.PatchRollout(`{"spec": {"paused": false}}`)
	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") })
	app.RequireWeights(0, 20, 40, 100, 0)
}
