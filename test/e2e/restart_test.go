package e2e

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// The plugin's process is killed in the middle of a rollout: no weight moves,
// it is back, and the rollout completes.
func TestPluginIsKilled(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "plugin-kill"})
	c.Start(t)
	app := on.NewApp(t, c)
	app.Deploy(stage.SetWeight(20), stage.Pause, stage.SetWeight(60), stage.ShortPause)
	app.Update("v2")
	w := app.Await("paused at 20", func(w stage.World) bool { return w.Paused(1, 20) })
	route := w.Route.Generation
	old := c.PluginPIDs("gatewayapi")
	require.Len(t, old, 1)

	require.NoError(t, syscall.Kill(old[0], syscall.SIGKILL))
	c.AwaitPlugin(t, "gatewayapi", func(pids []int) bool { return len(pids) == 1 && pids[0] != old[0] })
	assert.Equal(t, route, app.Now().Route.Generation, "weights while the plugin was away")

	// Once more, and this time the rollout wants to go on meanwhile.
	require.NoError(t, syscall.Kill(c.PluginPIDs("gatewayapi")[0], syscall.SIGKILL))
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") && w.Wanted("v1") == 0 })
	app.RequireWeights(0, 20, 60, 100, 0)
}

// The plugin's process stops without ending, in the middle of a rollout: other
// work goes on, no weight moves, and the process is replaced or comes back.
func TestPluginHangs(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "plugin-hang"})
	c.Start(t)
	app := on.NewApp(t, c)
	app.Deploy(stage.SetWeight(20), stage.Pause, stage.SetWeight(60), stage.ShortPause)
	app.Update("v2")
	w := app.Await("paused at 20", func(w stage.World) bool { return w.Paused(1, 20) })
	route := w.Route.Generation
	hung := c.PluginPIDs("gatewayapi")
	require.Len(t, hung, 1)

	require.NoError(t, syscall.Kill(hung[0], syscall.SIGSTOP))
	app.PatchRollout(`{"spec": {"replicas": 6}}`)
	app.Await("stable follows the replicas", func(w stage.World) bool { return w.Wanted("v1") == 6 })
	assert.Equal(t, route, app.Now().Route.Generation)
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	c.AwaitPlugin(t, "gatewayapi", func(pids []int) bool { return len(pids) == 1 && pids[0] != hung[0] })
	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") })
	app.RequireWeights(0, 20, 60, 100, 0)
}

// The controller is killed at every point of a rollout that can be told apart
// from outside. What comes after it goes on where it was: the same weights, no
// twin ReplicaSets or AnalysisRuns, and no plugin process is left of the old one.
func TestControllerIsKilled(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "kill"})
	c.Start(t)
	app := on.NewApp(t, c)
	app.Deploy(stage.SetWeight(20), stage.ShortPause, stage.Analysis, stage.SetWeight(60), stage.Pause)
	app.Update("v2")
	for _, point := range []struct {
		what    string
		reached func(stage.World) bool
	}{
		{"v2 has a ReplicaSet", func(w stage.World) bool { return w.Set("v2") != nil }},
		{"v2 has the canary name", func(w stage.World) bool { return w.Selects(stage.CanaryService) == w.Hash("v2") }},
		{"v2 has 20 %", func(w stage.World) bool { return w.Weight() == 20 }},
		{"the analysis runs", func(w stage.World) bool { return len(w.Runs) == 1 }},
		{"v2 has 60 %", func(w stage.World) bool { return w.Weight() == 60 }},
		{"paused", func(w stage.World) bool { return w.Paused(4, 60) }},
	} {
		app.Await(point.what, point.reached)
		crash(t, c)
	}
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("v2 has everything", func(w stage.World) bool { return w.Weight() == 100 })
	crash(t, c)
	app.Await("the stable name is v2's", func(w stage.World) bool { return w.Selects(stage.StableService) == w.Hash("v2") })
	crash(t, c)

	w := app.Await("v2 is healthy, v1 is scaled down", func(w stage.World) bool { return w.Healthy("v2") && w.Wanted("v1") == 0 })
	app.RequireWeights(0, 20, 60, 100, 0)
	assert.Len(t, w.Sets, 2)
	assert.Len(t, w.Runs, 1)
	assert.Equal(t, "2", w.Rollout.Annotations[v1alpha1.AnnotationRevision])
}

// crash kills the controller, sees its plugins end, and starts it again.
func crash(t *testing.T, c *stage.Controller) {
	t.Helper()
	c.Kill(t)
	for _, plugin := range []string{"gatewayapi", "prometheus"} {
		c.AwaitPlugin(t, plugin, func(pids []int) bool { return len(pids) == 0 })
	}
	c.Start(t)
}

// Asked to end, the controller takes its plugins along and leaves no files.
func TestControllerEndsInOrder(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "end"})
	c.Start(t)
	app := on.NewApp(t, c)
	app.Deploy(stage.SetWeight(20), stage.Pause)
	require.Len(t, c.PluginPIDs("gatewayapi"), 1)
	c.Stop(t)
	assert.Empty(t, c.PluginPIDs("gatewayapi"))
	left, err := os.ReadDir(c.TempDir())
	require.NoError(t, err)
	assert.Empty(t, left)
}

// Two replicas take turns: the second one serves when the first one ends.
func TestLeaderElection(t *testing.T) {
	t.Parallel()
	first := on.NewController(t, stage.ControllerOptions{Instance: "lease", Lease: true})
	first.Start(t)
	app := on.NewApp(t, first)
	app.Deploy(stage.SetWeight(20), stage.Pause)
	second := on.NewController(t, stage.ControllerOptions{ReplicaOf: first, Lease: true})
	second.Start(t)

	app.Update("v2")
	app.Await("paused at 20", func(w stage.World) bool { return w.Paused(1, 20) })
	assert.Empty(t, second.Counters(t).Writes, "the second one waits")
	assert.Empty(t, second.PluginPIDs("gatewayapi"))

	first.Stop(t)
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") })
	assert.NotEmpty(t, second.Counters(t).Writes)
}
