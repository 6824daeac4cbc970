package preview

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Since when something is waited for; zero where no object says it.

// earliest keeps the older of two times; zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// podsSince: the oldest pod that is not available was created, or the creation of
// pods began to fail.
func (e *explainer) podsSince() time.Time {
	var at time.Time
	for _, rs := range e.sets() {
		for _, c := range rs.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue {
				at = earliest(at, c.LastTransitionTime.Time)
			}
		}
		for _, p := range e.o.Pods {
			if metav1.IsControlledBy(p, rs) && troubleOf(p) != "" {
				at = earliest(at, p.CreationTimestamp.Time)
			}
		}
	}
	return at
}

// stepSince: the pause began, or what the step waits for was created.
func (e *explainer) stepSince() time.Time {
	if p := e.ro.Status.PauseConditions; len(p) > 0 {
		return p[0].StartTime.Time
	}
	var at time.Time
	for _, run := range owned(e.ro, e.o.AnalysisRuns) {
		if run.Labels[v1alpha1.LabelPodTemplateHash] == e.ro.Status.CurrentPodHash && !run.Status.Phase.Completed() {
			at = earliest(at, run.CreationTimestamp.Time)
		}
	}
	for _, ex := range owned(e.ro, e.o.Experiments) {
		if !ex.Status.Phase.Completed() {
			at = earliest(at, ex.CreationTimestamp.Time)
		}
	}
	for _, s := range e.ro.Status.Canary.StepPluginStatuses {
		if s.StartedAt != nil && (s.Phase == v1alpha1.StepPluginPhaseRunning || s.Phase == v1alpha1.StepPluginPhaseError) {
			at = earliest(at, s.StartedAt.Time)
		}
	}
	return at
}
