package e2e

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// The gateway refuses a change of the route: the rollout goes no further, shows
// the gateway's own words, and goes on when the route is accepted.
func TestGatewayRefusesTheRoute(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(20), stage.Pause, stage.SetWeight(60), stage.Pause)
	app.Update("v2")
	app.Await("paused at 20, verified", func(w stage.World) bool { return w.Paused(1, 20) && verified(w) })

	const sentence = "Weighted backends are out of fashion"
	on.Gateway.Refuse(app.Namespace, sentence)
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	w := app.Await("it is blocked", func(w stage.World) bool { return w.Blocked("WaitingForTraffic") })
	assert.Contains(t, w.Message(v1alpha1.ConditionBlocked), sentence)
	assert.Equal(t, 2, w.Step())
	assert.Equal(t, 60, w.Weight())
	assert.False(t, verified(w))

	on.Gateway.Accept(app.Namespace)
	w = app.Await("the next pause", func(w stage.World) bool { return w.Paused(3, 60) && verified(w) })
	assert.Nil(t, w.Condition(v1alpha1.ConditionBlocked))
}

// A gateway that says nothing yet about the new weights is waited for: no step
// completes before.
func TestGatewayIsSlow(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(20), stage.Pause)
	on.Gateway.Pause(app.Namespace)
	app.Update("v2")
	w := app.Await("the weight is written", func(w stage.World) bool { return w.Weight() == 20 && w.Status().Canary.Weights.Canary.Weight == 20 })
	assert.Equal(t, 0, w.Step())
	assert.False(t, verified(w))

	on.Gateway.Accept(app.Namespace)
	app.Await("the step is done", func(w stage.World) bool { return w.Paused(1, 20) && verified(w) })
}

func verified(w stage.World) bool {
	weights := w.Status().Canary.Weights
	return weights != nil && weights.Verified != nil && *weights.Verified
}
