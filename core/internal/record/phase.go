package record

import (
	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Phase sums a Rollout up in one word and one line, in the order in which
// Argo Rollouts' controller does and its clients expect.
func Phase(ro *v1alpha1.Rollout, st v1alpha1.RolloutStatus) (v1alpha1.RolloutPhase, string) {
	for _, c := range st.Conditions {
		if c.Type == v1alpha1.ConditionInvalidSpec {
			return v1alpha1.RolloutPhaseDegraded, v1alpha1.ReasonInvalidSpec + ": " + c.Message
		}
		if c.Reason == v1alpha1.ReasonRolloutAborted || c.Reason == v1alpha1.ReasonProgressDeadlineExceeded {
			return v1alpha1.RolloutPhaseDegraded, c.Reason + ": " + c.Message
		}
	}
	if ro.Spec.Paused {
		return v1alpha1.RolloutPhasePaused, "manually paused"
	}
	if len(st.PauseConditions) > 0 {
		return v1alpha1.RolloutPhasePaused, string(st.PauseConditions[0].Reason)
	}
	if at := ro.Spec.RestartAt; at != nil && !at.Equal(st.RestartedAt) {
		return v1alpha1.RolloutPhaseProgressing, "rollout is restarting"
	}
	want := ro.Spec.ReplicasOrDefault()
	switch {
	case st.UpdatedReplicas < want:
		return v1alpha1.RolloutPhaseProgressing, "more replicas need to be updated"
	case st.AvailableReplicas < st.UpdatedReplicas:
		return v1alpha1.RolloutPhaseProgressing, "updated replicas are still becoming available"
	case basic(ro) && st.Replicas > st.UpdatedReplicas:
		return v1alpha1.RolloutPhaseProgressing, "old replicas are pending termination"
	case ro.Spec.Strategy.BlueGreen != nil:
		return blueGreenPhase(ro.Spec.Strategy.BlueGreen, st)
	case st.StableRS == "" || st.StableRS != st.CurrentPodHash:
		return v1alpha1.RolloutPhaseProgressing, "waiting for all steps to complete"
	}
	return v1alpha1.RolloutPhaseHealthy, ""
}

// basic: the weight of a canary without traffic routing is its share of the
// pods, so old ones still serve.
func basic(ro *v1alpha1.Rollout) bool {
	c := ro.Spec.Strategy.Canary
	return c != nil && c.TrafficRouting == nil
}
