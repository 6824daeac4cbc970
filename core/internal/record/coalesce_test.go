package record_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/record"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// underWay is a rollout whose status says everything there is to say about the
// plan.
func underWay(t *testing.T) (*rollout.Snapshot, rollout.Plan) {
	t.Helper()
	s, plan := snapshot(), rollout.Plan{Hash: "new", Weights: weighs(20), Routers: intends(20)}
	observed := rollout.Router{Plugin: "r", Capabilities: rollout.Capabilities{Observe: true}}
	s.Routers = []rollout.Router{observed}
	s.Rollout.Status = record.Of(s, plan, rollout.Outcome{}).Status
	require.False(t, record.Of(s, plan, rollout.Outcome{}).Changed)
	return s, plan
}

func weighs(canary int32) *v1alpha1.TrafficWeights {
	return &v1alpha1.TrafficWeights{
		Canary: v1alpha1.WeightDestination{Weight: canary, ServiceName: "canary", PodTemplateHash: "new"},
		Stable: v1alpha1.WeightDestination{Weight: 100 - canary, ServiceName: "stable", PodTemplateHash: "old"},
	}
}

func intends(canary int32) []v1alpha1.RouterStatus {
	since := metav1.NewTime(now.Add(time.Duration(canary) * time.Second))
	return []v1alpha1.RouterStatus{{Plugin: "r", Phase: v1alpha1.RouterActive, Intended: weighs(canary), Since: &since}}
}

func TestWhatMayWait(t *testing.T) {
	one := int32(1)
	for what, row := range map[string]struct {
		waits   bool
		happens func(*rollout.Snapshot, *rollout.Plan)
	}{
		"a pod came up": {true, func(s *rollout.Snapshot, _ *rollout.Plan) {
			s.ReplicaSets = []*appsv1.ReplicaSet{{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelPodTemplateHash: "new"}},
				Status:     appsv1.ReplicaSetStatus{Replicas: 1, ReadyReplicas: 1, AvailableReplicas: 1},
			}}
		}},
		"the weight went on": {true, func(_ *rollout.Snapshot, p *rollout.Plan) { p.Weights, p.Routers = weighs(50), intends(50) }},
		"the first weight of an update": {false, func(s *rollout.Snapshot, p *rollout.Plan) {
			s.Rollout.Status.Canary.Weights = weighs(0)
		}},
		"another Service gets the weight": {false, func(_ *rollout.Snapshot, p *rollout.Plan) {
			p.Weights = weighs(20)
			p.Weights.Canary.ServiceName = "other"
		}},
		"the weight of a router that nobody can observe": {false, func(s *rollout.Snapshot, p *rollout.Plan) {
			s.Routers[0].Capabilities = rollout.Capabilities{ExternalEffects: true}
			p.Weights = weighs(50)
		}},
		"what a router between subsets is asked for": {false, func(s *rollout.Snapshot, p *rollout.Plan) {
			s.Routers[0].Observation.Observed = []rollout.Observed{{Traffic: rollout.Traffic{
				Destinations: []rollout.Destination{{Role: rollout.RoleCanary, Hash: "new", Weight: 20}}}}}
			p.Routers = intends(50)
		}},
		"an effect waits for the intent": {false, func(_ *rollout.Snapshot, p *rollout.Plan) {
			p.Routers, p.Ops = intends(50), []rollout.Op{rollout.RecordIntent{Identity: rollout.Identity{OpID: "intent/r"}}}
		}},
		"a settle time began": {false, func(_ *rollout.Snapshot, p *rollout.Plan) {
			since := metav1.NewTime(now)
			p.Routers = intends(20)
			p.Routers[0].SettledSince = &since
		}},
		"a claim was taken": {false, func(_ *rollout.Snapshot, p *rollout.Plan) {
			p.Routers = intends(20)
			p.Routers[0].Holds = []v1alpha1.RouterHold{{Object: "Route/x", Key: "a"}}
		}},
		"a step is complete": {false, func(_ *rollout.Snapshot, p *rollout.Plan) {
			p.Transition = rollout.Transition{Kind: rollout.TransitionStep, Index: &one}
		}},
		"something blocks": {false, func(_ *rollout.Snapshot, p *rollout.Plan) {
			p.Holds = []rollout.Hold{{Reason: rollout.HoldWaitingForPods, What: "w", EndedBy: "e", Blocking: true}}
		}},
		"the spec was seen": {false, func(s *rollout.Snapshot, _ *rollout.Plan) { s.Rollout.Generation++ }},
		"a person paused":   {false, func(s *rollout.Snapshot, _ *rollout.Plan) { s.Rollout.Spec.Paused = true }},
	} {
		t.Run(what, func(t *testing.T) {
			s, plan := underWay(t)
			row.happens(s, &plan)
			rec := record.Of(s, plan, rollout.Outcome{})
			require.True(t, rec.Changed)
			assert.Equal(t, row.waits, rec.MayWait)
		})
	}
}

// Progress that is not written yet must not meet its own deadline.
func TestProgressNearTheDeadlineIsWrittenAtOnce(t *testing.T) {
	s, plan := underWay(t)
	seconds := int32(60)
	s.Rollout.Spec.ProgressDeadlineSeconds = &seconds
	rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelPodTemplateHash: "new"}}}
	s.ReplicaSets = []*appsv1.ReplicaSet{rs}
	s.Rollout.Status = record.Of(s, plan, rollout.Outcome{}).Status
	rs.Status.AvailableReplicas = 1
	assert.True(t, record.Of(s, plan, rollout.Outcome{}).MayWait)
	s.Now = now.Add(55 * time.Second)
	assert.False(t, record.Of(s, plan, rollout.Outcome{}).MayWait)
}

// A pause that follows a step is entered with the step's completion, and both
// are told.
func TestAStepCompletesIntoAPause(t *testing.T) {
	s, one := snapshot(), int32(1)
	s.Rollout.Status.Conditions = []v1alpha1.RolloutCondition{{Type: v1alpha1.ConditionCompleted, Status: corev1.ConditionFalse, Reason: v1alpha1.ReasonRolloutCompleted}}
	plan := rollout.Plan{Hash: "new", Transition: rollout.Transition{Kind: rollout.TransitionStep, Index: &one, Step: "setWeight: 20",
		Pause: v1alpha1.PauseReasonCanaryPauseStep}}
	rec := record.Of(s, plan, rollout.Outcome{})
	assert.Equal(t, int32(1), *rec.Status.CurrentStepIndex)
	require.Len(t, rec.Status.PauseConditions, 1)
	assert.True(t, rec.Status.ControllerPause)
	assert.Equal(t, v1alpha1.RolloutPhasePaused, rec.Status.Phase)
	assert.Equal(t, []string{v1alpha1.EventRolloutStepCompleted, v1alpha1.EventRolloutPaused}, reasons(rec.Edges))
}
