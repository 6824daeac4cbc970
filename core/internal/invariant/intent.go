package invariant

import (
	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// asks: a step plugin acts outside the API server, so status says before that it
// will be asked; and a step is run only while it is the current one (I7).
func (c *checker) asks(o rollout.CallStep) {
	st := c.s.Rollout.Status
	meant := false
	for _, e := range st.Canary.StepPluginStatuses {
		meant = meant || e.Index == o.Call.Index && string(e.Operation) == string(o.Call.Verb) && e.FinishedAt == nil
	}
	if !meant {
		c.broken(RuleIntent, o, "%s of step %d by plugin %s is not recorded in status", o.Call.Verb, o.Call.Index, o.Call.Plugin)
	}
	if o.Call.Verb != rollout.StepRun {
		return
	}
	if st.Abort || position(st) != o.Call.Index || c.plan.Transition.Kind != rollout.TransitionNone {
		c.broken("I7", o, "plugin %s runs step %d while the update is at step %d, aborted %v, or moving", o.Call.Plugin, o.Call.Index, position(st), st.Abort)
	}
}

func position(st v1alpha1.RolloutStatus) int32 {
	if st.CurrentStepIndex == nil {
		return 0
	}
	return *st.CurrentStepIndex
}
