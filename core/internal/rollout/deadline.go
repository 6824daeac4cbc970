package rollout

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Deadline reports whether the update has made no progress for
// progressDeadlineSeconds (600 when unset), and when it would be late
// otherwise; zero means that the deadline does not run: during pauses,
// analyses, aborts, at rest, and while another ReplicaSet waits for its
// scale-down.
func Deadline(s *Snapshot) (late bool, at time.Time) {
	ro := s.Rollout
	cond := progressing(ro)
	if cond == nil || ro.Spec.Paused || len(ro.Status.PauseConditions) > 0 || ro.Status.Abort {
		return false, time.Time{}
	}
	switch cond.Reason {
	case v1alpha1.ReasonRolloutAborted, v1alpha1.ReasonRolloutPaused, v1alpha1.ReasonNewReplicaSetAvailable:
		return false, time.Time{}
	case v1alpha1.ReasonProgressDeadlineExceeded:
		return true, time.Time{}
	}
	if waits(ro) {
		return false, time.Time{}
	}
	for _, rs := range s.ReplicaSets {
		if h := Hash(rs); h != ro.Status.CurrentPodHash && rs.Annotations[v1alpha1.AnnotationScaleDownDeadline] != "" {
			return false, time.Time{}
		}
	}
	seconds := ro.Spec.ProgressDeadlineSecondsOrDefault()
	end := cond.LastUpdateTime.Add(time.Duration(seconds) * time.Second)
	return s.Now.After(end), end.Add(time.Second)
}

func progressing(ro *v1alpha1.Rollout) *v1alpha1.RolloutCondition {
	for i := range ro.Status.Conditions {
		c := &ro.Status.Conditions[i]
		if c.Type == v1alpha1.ConditionProgressing && c.Status != corev1.ConditionStatus("") {
			return c
		}
	}
	return nil
}

// waits: the current step takes as long as it takes.
func waits(ro *v1alpha1.Rollout) bool {
	if ro.Spec.Strategy.BlueGreen != nil {
		return measuring(ro.Status.BlueGreen.PrePromotionAnalysisRunStatus) || measuring(ro.Status.BlueGreen.PostPromotionAnalysisRunStatus)
	}
	c, at := ro.Spec.Strategy.Canary, ro.Status.CurrentStepIndex
	if c == nil || at == nil || int(*at) >= len(c.Steps) || *at < 0 {
		return false
	}
	step := c.Steps[*at]
	return step.Pause != nil || step.Analysis != nil || step.Experiment != nil
}

// Held reports whether the conditions say that something held the rollout up:
// an invalid spec, or a hold that somebody has to end.
func Held(conditions []v1alpha1.RolloutCondition) bool {
	for _, c := range conditions {
		if c.Status == corev1.ConditionTrue && (c.Type == v1alpha1.ConditionInvalidSpec || c.Type == v1alpha1.ConditionBlocked) {
			return true
		}
	}
	return false
}

func measuring(run *v1alpha1.RolloutAnalysisRunStatus) bool {
	return run != nil && !run.Status.Completed()
}
