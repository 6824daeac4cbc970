package crashing

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// State is where a story has come to: one line a fact, revisions by version
// instead of hash, without times, so that two runs can be compared.
func State(w stage.World) string {
	out := []string{
		"spec " + text(w.Rollout.Spec),
		"revision " + w.Rollout.Annotations[v1alpha1.AnnotationRevision],
	}
	out = append(out, conditions(w.Status())...)
	out = append(out, "status "+text(timeless(w.Status())))
	alias := []string{w.Rollout.Namespace, "NAMESPACE"}
	for _, name := range slices.Sorted(maps.Keys(w.Sets)) {
		rs := w.Sets[name]
		if rs.Labels[v1alpha1.LabelPodTemplateHash] == "" {
			continue // of a Deployment
		}
		image := rs.Spec.Template.Spec.Containers[0].Image
		version := image[strings.LastIndex(image, ":")+1:]
		alias = append(alias, rs.Labels[v1alpha1.LabelPodTemplateHash], version)
		if ex := finished(w, rs); ex != "" && leaves(rs) {
			out = append(out, fmt.Sprintf("ReplicaSet %s of %s is wound down, or has a deadline", version, ex))
			continue
		}
		out = append(out, fmt.Sprintf("ReplicaSet %s wants %d, has %d, available %d, revision %s, deadline %v", version, *rs.Spec.Replicas,
			rs.Status.Replicas, rs.Status.AvailableReplicas, rs.Annotations[v1alpha1.AnnotationRevision],
			rs.Annotations[v1alpha1.AnnotationScaleDownDeadline] != ""))
	}
	for _, name := range slices.Sorted(maps.Keys(w.Services)) {
		svc := w.Services[name]
		if ex := finished(w, svc); ex != "" && delayed(w, ex) {
			continue // it goes with the pods
		}
		out = append(out, fmt.Sprintf("Service %s %s %s", name, text(svc.Spec.Selector), svc.Annotations[v1alpha1.AnnotationManagedBy]))
	}
	out = append(out, fmt.Sprintf("weight %d", w.Weight()), "rules "+text(w.Route.Spec.Rules))
	for name, run := range w.Runs {
		out = append(out, fmt.Sprintf("AnalysisRun %s %s%s", name, run.Status.Phase, measured(run)))
	}
	for name, ex := range w.Experiments {
		out = append(out, fmt.Sprintf("Experiment %s %s %s", name, ex.Status.Phase, ex.Status.Message))
		for _, t := range ex.Status.TemplateStatuses {
			if delayed(w, name) {
				t.Replicas = 0
			}
			out = append(out, fmt.Sprintf("template %s of %s %s, has %d", t.Name, name, t.Status, t.Replicas))
		}
	}
	for i, line := range out {
		out[i] = strings.NewReplacer(alias...).Replace(line)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// An experiment that is over keeps its pods for 30 seconds. A story ends with the
// Rollout, before that or, on a slow machine, after it: both are the same state,
// as long as what is left has a deadline.

// finished is the Experiment that the object belongs to, "" when there is none
// or it still runs.
func finished(w stage.World, o metav1.Object) string {
	ref := metav1.GetControllerOf(o)
	if ref == nil || ref.Kind != "Experiment" {
		return ""
	}
	if ex := w.Experiments[ref.Name]; ex == nil || !ex.Status.Phase.Completed() {
		return ""
	}
	return ref.Name
}

// leaves: the ReplicaSet of a finished Experiment has gone or knows when it will.
func leaves(rs *appsv1.ReplicaSet) bool {
	return *rs.Spec.Replicas == 0 && rs.Status.Replicas == 0 || rs.Annotations[v1alpha1.AnnotationScaleDownDeadline] != ""
}

// delayed: the finished Experiment still waits for the deadline of a ReplicaSet.
func delayed(w stage.World, experiment string) bool {
	for _, rs := range w.Sets {
		if finished(w, rs) == experiment && rs.Annotations[v1alpha1.AnnotationScaleDownDeadline] != "" {
			return true
		}
	}
	return false
}

// measured counts the measurements of a run that has a number of them.
func measured(run *v1alpha1.AnalysisRun) string {
	var out strings.Builder
	for _, r := range run.Status.MetricResults {
		fmt.Fprintf(&out, ", %s counted %d, kept %d", r.Name, r.Count, len(r.Measurements))
	}
	return out.String()
}

func conditions(st v1alpha1.RolloutStatus) []string {
	var out []string
	for _, c := range st.Conditions {
		if c.Type == v1alpha1.ConditionPaused && c.Status == corev1.ConditionFalse {
			continue // whether it was ever paused depends on when it was looked at
		}
		out = append(out, fmt.Sprintf("condition %s %s %s %q", c.Type, c.Status, c.Reason, c.Message))
	}
	return out
}

func timeless(st v1alpha1.RolloutStatus) v1alpha1.RolloutStatus {
	st = *st.DeepCopy()
	st.Conditions, st.ObservedGeneration = nil, ""
	some := func(at *metav1.Time) *metav1.Time {
		if at == nil {
			return nil
		}
		return &metav1.Time{}
	}
	for i := range st.Canary.StepPluginStatuses {
		e := &st.Canary.StepPluginStatuses[i] // a call that was lost is made again
		e.StartedAt, e.UpdatedAt, e.FinishedAt, e.Executions = nil, nil, nil, 0
	}
	st.AbortedAt, st.RestartedAt = some(st.AbortedAt), some(st.RestartedAt)
	st.Duration = nil
	if st.WorkloadObservedGeneration != "" {
		st.WorkloadObservedGeneration = "that of the workload" // it counts the writes of its replicas, too
	}
	for i := range st.PauseConditions {
		st.PauseConditions[i].StartTime = metav1.Time{}
	}
	for i := range st.Canary.Routers {
		r := &st.Canary.Routers[i]
		r.Since, r.SettledSince = some(r.Since), some(r.SettledSince)
	}
	return st
}

func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
