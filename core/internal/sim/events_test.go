package sim_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// routing are the reasons that a canary without traffic routing does not have;
// the order that clients compare is the one of the others.
var routing = map[string]bool{v1alpha1.EventSwitchService: true, v1alpha1.EventTrafficWeightUpdated: true}

func reasons(w *sim.World) []string {
	var out []string
	for _, r := range w.Events() {
		if !routing[r] {
			out = append(out, r)
		}
	}
	return out
}

// TestEventOrder is the list Argo Rollouts' own tests compare, from a canary
// with one replica that is deployed, updated, aborted while paused, retried and
// left to promote itself. RolloutAddedToInformer is the controller's. What
// comes after the last RolloutCompleted is the old ReplicaSet, which Argo
// scales down before it where nothing routes traffic.
func TestEventOrder(t *testing.T) {
	w := sim.New(sim.Options{})
	w.Prepare()
	ro := sim.NewRollout("v1", 1, sim.SetWeight(50), sim.Pause(3))
	second := int32(1)
	ro.Spec.Strategy.Canary.AbortScaleDownDelaySeconds = &second
	w.Create(ro)
	w.Rest()
	w.Deploy("v2")
	w.Until("the pause", pausedAt(1))
	w.Abort()
	w.Rest()
	w.Retry()
	w.Rest()
	require.NoError(t, w.Err, w.Story())
	require.Equal(t, []string{
		"RolloutUpdated", "NewReplicaSetCreated", "RolloutNotCompleted", "ScalingReplicaSet", "RolloutCompleted",
		"RolloutUpdated", "NewReplicaSetCreated", "RolloutNotCompleted", "ScalingReplicaSet",
		"RolloutStepCompleted", "RolloutPaused",
		"RolloutAborted", "ScalingReplicaSet",
		"ScalingReplicaSet", "RolloutStepCompleted", "RolloutPaused", "RolloutStepCompleted", "RolloutResumed",
		"RolloutCompleted", "ScalingReplicaSet",
	}, reasons(w), w.Story())
}

// TestEventOrderBasic is that list, complete, for the canary it is about: one
// without traffic routing.
func TestEventOrderBasic(t *testing.T) {
	w := sim.New(sim.Options{})
	w.Create(sim.NewBasic("v1", 1, sim.SetWeight(50), sim.Pause(3)))
	w.Rest()
	w.Deploy("v2")
	w.Until("the pause", pausedAt(1))
	w.Abort()
	w.Rest()
	w.Retry()
	w.Rest()
	require.NoError(t, w.Err, w.Story())
	require.Equal(t, []string{
		"RolloutUpdated", "NewReplicaSetCreated", "RolloutNotCompleted", "ScalingReplicaSet", "RolloutCompleted",
		"RolloutUpdated", "NewReplicaSetCreated", "RolloutNotCompleted", "ScalingReplicaSet",
		"RolloutStepCompleted", "RolloutPaused",
		"ScalingReplicaSet", "RolloutAborted",
		"ScalingReplicaSet", "RolloutStepCompleted", "RolloutPaused", "RolloutStepCompleted", "RolloutResumed",
		"ScalingReplicaSet", "RolloutCompleted",
	}, w.Events(), w.Story())
}
