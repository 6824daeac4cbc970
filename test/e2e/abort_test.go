package e2e

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// A bad analysis aborts without anybody's help: traffic goes back first, then
// the selector, then the pods. A retry with good metrics succeeds.
func TestFailingAnalysisAborts(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(20), stage.Analysis, stage.SetWeight(60), stage.ShortPause)

	app.Metric(0.5)
	app.Update("v2")
	w := app.Await("v2 is given up", func(w stage.World) bool { return w.Aborted("v2", "v1") })
	assert.Contains(t, w.Status().Message, "RolloutAborted: Rollout aborted update to revision 2: Step-based analysis phase error/failed: ")
	assert.Contains(t, w.Status().Message, `Metric "error-ratio" assessed Failed`)
	assert.Equal(t, 0, w.Step())
	assert.NotNil(t, w.Status().AbortedAt)
	assert.Equal(t, 4, w.Wanted("v1"))
	app.RequireOrder("weight 20", "weight 0", "app-canary selects "+w.Hash("v1"), "app-"+w.Hash("v2")+" wants 0")
	app.RequireWeights(0, 20, 0)
	app.AwaitEvent(v1alpha1.EventRolloutAborted, "Rollout aborted update to revision 2: Step-based analysis")

	app.Metric(0)
	app.PatchStatus(`{"status": {"abort": false}}`)
	w = app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") })
	assert.Nil(t, w.Status().AbortedAt)
	require.Len(t, w.Runs, 2, "one analysis for each attempt")
	app.RequireWeights(0, 20, 0, 20, 60, 100, 0)
}

// A person aborts a paused rollout by Argo's write.
func TestAbortWhilePaused(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(30), stage.Pause)
	app.Update("v2")
	app.Await("paused at 30", func(w stage.World) bool { return w.Paused(1, 30) })

	app.PatchStatus(`{"status": {"abort": true}}`)
	w := app.Await("v2 is given up", func(w stage.World) bool { return w.Aborted("v2", "v1") })
	assert.Equal(t, "RolloutAborted: Rollout aborted update to revision 2", w.Status().Message)
	assert.Empty(t, w.Status().PauseConditions)
	assert.False(t, w.Status().ControllerPause)
	app.RequireOrder("weight 30", "weight 0", "app-canary selects "+w.Hash("v1"), "app-"+w.Hash("v2")+" wants 0")
}

// After an abort, a new version starts from the first step without a retry.
func TestNewVersionAfterAbort(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(30), stage.Pause)
	app.Update("v2")
	app.Await("paused at 30", func(w stage.World) bool { return w.Paused(1, 30) })
	app.PatchStatus(`{"status": {"abort": true}}`)
	app.Await("v2 is given up", func(w stage.World) bool { return w.Aborted("v2", "v1") })

	app.Update("v3")
	w := app.Await("v3 is paused at 30", func(w stage.World) bool {
		return w.Paused(1, 30) && w.Selects(stage.CanaryService) == w.Hash("v3")
	})
	assert.False(t, w.Status().Abort)
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("v3 is healthy", func(w stage.World) bool { return w.Healthy("v3") && w.Wanted("v1") == 0 })
}
