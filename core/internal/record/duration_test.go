package record_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/record"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// An update is timed from its reset to its promotion; what a person took is
// counted beside it.
func TestDuration(t *testing.T) {
	one := int32(1)
	s := snapshot()
	s.Rollout.Spec.Strategy.Canary.Steps = []v1alpha1.CanaryStep{{Pause: &v1alpha1.RolloutPause{}}}
	s.ReplicaSets = []*appsv1.ReplicaSet{{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelPodTemplateHash: "new"}},
		Spec: appsv1.ReplicaSetSpec{Replicas: &one}, Status: appsv1.ReplicaSetStatus{AvailableReplicas: 1}}}
	begun := s.Now.Truncate(time.Second)
	step := func(after time.Duration, transition rollout.Transition) v1alpha1.RolloutDuration {
		s.Now = s.Now.Add(after)
		s.Rollout.Status = record.Of(s, rollout.Plan{Hash: "new", Transition: transition}, rollout.Outcome{}).Status
		require.NotNil(t, s.Rollout.Status.Duration)
		return *s.Rollout.Status.Duration
	}
	d := step(0, rollout.Transition{Kind: rollout.TransitionReset, Index: new(int32)})
	assert.Equal(t, begun, d.RolloutStartedAt.Time)
	d = step(time.Second, rollout.Transition{Kind: rollout.TransitionPause, Index: new(int32), Pause: v1alpha1.PauseReasonCanaryPauseStep})
	assert.NotNil(t, d.ManualPauseStartedAt, "nothing but a person ends this pause")
	d = step(time.Minute, rollout.Transition{Kind: rollout.TransitionStep, Index: &one})
	assert.Nil(t, d.ManualPauseStartedAt)
	assert.Equal(t, int64(60), d.TotalManualPauseDurationSeconds)
	assert.Nil(t, d.FinishedAt)
	s.Rollout.Status.PromoteFull = true
	d = step(time.Second, rollout.Transition{Kind: rollout.TransitionPromote, Index: &one})
	assert.Equal(t, v1alpha1.CompletionFastPromoted, d.CompletionStatus)
	assert.Equal(t, begun.Add(62*time.Second), d.FinishedAt.Time)
	d = step(time.Hour, rollout.Transition{})
	assert.Equal(t, begun.Add(62*time.Second), d.FinishedAt.Time, "it ended once")
}

// An abort ends the update, a retry begins another, and a rollback ends the one
// it takes back.
func TestDurationOfWhatFails(t *testing.T) {
	s := snapshot()
	started := metav1.NewTime(s.Now.Add(-time.Hour).Truncate(time.Second))
	for _, tt := range []struct {
		transition rollout.Transition
		how        v1alpha1.CompletionStatus
		kept       bool
	}{
		{rollout.Transition{Kind: rollout.TransitionAbort}, v1alpha1.CompletionAborted, true},
		{rollout.Transition{Kind: rollout.TransitionRetry}, "", false},
		{rollout.Transition{Kind: rollout.TransitionReset}, "", false},
		{rollout.Transition{Kind: rollout.TransitionReset, Message: "Rollback to ReplicaSets within the rollback window"}, v1alpha1.CompletionFastRolledBack, true},
	} {
		s.Rollout.Status.Duration = &v1alpha1.RolloutDuration{RolloutStartedAt: &started}
		d := record.Of(s, rollout.Plan{Hash: "new", Transition: tt.transition}, rollout.Outcome{}).Status.Duration
		assert.Equal(t, tt.how, d.CompletionStatus, tt.transition)
		assert.Equal(t, tt.kept, d.RolloutStartedAt.Equal(&started), tt.transition)
	}
}
