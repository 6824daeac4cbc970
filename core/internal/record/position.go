package record

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// position applies the transition of the pass to the status.
func (r *recorder) position() {
	t := r.transition()
	r.applied = t.Kind != rollout.TransitionNone
	st := &r.new
	if r.applied && t.Kind != rollout.TransitionPause && t.Kind != rollout.TransitionSwitched {
		st.BlueGreen.ScaleUpPreviewCheckPoint = t.Kind == rollout.TransitionScaleUpPreview
	}
	switch t.Kind {
	case rollout.TransitionScaleUpPreview, rollout.TransitionSwitched:
		r.unpause()
	case rollout.TransitionReset:
		r.unpause()
		st.Abort, st.AbortedAt, st.PromoteFull = false, nil, false
		st.CurrentPodHash, st.CurrentStepHash, st.CurrentStepIndex = r.plan.Hash, r.plan.StepHash, t.Index
		st.RestartedAt = r.s.Rollout.Spec.RestartAt.DeepCopy()
		// Blue-green has no steps: only another template was rolled back.
		if t.Message != "" && (r.s.Rollout.Spec.Strategy.BlueGreen == nil || r.old.CurrentPodHash != r.plan.Hash) {
			r.edge(corev1.EventTypeNormal, v1alpha1.EventSkipSteps, t.Message)
		}
	case rollout.TransitionStep:
		r.unpause()
		st.CurrentStepIndex = t.Index
		r.edge(corev1.EventTypeNormal, v1alpha1.EventRolloutStepCompleted,
			fmt.Sprintf("Rollout step %d/%d completed (%s)", *t.Index, len(r.s.Rollout.Spec.Strategy.Canary.Steps), t.Step))
		if t.Pause != "" {
			r.pause(t.Pause)
		}
	case rollout.TransitionSkip:
		r.unpause()
		st.Abort, st.AbortedAt = false, nil
		st.CurrentStepIndex = t.Index
	case rollout.TransitionPause:
		r.pause(t.Pause)
	case rollout.TransitionPromote:
		r.unpause()
		st.Abort, st.AbortedAt, st.PromoteFull = false, nil, false
		st.CurrentStepIndex, st.StableRS = t.Index, r.plan.Hash
		r.edge(corev1.EventTypeNormal, v1alpha1.EventRolloutCompleted,
			fmt.Sprintf("Rollout completed update to revision %d (%s): %s", r.plan.Revision, r.plan.Hash, t.Message))
	case rollout.TransitionAbort, rollout.TransitionAborted:
		r.unpause()
		now := r.now()
		st.Abort, st.AbortedAt, st.PromoteFull = true, &now, false
		st.CurrentStepIndex = t.Index
		r.abortMessage = fmt.Sprintf("Rollout aborted update to revision %d", r.plan.Revision)
		if t.Message != "" {
			r.abortMessage += ": " + t.Message
		}
	case rollout.TransitionRetry:
		r.unpause()
		st.AbortedAt, st.CurrentStepIndex = nil, t.Index
		r.retried = true
	case rollout.TransitionForgetAbort:
		st.Abort, st.AbortedAt = false, nil
		st.CurrentStepIndex = t.Index
	}
}

func (r *recorder) unpause() {
	r.new.PauseConditions, r.new.ControllerPause = nil, false
}

// pause adds a pause condition in the name of the controller.
func (r *recorder) pause(reason v1alpha1.PauseReason) {
	r.new.PauseConditions = append(r.new.PauseConditions, v1alpha1.PauseCondition{Reason: reason, StartTime: r.now()})
	r.new.ControllerPause = true
}
