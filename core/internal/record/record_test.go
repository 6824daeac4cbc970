package record_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/record"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// TestPhase is the order of the first line that applies; each row still has
// everything the rows below it have, so a wrong order fails.
func TestPhase(t *testing.T) {
	three := int32(3)
	ro := &v1alpha1.Rollout{Spec: v1alpha1.RolloutSpec{Replicas: &three, Paused: true}}
	st := v1alpha1.RolloutStatus{
		StableRS: "a", CurrentPodHash: "b", UpdatedReplicas: 2, AvailableReplicas: 1,
		PauseConditions: []v1alpha1.PauseCondition{{Reason: v1alpha1.PauseReasonCanaryPauseStep}},
		Conditions: []v1alpha1.RolloutCondition{
			{Type: v1alpha1.ConditionInvalidSpec, Reason: v1alpha1.ReasonInvalidSpec, Message: "bad"},
			{Type: v1alpha1.ConditionProgressing, Reason: v1alpha1.ReasonRolloutAborted, Message: "gave up"},
		},
	}
	for _, row := range []struct {
		phase   v1alpha1.RolloutPhase
		message string
		next    func()
	}{
		{v1alpha1.RolloutPhaseDegraded, "InvalidSpec: bad", func() { st.Conditions = st.Conditions[1:] }},
		{v1alpha1.RolloutPhaseDegraded, "RolloutAborted: gave up", func() { st.Conditions[0].Reason = v1alpha1.ReasonProgressDeadlineExceeded }},
		{v1alpha1.RolloutPhaseDegraded, "ProgressDeadlineExceeded: gave up", func() { st.Conditions = nil }},
		{v1alpha1.RolloutPhasePaused, "manually paused", func() { ro.Spec.Paused = false }},
		{v1alpha1.RolloutPhasePaused, "CanaryPauseStep", func() { st.PauseConditions = nil }},
		{v1alpha1.RolloutPhaseProgressing, "more replicas need to be updated", func() { st.UpdatedReplicas = 3 }},
		{v1alpha1.RolloutPhaseProgressing, "updated replicas are still becoming available", func() { st.AvailableReplicas = 3 }},
		{v1alpha1.RolloutPhaseProgressing, "waiting for all steps to complete", func() { st.StableRS = "" }},
		{v1alpha1.RolloutPhaseProgressing, "waiting for all steps to complete", func() { st.StableRS = "b" }},
		{v1alpha1.RolloutPhaseHealthy, "", func() {}},
	} {
		phase, message := record.Phase(ro, st)
		assert.Equal(t, row.phase, phase, row.message)
		assert.Equal(t, row.message, message)
		row.next()
	}
}

var now = time.Date(2026, 1, 1, 0, 0, 0, 500_000_000, time.UTC)

func snapshot() *rollout.Snapshot {
	one, index := int32(1), int32(0)
	ro := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "x", Generation: 7}}
	ro.Spec.Replicas, ro.Spec.Strategy.Canary = &one, &v1alpha1.CanaryStrategy{Steps: []v1alpha1.CanaryStep{{}, {}}}
	ro.Status.StableRS, ro.Status.CurrentPodHash, ro.Status.CurrentStepIndex = "old", "new", &index
	return &rollout.Snapshot{Now: now, Rollout: ro}
}

func condition(st v1alpha1.RolloutStatus, of v1alpha1.RolloutConditionType) *v1alpha1.RolloutCondition {
	for i := range st.Conditions {
		if st.Conditions[i].Type == of {
			return &st.Conditions[i]
		}
	}
	return nil
}

func reasons(events []record.Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, e.Reason)
	}
	return out
}

// TestTransitions: what each transition leaves in status and says in
// Progressing.
func TestTransitions(t *testing.T) {
	one, zero := int32(1), int32(0)
	for _, tt := range []struct {
		transition  rollout.Transition
		before      func(*v1alpha1.RolloutStatus)
		status      corev1.ConditionStatus
		progressing string
		events      []string
	}{
		{rollout.Transition{Kind: rollout.TransitionStep, Index: &one, Step: "setWeight: 10"}, nil,
			corev1.ConditionTrue, v1alpha1.ReasonReplicaSetUpdated, []string{v1alpha1.EventRolloutStepCompleted}},
		{rollout.Transition{Kind: rollout.TransitionPause, Index: &zero, Pause: v1alpha1.PauseReasonCanaryPauseStep}, nil,
			corev1.ConditionUnknown, v1alpha1.ReasonRolloutPaused, []string{v1alpha1.EventRolloutPaused}},
		{rollout.Transition{Kind: rollout.TransitionAbort, Index: &zero, Message: "why"}, nil,
			corev1.ConditionFalse, v1alpha1.ReasonRolloutAborted, []string{v1alpha1.EventRolloutAborted}},
		{rollout.Transition{Kind: rollout.TransitionRetry, Index: &zero},
			func(st *v1alpha1.RolloutStatus) { st.AbortedAt = &metav1.Time{Time: now} },
			corev1.ConditionUnknown, v1alpha1.ReasonRolloutRetry, nil},
	} {
		s := snapshot()
		if tt.before != nil {
			tt.before(&s.Rollout.Status)
		}
		// The first RolloutNotCompleted belongs to the reset.
		s.Rollout.Status.Conditions = []v1alpha1.RolloutCondition{{Type: v1alpha1.ConditionCompleted, Status: corev1.ConditionFalse, Reason: v1alpha1.ReasonRolloutCompleted}}
		rec := record.Of(s, rollout.Plan{Hash: "new", Transition: tt.transition}, rollout.Outcome{})
		c := condition(rec.Status, v1alpha1.ConditionProgressing)
		require.NotNil(t, c, tt.transition.Kind)
		assert.Equal(t, tt.status, c.Status, tt.transition.Kind)
		assert.Equal(t, tt.progressing, c.Reason, tt.transition.Kind)
		assert.Equal(t, tt.events, reasons(rec.Edges), tt.transition.Kind)
		assert.Equal(t, "7", rec.Status.ObservedGeneration)
		assert.Zero(t, c.LastUpdateTime.Nanosecond(), "the API server keeps whole seconds")
	}
}

// TestTransitionWaitsForItsOperations: a position that depends on an operation
// does not move without it.
func TestTransitionWaitsForItsOperations(t *testing.T) {
	s, one := snapshot(), int32(1)
	plan := rollout.Plan{Hash: "new", Transition: rollout.Transition{Kind: rollout.TransitionStep, Index: &one, After: []rollout.OpID{"write"}}}
	assert.Equal(t, int32(0), *record.Of(s, plan, rollout.Outcome{}).Status.CurrentStepIndex)
	assert.Equal(t, int32(1), *record.Of(s, plan, rollout.Outcome{Done: map[rollout.OpID]bool{"write": true}}).Status.CurrentStepIndex)
}

// TestBlocked: only a hold somebody should know about makes the condition, and
// it goes with the hold.
func TestBlocked(t *testing.T) {
	s := snapshot()
	hold := rollout.Hold{Reason: rollout.HoldWaitingForPods, What: "w", EndedBy: "e"}
	rec := record.Of(s, rollout.Plan{Holds: []rollout.Hold{hold}}, rollout.Outcome{})
	assert.Nil(t, condition(rec.Status, v1alpha1.ConditionBlocked))
	hold.Blocking = true
	rec = record.Of(s, rollout.Plan{Holds: []rollout.Hold{hold}}, rollout.Outcome{})
	require.NotNil(t, condition(rec.Status, v1alpha1.ConditionBlocked))
	s.Rollout.Status = rec.Status
	rec = record.Of(s, rollout.Plan{}, rollout.Outcome{})
	assert.Nil(t, condition(rec.Status, v1alpha1.ConditionBlocked))
}

// TestInvalidMovesNothing but an abort that a person asked for.
func TestInvalidMovesNothing(t *testing.T) {
	s, one, zero := snapshot(), int32(1), int32(0)
	plan := rollout.Plan{Hash: "new", Invalid: "bad", Transition: rollout.Transition{Kind: rollout.TransitionStep, Index: &one}}
	rec := record.Of(s, plan, rollout.Outcome{})
	assert.Equal(t, int32(0), *rec.Status.CurrentStepIndex)
	assert.Equal(t, []string{v1alpha1.EventInvalidSpec}, reasons(rec.Edges))
	plan.Transition = rollout.Transition{Kind: rollout.TransitionAborted, Index: &zero}
	assert.True(t, record.Of(s, plan, rollout.Outcome{}).Status.Abort)
}

// TestConflictIsNoEvent: somebody else wrote first, which is nobody's fault.
func TestConflictIsNoEvent(t *testing.T) {
	s := snapshot()
	plan := rollout.Plan{Ops: []rollout.Op{rollout.RouteTraffic{Identity: rollout.Identity{OpID: "route/r"}}}}
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "routes"}, "r", errors.New("changed"))
	assert.Empty(t, record.Of(s, plan, rollout.Outcome{Failed: map[rollout.OpID]error{"route/r": conflict}}).Done)
	assert.Equal(t, []string{v1alpha1.EventTrafficRoutingError},
		reasons(record.Of(s, plan, rollout.Outcome{Failed: map[rollout.OpID]error{"route/r": errors.New("no")}}).Done))
}
