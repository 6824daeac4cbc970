package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// Rollouts at rest cost nothing: however often they are looked at, nothing is
// written and no plugin is asked.
func TestRest(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "rest"})
	c.Start(t)
	promoted, paused, aborted := on.NewApp(t, c), on.NewApp(t, c), on.NewApp(t, c)
	for _, app := range []*stage.App{promoted, paused, aborted} {
		app.Deploy(stage.SetWeight(20), stage.Analysis, stage.Pause)
		app.Update("v2")
	}
	for _, app := range []*stage.App{promoted, paused, aborted} {
		app.Await("paused at 20", func(w stage.World) bool { return w.Paused(2, 20) })
	}
	promoted.PatchStatus(`{"status": {"pauseConditions": null}}`)
	aborted.PatchStatus(`{"status": {"abort": true}}`)
	promoted.Await("promoted", func(w stage.World) bool { return w.Healthy("v2") && w.Status().Replicas == 4 })
	aborted.Await("aborted", func(w stage.World) bool { return w.Aborted("v2", "v1") && w.Status().Replicas == 4 })

	invalid := on.NewApp(t, c)
	invalid.Delete("Service", stage.CanaryService)
	invalid.Apply(stage.RolloutYAML(stage.SetWeight(20)))
	invalid.Await("invalid", func(w stage.World) bool { return w.Invalid(stage.CanaryService) })

	before := still(t, c)
	const touches = 20
	for i := range touches {
		note := fmt.Sprintf(`{"metadata": {"annotations": {"example.com/touched": "%d"}}}`, i)
		for _, app := range []*stage.App{promoted, paused, aborted} {
			app.Patch("Service", stage.StableService, note)
			app.Patch("ReplicaSet", app.Now().Set("v1").Name, note)
			app.PatchRollout(note)
		}
		invalid.PatchRollout(note)
	}
	// Nothing tells that nothing will happen; so this one is a window of time.
	<-time.After(10 * time.Second)
	moved := c.Counters(t).Since(before)
	assert.GreaterOrEqual(t, moved.Passes["rollout"], float64(touches), "the touches made for passes")
	assert.Empty(t, moved.Writes, "API writes but leases and events")
	assert.Empty(t, moved.Calls, "plugin calls but health checks")
	assert.Empty(t, c.Counters(t).Violations)
}

// still waits until the counters have not moved for two seconds.
func still(t *testing.T, c *stage.Controller) stage.Counters {
	t.Helper()
	last, since := c.Counters(t), time.Now()
	for tick := time.Tick(200 * time.Millisecond); time.Since(since) < 2*time.Second; <-tick {
		now := c.Counters(t)
		if moved := now.Since(last); len(moved.Writes)+len(moved.Calls)+len(moved.Passes) > 0 {
			last, since = now, time.Now()
		}
	}
	return last
}
