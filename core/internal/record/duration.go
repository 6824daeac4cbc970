package record

import (
	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// duration times the update: from the reset or retry that began it to the
// moment its revision serves with all its pods, or was given up. The time in
// which somebody had to act is summed up beside it.
func (r *recorder) duration() {
	if r.applied {
		r.clocked()
	}
	d := r.new.Duration
	if d == nil || d.RolloutStartedAt == nil || d.FinishedAt != nil {
		return
	}
	now := r.now()
	switch waiting := r.manual(); {
	case waiting && d.ManualPauseStartedAt == nil:
		d.ManualPauseStartedAt = &now
	case !waiting && d.ManualPauseStartedAt != nil:
		d.TotalManualPauseDurationSeconds += max(0, int64(now.Sub(d.ManualPauseStartedAt.Time).Seconds()))
		d.ManualPauseStartedAt = nil
	}
	rs := r.s.ByHash(r.new.StableRS)
	promoted := r.new.StableRS != "" && r.new.StableRS == r.new.CurrentPodHash && rollout.Available(rs) >= r.s.Replicas()
	if r.new.Abort || promoted {
		d.FinishedAt = &now
	}
}

// clocked starts the time of an update, or notes how it ends.
func (r *recorder) clocked() {
	now := r.now()
	begin := func() { r.new.Duration = &v1alpha1.RolloutDuration{RolloutStartedAt: &now} }
	switch t := r.plan.Transition; t.Kind {
	case rollout.TransitionReset:
		var began = r.old.Duration
		begin()
		if t.Message == "" {
			return
		}
		// Going back belongs to the update that is taken back.
		if began != nil && began.RolloutStartedAt != nil && began.FinishedAt == nil {
			r.new.Duration.RolloutStartedAt = began.RolloutStartedAt
		}
		r.new.Duration.CompletionStatus = v1alpha1.CompletionRolledBack
		if r.new.StableRS != r.plan.Hash {
			r.new.Duration.CompletionStatus = v1alpha1.CompletionFastRolledBack
		}
	case rollout.TransitionRetry:
		begin()
	case rollout.TransitionPromote:
		r.ends(v1alpha1.CompletionPromoted)
		if r.old.PromoteFull {
			r.ends(v1alpha1.CompletionFastPromoted)
		}
	case rollout.TransitionAbort, rollout.TransitionAborted:
		if d := r.new.Duration; d != nil {
			d.CompletionStatus = ""
		}
		r.ends(v1alpha1.CompletionAborted)
	}
}

// ends notes the way an update ended; a rollback stays one.
func (r *recorder) ends(how v1alpha1.CompletionStatus) {
	d := r.new.Duration
	if d == nil || d.FinishedAt != nil {
		return
	}
	switch d.CompletionStatus {
	case v1alpha1.CompletionRolledBack, v1alpha1.CompletionFastRolledBack:
	default:
		d.CompletionStatus = how
	}
}

// manual reports that the update waits for a person.
func (r *recorder) manual() bool {
	if r.s.Rollout.Spec.Paused {
		return true
	}
	for _, c := range r.new.PauseConditions {
		switch c.Reason {
		case v1alpha1.PauseReasonInconclusiveAnalysis, v1alpha1.PauseReasonInconclusiveExperiment:
			return true
		case v1alpha1.PauseReasonBlueGreenPause:
			if bg := r.s.Rollout.Spec.Strategy.BlueGreen; bg != nil && !bg.AutoPromotionEnabledOrDefault() {
				return true
			}
		case v1alpha1.PauseReasonCanaryPauseStep:
			if step := currentStep(r.s.Rollout, r.new.CurrentStepIndex); step != nil && step.Pause != nil && step.Pause.Duration == nil {
				return true
			}
		}
	}
	return false
}

func currentStep(ro *v1alpha1.Rollout, index *int32) *v1alpha1.CanaryStep {
	c := ro.Spec.Strategy.Canary
	if c == nil || index == nil || *index < 0 || int(*index) >= len(c.Steps) {
		return nil
	}
	return &c.Steps[*index]
}
