package record_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/record"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// serving is a promoted Rollout with one pod, seen before, that is healthy.
func serving() *rollout.Snapshot {
	s := snapshot()
	two := int32(2)
	s.Rollout.Status.StableRS, s.Rollout.Status.CurrentStepIndex, s.Rollout.Status.ObservedGeneration = "new", &two, "7"
	s.ReplicaSets = []*appsv1.ReplicaSet{{
		ObjectMeta: metav1.ObjectMeta{Name: "x-new", Labels: map[string]string{v1alpha1.LabelPodTemplateHash: "new"}},
		Status:     appsv1.ReplicaSetStatus{Replicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}}}
	return s
}

type conditionRow struct {
	what string
	edit func(*rollout.Snapshot)
	of   v1alpha1.RolloutConditionType
	want string // "" is none
}

func is(of v1alpha1.RolloutConditionType, status corev1.ConditionStatus, reason string) v1alpha1.RolloutCondition {
	return v1alpha1.RolloutCondition{Type: of, Status: status, Reason: reason, LastUpdateTime: metav1.NewTime(now)}
}

func was(s *rollout.Snapshot, c v1alpha1.RolloutCondition) {
	s.Rollout.Status.Conditions = append(s.Rollout.Status.Conditions, c)
}

var conditionRows = []conditionRow{
	{"enough pods", nil, v1alpha1.ConditionAvailable, "True AvailableReason Rollout has minimum availability"},
	{"a pod is missing", func(s *rollout.Snapshot) { s.ReplicaSets[0].Status.AvailableReplicas = 0 }, v1alpha1.ConditionAvailable, "False AvailableReason Rollout does not have minimum availability"},
	{"blue-green, users reach nothing", func(s *rollout.Snapshot) {
		s.Rollout.Spec.Strategy = v1alpha1.RolloutStrategy{BlueGreen: &v1alpha1.BlueGreenStrategy{ActiveService: "a"}}
	}, v1alpha1.ConditionAvailable, "False AvailableReason Rollout does not have minimum availability"},
	{"promoted", nil, v1alpha1.ConditionCompleted, "True RolloutCompleted Rollout completed"},
	{"not promoted", func(s *rollout.Snapshot) { s.Rollout.Status.StableRS = "old" }, v1alpha1.ConditionCompleted, "False RolloutCompleted Rollout not completed"},
	{"healthy", nil, v1alpha1.ConditionHealthy, "True RolloutHealthy Rollout is healthy"},
	{"not yet seen", func(s *rollout.Snapshot) { s.Rollout.Status.ObservedGeneration = "6" }, v1alpha1.ConditionHealthy, ""},
	{"never healthy", func(s *rollout.Snapshot) { s.Rollout.Status.StableRS = "old" }, v1alpha1.ConditionHealthy, ""},
	{"no longer healthy", func(s *rollout.Snapshot) {
		s.ReplicaSets[0].Status.AvailableReplicas = 0
		was(s, is(v1alpha1.ConditionHealthy, corev1.ConditionTrue, v1alpha1.ReasonRolloutHealthy))
	}, v1alpha1.ConditionHealthy, "False RolloutHealthy Rollout is not healthy"},
	{"old pods are still there", func(s *rollout.Snapshot) {
		s.ReplicaSets = append(s.ReplicaSets, &appsv1.ReplicaSet{Status: appsv1.ReplicaSetStatus{Replicas: 1}})
	}, v1alpha1.ConditionHealthy, ""},
	{"never paused", nil, v1alpha1.ConditionPaused, ""},
	{"spec.paused", func(s *rollout.Snapshot) { s.Rollout.Spec.Paused = true }, v1alpha1.ConditionPaused, "True RolloutPaused Rollout is paused"},
	{"no longer paused", func(s *rollout.Snapshot) {
		was(s, is(v1alpha1.ConditionPaused, corev1.ConditionTrue, v1alpha1.ReasonRolloutPaused))
	}, v1alpha1.ConditionPaused, "False RolloutPaused Rollout is paused"},
	{"pods are refused", func(s *rollout.Snapshot) {
		s.ReplicaSets[0].Status.Conditions = []appsv1.ReplicaSetCondition{{Type: "ReplicaFailure", Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: "quota"}}
	}, v1alpha1.ConditionReplicaFailure, "True FailedCreate quota"},
	{"pods are not refused", func(s *rollout.Snapshot) {
		was(s, is(v1alpha1.ConditionReplicaFailure, corev1.ConditionTrue, "FailedCreate"))
	}, v1alpha1.ConditionReplicaFailure, ""},
	{"healthy", nil, v1alpha1.ConditionProgressing, `True NewReplicaSetAvailable ReplicaSet "x-new" has successfully progressed.`},
	{"paused", func(s *rollout.Snapshot) { s.Rollout.Spec.Paused = true }, v1alpha1.ConditionProgressing, "Unknown RolloutPaused Rollout is paused"},
	{"resumed", func(s *rollout.Snapshot) {
		was(s, is(v1alpha1.ConditionProgressing, corev1.ConditionUnknown, v1alpha1.ReasonRolloutPaused))
	}, v1alpha1.ConditionProgressing, "Unknown RolloutResumed Rollout is resumed"},
	{"pods are lost afterwards", func(s *rollout.Snapshot) {
		s.ReplicaSets[0].Status.AvailableReplicas = 0
		was(s, is(v1alpha1.ConditionProgressing, corev1.ConditionTrue, v1alpha1.ReasonNewReplicaSetAvailable))
	}, v1alpha1.ConditionProgressing, `True ReplicaSetNotAvailable ReplicaSet "x-new" is not available`},
	{"nothing has moved for too long", func(s *rollout.Snapshot) {
		s.Rollout.Status.StableRS, s.Rollout.Status.Replicas, s.Rollout.Status.UpdatedReplicas = "old", 1, 1
		s.Rollout.Status.ReadyReplicas, s.Rollout.Status.AvailableReplicas = 1, 1
		late := is(v1alpha1.ConditionProgressing, corev1.ConditionTrue, v1alpha1.ReasonReplicaSetUpdated)
		late.LastUpdateTime = metav1.NewTime(now.Add(-11 * time.Minute))
		was(s, late)
	}, v1alpha1.ConditionProgressing, `False ProgressDeadlineExceeded ReplicaSet "x-new" has timed out progressing.`},
	{"a pod more", func(s *rollout.Snapshot) {
		s.Rollout.Status.StableRS = "old"
		was(s, is(v1alpha1.ConditionProgressing, corev1.ConditionTrue, v1alpha1.ReasonNewReplicaSetCreated))
	}, v1alpha1.ConditionProgressing, `True ReplicaSetUpdated ReplicaSet "x-new" is progressing.`},
}

func warns(router, remark string) rollout.Router {
	return rollout.Router{Path: "spec.strategy.canary.trafficRouting.plugins[" + router + "]", Remark: remark}
}

func wasWarned(s *rollout.Snapshot, of string) {
	c := is(v1alpha1.ConditionPluginWarning, corev1.ConditionTrue, v1alpha1.ReasonPluginWarning)
	c.Message = of
	was(s, c)
}

var warningRows = []conditionRow{
	{"nobody warns", func(s *rollout.Snapshot) {
		s.Routers = []rollout.Router{warns("a", "")}
		wasWarned(s, "x is called y now")
	}, v1alpha1.ConditionPluginWarning, ""},
	{"a router and a step warn", func(s *rollout.Snapshot) {
		s.Routers = []rollout.Router{warns("a", ""), warns("b", "x is called y now")}
		s.StepChecks.Remarks = map[int32]string{1: "slow"}
	}, v1alpha1.ConditionPluginWarning, "True PluginWarning spec.strategy.canary.trafficRouting.plugins[b]: x is called y now; spec.strategy.canary.steps[1].plugin.config: slow"},
	{"what warned is not there", func(s *rollout.Snapshot) {
		down := warns("a", "")
		down.Problem = &rollout.Problem{Class: rollout.ProblemUnavailable}
		s.Routers = []rollout.Router{down, warns("b", "x is called y now")}
		wasWarned(s, "both")
	}, v1alpha1.ConditionPluginWarning, "True PluginWarning both"},
	{"what warned leaves", func(s *rollout.Snapshot) {
		leaves := warns("a", "x is called y now")
		leaves.Releasing = true
		s.Routers = []rollout.Router{leaves}
		wasWarned(s, "x is called y now")
	}, v1alpha1.ConditionPluginWarning, ""},
}

// TestConditions: each condition's status, reason and message by what there is
// (§1.9).
func TestConditions(t *testing.T) {
	for _, tt := range slices.Concat(conditionRows, warningRows) {
		s := serving()
		if tt.edit != nil {
			tt.edit(s)
		}
		c := condition(record.Of(s, rollout.Plan{Hash: "new", Revision: 2}, rollout.Outcome{}).Status, tt.of)
		have := ""
		if c != nil {
			have = string(c.Status) + " " + c.Reason + " " + c.Message
		}
		assert.Equal(t, tt.want, have, "%s: %s", tt.of, tt.what)
	}
}
