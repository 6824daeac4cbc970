package cli

import (
	"strconv"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// phaseOf is the phase as a client shows it: what the controller wrote, unless
// it has not seen the Rollout as it is now.
func phaseOf(ro *v1alpha1.Rollout) (v1alpha1.RolloutPhase, string) {
	st := ro.Status
	switch {
	case !observed(strconv.FormatInt(ro.Generation, 10), st.ObservedGeneration):
		return v1alpha1.RolloutPhaseProgressing, "waiting for rollout spec update to be observed"
	case ro.Spec.WorkloadRef != nil && !observed(ro.Annotations[v1alpha1.AnnotationWorkloadGeneration], st.WorkloadObservedGeneration):
		return v1alpha1.RolloutPhaseProgressing, "waiting for rollout spec update to be observed for the reference workload"
	case st.ControllerPause && len(st.PauseConditions) == 0:
		return v1alpha1.RolloutPhaseProgressing, "waiting for rollout to unpause"
	case st.Phase == "":
		return v1alpha1.RolloutPhaseProgressing, "no controller has looked at it yet"
	}
	return st.Phase, st.Message
}

// observed compares generations as clients do: what is not a number, or is
// ahead, counts as observed.
func observed(generation, seen string) bool {
	if seen == "" {
		return generation == "" || generation == "0"
	}
	want, err1 := strconv.ParseInt(generation, 10, 64)
	have, err2 := strconv.ParseInt(seen, 10, 64)
	return err1 != nil || err2 != nil || have >= want
}

// condition of a Rollout; nil when there is none of the type.
func condition(ro *v1alpha1.Rollout, t v1alpha1.RolloutConditionType) *v1alpha1.RolloutCondition {
	for i := range ro.Status.Conditions {
		if c := &ro.Status.Conditions[i]; c.Type == t {
			return c
		}
	}
	return nil
}

// strategyOf names the strategy as Argo's CLI does.
func strategyOf(ro *v1alpha1.Rollout) string {
	switch {
	case ro.Spec.Strategy.Canary != nil:
		return "Canary"
	case ro.Spec.Strategy.BlueGreen != nil:
		return "BlueGreen"
	}
	return "none"
}

// stepOf is "1/9"; "" without steps.
func stepOf(ro *v1alpha1.Rollout) string {
	c, i := ro.Spec.Strategy.Canary, ro.Status.CurrentStepIndex
	if c == nil || i == nil || len(c.Steps) == 0 {
		return ""
	}
	return strconv.Itoa(int(*i)) + "/" + strconv.Itoa(len(c.Steps))
}

// wantedWeight is what the steps so far ask for; -1 without a canary.
func wantedWeight(ro *v1alpha1.Rollout) int32 {
	c := ro.Spec.Strategy.Canary
	if c == nil {
		return -1
	}
	total := c.MaxTrafficWeightOrDefault()
	i := ro.Status.CurrentStepIndex
	switch {
	case ro.Status.Abort:
		return 0
	case i == nil || int(*i) >= len(c.Steps):
		return total
	}
	weight := int32(0)
	for n := 0; n <= int(*i); n++ {
		if w := c.Steps[n].SetWeight; w != nil {
			weight = *w
		}
	}
	return weight
}
