package experiment

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// reasonCompleted of the Progressing condition.
const reasonCompleted = "ExperimentCompleted"

// conditions brings the conditions up to date. One is rewritten only when its
// status or reason changes; Progressing also when there was progress.
func conditions(s *Snapshot, plan Plan, st v1alpha1.ExperimentStatus) []v1alpha1.ExperimentCondition {
	c := &conditionSet{now: metav1.NewTime(s.Now), list: slices.Clone(s.Experiment.Status.Conditions)}
	if plan.Invalid != "" && !st.Phase.Completed() {
		c.set(v1alpha1.ExperimentInvalidSpec, corev1.ConditionTrue, v1alpha1.ReasonInvalidSpec, plan.Invalid)
		return c.list
	}
	c.drop(v1alpha1.ExperimentInvalidSpec)
	c.failure(s.ReplicaSets)
	name := s.Experiment.Name
	switch {
	case timedOut(st):
		c.set(v1alpha1.ExperimentProgressing, corev1.ConditionFalse, v1alpha1.ReasonProgressDeadlineExceeded, fmt.Sprintf("Experiment %q has timed out progressing.", name))
	case st.Phase == v1alpha1.AnalysisPhaseSuccessful:
		c.set(v1alpha1.ExperimentProgressing, corev1.ConditionFalse, reasonCompleted, fmt.Sprintf("Experiment %q has successfully ran and completed.", name))
	case st.Phase.Completed():
		c.set(v1alpha1.ExperimentProgressing, corev1.ConditionFalse, reasonCompleted, fmt.Sprintf("Experiment %q has completed: %s.", name, st.Phase))
	case st.Phase == v1alpha1.AnalysisPhaseRunning && !progressing(st):
		c.set(v1alpha1.ExperimentProgressing, corev1.ConditionTrue, v1alpha1.ReasonNewReplicaSetAvailable, fmt.Sprintf("Experiment %q is running.", name))
	default:
		if available(st) != available(s.Experiment.Status) {
			c.drop(v1alpha1.ExperimentProgressing) // progress refreshes the time
		}
		c.set(v1alpha1.ExperimentProgressing, corev1.ConditionTrue, v1alpha1.ReasonReplicaSetUpdated, fmt.Sprintf("Experiment %q is progressing.", name))
	}
	return c.list
}

func timedOut(st v1alpha1.ExperimentStatus) bool {
	bad := worstTemplate(st)
	return bad != nil && bad.Status == v1alpha1.TemplateStatusFailed
}

func progressing(st v1alpha1.ExperimentStatus) bool {
	for _, t := range st.TemplateStatuses {
		if t.Status == v1alpha1.TemplateStatusProgressing {
			return true
		}
	}
	return false
}

func available(st v1alpha1.ExperimentStatus) (pods int32) {
	for _, t := range st.TemplateStatuses {
		pods += t.AvailableReplicas
	}
	return pods
}

type conditionSet struct {
	now  metav1.Time
	list []v1alpha1.ExperimentCondition
}

func (c *conditionSet) find(t v1alpha1.ExperimentConditionType) int {
	return slices.IndexFunc(c.list, func(have v1alpha1.ExperimentCondition) bool { return have.Type == t })
}

func (c *conditionSet) set(t v1alpha1.ExperimentConditionType, status corev1.ConditionStatus, reason, message string) {
	next := v1alpha1.ExperimentCondition{
		Type: t, Status: status, Reason: reason, Message: message, LastUpdateTime: c.now, LastTransitionTime: c.now,
	}
	at := c.find(t)
	if at < 0 {
		c.list = append(c.list, next)
		return
	}
	have := c.list[at]
	if have.Status == status && have.Reason == reason && (t != v1alpha1.ExperimentInvalidSpec || have.Message == message) {
		return
	}
	if have.Status == status {
		next.LastTransitionTime = have.LastTransitionTime
	}
	c.list[at] = next
}

func (c *conditionSet) drop(t v1alpha1.ExperimentConditionType) {
	if at := c.find(t); at >= 0 {
		c.list = slices.Delete(c.list, at, at+1)
	}
}

// failure repeats why a ReplicaSet cannot make pods.
func (c *conditionSet) failure(sets []*appsv1.ReplicaSet) {
	for _, rs := range sets {
		for _, have := range rs.Status.Conditions {
			if have.Type == appsv1.ReplicaSetReplicaFailure && have.Status == corev1.ConditionTrue {
				c.set(v1alpha1.ExperimentReplicaFailure, have.Status, have.Reason, shorten(have.Message))
				return
			}
		}
	}
	c.drop(v1alpha1.ExperimentReplicaFailure)
}
