package record_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/record"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// TestPhaseByStrategy is the end of TestPhase's order, which differs by strategy
// (§1.8, 8 and 9).
func TestPhaseByStrategy(t *testing.T) {
	three := int32(3)
	there := v1alpha1.RolloutStatus{CurrentPodHash: "b", StableRS: "b", Replicas: 3, UpdatedReplicas: 3, AvailableReplicas: 3}
	basic := v1alpha1.RolloutStrategy{Canary: &v1alpha1.CanaryStrategy{}}
	routed := v1alpha1.RolloutStrategy{Canary: &v1alpha1.CanaryStrategy{TrafficRouting: &v1alpha1.RolloutTrafficRouting{}}}
	blueGreen := v1alpha1.RolloutStrategy{BlueGreen: &v1alpha1.BlueGreenStrategy{}}
	analysed := v1alpha1.RolloutStrategy{BlueGreen: &v1alpha1.BlueGreenStrategy{PostPromotionAnalysis: &v1alpha1.RolloutAnalysis{}}}
	run := func(phase v1alpha1.AnalysisPhase) *v1alpha1.RolloutAnalysisRunStatus {
		return &v1alpha1.RolloutAnalysisRunStatus{Status: phase}
	}
	at := metav1.Now()
	for _, tt := range []struct {
		strategy v1alpha1.RolloutStrategy
		edit     func(*v1alpha1.Rollout, *v1alpha1.RolloutStatus)
		phase    v1alpha1.RolloutPhase
		message  string
	}{
		{basic, func(_ *v1alpha1.Rollout, st *v1alpha1.RolloutStatus) { st.Replicas = 4 }, v1alpha1.RolloutPhaseProgressing, "old replicas are pending termination"},
		{routed, func(_ *v1alpha1.Rollout, st *v1alpha1.RolloutStatus) { st.Replicas = 4 }, v1alpha1.RolloutPhaseHealthy, ""},
		{basic, func(_ *v1alpha1.Rollout, st *v1alpha1.RolloutStatus) { st.StableRS = "a" }, v1alpha1.RolloutPhaseProgressing, "waiting for all steps to complete"},
		{routed, func(_ *v1alpha1.Rollout, st *v1alpha1.RolloutStatus) { st.StableRS = "" }, v1alpha1.RolloutPhaseProgressing, "waiting for all steps to complete"},
		{basic, func(ro *v1alpha1.Rollout, _ *v1alpha1.RolloutStatus) { ro.Spec.RestartAt = &at }, v1alpha1.RolloutPhaseProgressing, "rollout is restarting"},
		{basic, func(ro *v1alpha1.Rollout, st *v1alpha1.RolloutStatus) { ro.Spec.RestartAt, st.RestartedAt = &at, &at }, v1alpha1.RolloutPhaseHealthy, ""},
		{blueGreen, func(*v1alpha1.Rollout, *v1alpha1.RolloutStatus) {}, v1alpha1.RolloutPhaseProgressing, "active service cutover pending"},
		{blueGreen, func(_ *v1alpha1.Rollout, st *v1alpha1.RolloutStatus) { st.BlueGreen.ActiveSelector = "a" }, v1alpha1.RolloutPhaseProgressing, "active service cutover pending"},
		{blueGreen, func(_ *v1alpha1.Rollout, st *v1alpha1.RolloutStatus) {
			st.BlueGreen.ActiveSelector, st.StableRS = "b", "a"
		}, v1alpha1.RolloutPhaseProgressing, "waiting for post-promotion verification to complete"},
		{analysed, func(_ *v1alpha1.Rollout, st *v1alpha1.RolloutStatus) {
			st.BlueGreen.ActiveSelector, st.StableRS = "b", "a"
		}, v1alpha1.RolloutPhaseProgressing, "waiting for analysis to complete"},
		{analysed, func(_ *v1alpha1.Rollout, st *v1alpha1.RolloutStatus) {
			st.BlueGreen.ActiveSelector, st.StableRS, st.BlueGreen.PostPromotionAnalysisRunStatus = "b", "a", run(v1alpha1.AnalysisPhaseRunning)
		}, v1alpha1.RolloutPhaseProgressing, "waiting for analysis to complete"},
		{analysed, func(_ *v1alpha1.Rollout, st *v1alpha1.RolloutStatus) {
			st.BlueGreen.ActiveSelector, st.StableRS, st.BlueGreen.PostPromotionAnalysisRunStatus = "b", "a", run(v1alpha1.AnalysisPhaseSuccessful)
		}, v1alpha1.RolloutPhaseProgressing, "waiting for post-promotion verification to complete"},
		{analysed, func(_ *v1alpha1.Rollout, st *v1alpha1.RolloutStatus) { st.BlueGreen.ActiveSelector = "b" }, v1alpha1.RolloutPhaseHealthy, ""},
		{blueGreen, func(_ *v1alpha1.Rollout, st *v1alpha1.RolloutStatus) {
			st.BlueGreen.ActiveSelector, st.Replicas = "b", 6
		}, v1alpha1.RolloutPhaseHealthy, ""},
	} {
		ro, st := &v1alpha1.Rollout{Spec: v1alpha1.RolloutSpec{Replicas: &three, Strategy: tt.strategy}}, *there.DeepCopy()
		tt.edit(ro, &st)
		phase, message := record.Phase(ro, st)
		assert.Equal(t, string(tt.phase)+" "+tt.message, string(phase)+" "+message)
	}
	ro := &v1alpha1.Rollout{Spec: v1alpha1.RolloutSpec{Replicas: &three, Strategy: basic}}
	for _, reason := range []v1alpha1.PauseReason{v1alpha1.PauseReasonCanaryPauseStep, v1alpha1.PauseReasonBlueGreenPause,
		v1alpha1.PauseReasonInconclusiveAnalysis, v1alpha1.PauseReasonInconclusiveExperiment} {
		st := there
		st.PauseConditions = []v1alpha1.PauseCondition{{Reason: reason}, {Reason: "another"}}
		phase, message := record.Phase(ro, st)
		assert.Equal(t, v1alpha1.RolloutPhasePaused, phase)
		assert.Equal(t, string(reason), message)
	}
}

// TestEventTexts: what an executed operation, or one that failed, says (§1.10).
func TestEventTexts(t *testing.T) {
	scaled := func(from, to int32) rollout.UpdateReplicaSet {
		return rollout.UpdateReplicaSet{Name: "app-abc", Revision: "2", From: from, To: to}
	}
	weights := v1alpha1.TrafficWeights{Canary: v1alpha1.WeightDestination{Weight: 25}}
	for _, tt := range []struct {
		op   rollout.Op
		want []record.Event
	}{
		{rollout.PatchRollout{Revision: "2"}, said("RolloutUpdated", "Rollout updated to revision 2")},
		{rollout.PatchRollout{Replicas: new(int32)}, nil},
		{rollout.CreateReplicaSet{ReplicaSet: &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "app-abc"}}},
			said("NewReplicaSetCreated", "Created ReplicaSet app-abc (revision 2)")},
		{scaled(1, 3), said("ScalingReplicaSet", "Scaled up ReplicaSet app-abc (revision 2) from 1 to 3")},
		{scaled(3, 0), said("ScalingReplicaSet", "Scaled down ReplicaSet app-abc (revision 2) from 3 to 0")},
		{scaled(3, 3), nil},
		{rollout.PointService{Name: "stable", From: "old", To: "new"}, said("SwitchService", "Switched selector for service 'stable' from 'old' to 'new'")},
		{rollout.PointService{Name: "stable", To: "new"}, said("SwitchService", "Switched selector for service 'stable' from '' to 'new'")},
		{rollout.RouteTraffic{Weights: weights}, said("TrafficWeightUpdated", "Traffic weight updated from 10 to 25")},
		{rollout.RouteTraffic{Weights: v1alpha1.TrafficWeights{Canary: v1alpha1.WeightDestination{Weight: 10}}}, nil},
		{rollout.CreateExperiment{Experiment: &v1alpha1.Experiment{ObjectMeta: metav1.ObjectMeta{Name: "app-abc-2-1"}}},
			said("ExperimentCreated", `Created Experiment "app-abc-2-1"`)},
		{rollout.EvictPod{Name: "pod"}, nil},
	} {
		s := snapshot()
		s.Rollout.Status.Canary.Weights = &v1alpha1.TrafficWeights{Canary: v1alpha1.WeightDestination{Weight: 10}}
		plan := rollout.Plan{Hash: "new", Revision: 2, Ops: []rollout.Op{tt.op}}
		assert.Equal(t, tt.want, record.Of(s, plan, rollout.Outcome{Done: map[rollout.OpID]bool{"": true}}).Done, "%T", tt.op)
		assert.Empty(t, record.Of(s, plan, rollout.Outcome{}).Done, "%T was not executed", tt.op)
	}
	for _, tt := range []struct {
		op     rollout.Op
		reason string
	}{
		{rollout.CreateReplicaSet{}, "ReplicaSetCreateError"}, {rollout.RouteTraffic{}, "TrafficRoutingError"},
		{rollout.ReleaseTraffic{}, "TrafficRoutingError"}, {rollout.CallStep{}, "ReconciliationError"},
	} {
		out := rollout.Outcome{Failed: map[rollout.OpID]error{"": errors.New("quota")}}
		assert.Equal(t, []record.Event{{Type: corev1.EventTypeWarning, Reason: tt.reason, Message: "quota"}},
			record.Of(snapshot(), rollout.Plan{Hash: "new", Ops: []rollout.Op{tt.op}}, out).Done)
	}
}

func said(reason, text string) []record.Event {
	return []record.Event{{Type: corev1.EventTypeNormal, Reason: reason, Message: text}}
}

// TestEdgeTexts: what a change of position says, and the message in Progressing
// (§1.9, §1.10).
func TestEdgeTexts(t *testing.T) {
	one, zero, two := int32(1), int32(0), int32(2)
	for _, tt := range []struct {
		transition rollout.Transition
		events     []record.Event
		message    string
	}{
		{rollout.Transition{Kind: rollout.TransitionStep, Index: &one, Step: "setCanaryScale{weight: 25}"},
			said("RolloutStepCompleted", "Rollout step 1/2 completed (setCanaryScale{weight: 25})"), `ReplicaSet "x-new" is progressing.`},
		{rollout.Transition{Kind: rollout.TransitionPromote, Index: &two, Message: "Completed all 2 canary steps"},
			said("RolloutCompleted", "Rollout completed update to revision 2 (new): Completed all 2 canary steps"), `ReplicaSet "x-new" is progressing.`},
		{rollout.Transition{Kind: rollout.TransitionReset, Index: &two, Message: "Rollback to stable ReplicaSets"},
			said("SkipSteps", "Rollback to stable ReplicaSets"), `Found new replica set "x-new"`},
		{rollout.Transition{Kind: rollout.TransitionPause, Index: &zero, Pause: v1alpha1.PauseReasonCanaryPauseStep},
			said("RolloutPaused", "Rollout is paused (CanaryPauseStep)"), "Rollout is paused"},
		{rollout.Transition{Kind: rollout.TransitionAborted, Index: &zero},
			[]record.Event{{Type: corev1.EventTypeWarning, Reason: "RolloutAborted", Message: "Rollout aborted update to revision 2"}}, "Rollout aborted update to revision 2"},
		{rollout.Transition{Kind: rollout.TransitionAbort, Index: &zero, Message: "why"},
			[]record.Event{{Type: corev1.EventTypeWarning, Reason: "RolloutAborted", Message: "Rollout aborted update to revision 2: why"}}, "Rollout aborted update to revision 2: why"},
		{rollout.Transition{Kind: rollout.TransitionRetry, Index: &zero}, nil, "Retrying Rollout after abort"},
	} {
		s := snapshot()
		s.Rollout.Status.Conditions = []v1alpha1.RolloutCondition{{Type: v1alpha1.ConditionCompleted, Status: corev1.ConditionFalse, Reason: v1alpha1.ReasonRolloutCompleted}}
		rec := record.Of(s, rollout.Plan{Hash: "new", Revision: 2, Transition: tt.transition}, rollout.Outcome{})
		assert.Equal(t, tt.events, rec.Edges, tt.transition.Kind)
		assert.Equal(t, tt.message, condition(rec.Status, v1alpha1.ConditionProgressing).Message, tt.transition.Kind)
	}
}
