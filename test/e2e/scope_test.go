package e2e

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// With --instance-id a controller serves what carries the id; one without serves
// what carries none. An id that nobody serves is left alone by both.
func TestInstances(t *testing.T) {
	t.Parallel()
	blue := on.NewController(t, stage.ControllerOptions{Instance: "blue"})
	blue.Start(t)
	green := on.NewController(t, stage.ControllerOptions{Instance: "green"}) // never started
	apps := []*stage.App{on.NewApp(t, green), on.NewApp(t, blue), on.NewApp(t, shared)}
	for _, app := range apps {
		app.Apply(stage.RolloutYAML(stage.SetWeight(20), stage.Pause))
	}
	for _, app := range apps[1:] {
		app.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
		at20(app)
		resume(app)
		app.Await("v2 serves", done("v2", "v1"))
	}
	assert.Equal(t, "", string(apps[0].Now().Rollout.Status.Phase))
	assert.Empty(t, apps[0].Now().Sets)
}
