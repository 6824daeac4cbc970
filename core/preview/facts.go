package preview

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// The facts behind gates: pods, runs, weights, and what is left to be done.

// sets of the Rollout that want pods.
func (e *explainer) sets() []*appsv1.ReplicaSet {
	var out []*appsv1.ReplicaSet
	for _, rs := range owned(e.ro, e.o.ReplicaSets) {
		if rollout.SpecReplicas(rs) > 0 {
			out = append(out, rs)
		}
	}
	return out
}

// pods: some are missing, whether or not anything waits for them yet.
func (e *explainer) pods() {
	for _, rs := range e.sets() {
		want, have := rollout.SpecReplicas(rs), rollout.Available(rs)
		if have >= want || rs.Annotations[v1alpha1.AnnotationScaleDownDeadline] != "" {
			continue
		}
		e.add(Gate{Name: GatePods, Reason: string(rollout.HoldWaitingForPods), Inputs: troublesOf(rs, e.o.Pods), Since: e.podsSince(), EndedBy: "its pods becoming available",
			What: fmt.Sprintf("%d of %d pods of ReplicaSet %s are available", have, want, rs.Name)})
	}
	at := e.ro.Spec.RestartAt
	if at == nil || at.Equal(e.ro.Status.RestartedAt) {
		return
	}
	g := Gate{Name: GatePods, Reason: "Restarting", What: "the pods are being restarted (spec.restartAt " + at.UTC().Format(time.RFC3339) + ")", EndedBy: "every pod being newer than that"}
	if at.After(e.now) {
		g.What, g.Until, g.EndedBy = "the pods are restarted at "+at.UTC().Format(time.RFC3339)+" (spec.restartAt)", at.Time, "the clock"
	}
	g.Inputs = e.budgets()
	e.add(g)
}

// budgets that forbid evictions, if evictions are wanted.
func (e *explainer) budgets() []string {
	var out []string
	for _, b := range e.around.Budgets {
		if e.ro.Spec.RestartAt != nil {
			out = append(out, "PodDisruptionBudget "+b+" allows no disruption now")
		}
	}
	return out
}

func (e *explainer) podTroubles() []string {
	var out []string
	for _, rs := range e.sets() {
		if rollout.Available(rs) < rollout.SpecReplicas(rs) {
			out = append(out, troublesOf(rs, e.o.Pods)...)
		}
	}
	return out
}

// most troubles of one ReplicaSet that are listed: pods of one template have the
// same ones.
const most = 5

// troublesOf says what keeps pods from being created, scheduled, started or
// ready.
func troublesOf(rs *appsv1.ReplicaSet, pods []*corev1.Pod) []string {
	var out []string
	for _, c := range rs.Status.Conditions {
		if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue {
			out = append(out, fmt.Sprintf("ReplicaSet %s: %s: %s", rs.Name, c.Reason, c.Message))
		}
	}
	for _, p := range pods {
		if !metav1.IsControlledBy(p, rs) {
			continue
		}
		if t := troubleOf(p); t != "" && len(out) < most {
			out = append(out, "pod "+p.Name+": "+t)
		}
	}
	return out
}

func troubleOf(p *corev1.Pod) string {
	if p.DeletionTimestamp != nil {
		return "is being deleted"
	}
	for _, s := range append(slices.Clone(p.Status.InitContainerStatuses), p.Status.ContainerStatuses...) {
		if w := s.State.Waiting; w != nil && w.Reason != "" {
			return fmt.Sprintf("container %s: %s: %s", s.Name, w.Reason, w.Message)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Status != corev1.ConditionTrue && (c.Type == corev1.PodScheduled || c.Type == corev1.PodReady) && (c.Reason != "" || c.Message != "") {
			return fmt.Sprintf("%s: %s %s", c.Type, c.Reason, c.Message)
		}
	}
	if !available(p, 0) {
		return cmp.Or(string(p.Status.Phase), "Pending")
	}
	return ""
}

// runInputs are the AnalysisRuns and Experiments that are not over.
func (e *explainer) runInputs() []string {
	return e.runs(func(p v1alpha1.AnalysisPhase) bool { return !p.Completed() })
}

// failedRuns are those of the current revision that ended otherwise than well.
func (e *explainer) failedRuns() []string {
	return e.runs(func(p v1alpha1.AnalysisPhase) bool { return p.Completed() && p != v1alpha1.AnalysisPhaseSuccessful })
}

func (e *explainer) runs(which func(v1alpha1.AnalysisPhase) bool) []string {
	var out []string
	for _, run := range owned(e.ro, e.o.AnalysisRuns) {
		if run.Labels[v1alpha1.LabelPodTemplateHash] == e.ro.Status.CurrentPodHash && which(run.Status.Phase) {
			out = append(out, runFacts(run)...)
		}
	}
	for _, ex := range owned(e.ro, e.o.Experiments) {
		if !which(ex.Status.Phase) {
			continue
		}
		out = append(out, fmt.Sprintf("Experiment %s is %s: %s", ex.Name, cmp.Or(string(ex.Status.Phase), "not begun"), ex.Status.Message))
		for _, run := range e.o.AnalysisRuns {
			if metav1.IsControlledBy(run, ex) {
				out = append(out, runFacts(run)...)
			}
		}
		for _, t := range ex.Status.TemplateStatuses {
			if t.AvailableReplicas < t.Replicas || t.Replicas == 0 {
				out = append(out, fmt.Sprintf("its template %s is %s: %d of %d pods are available %s", t.Name, t.Status, t.AvailableReplicas, t.Replicas, t.Message))
			}
		}
	}
	return out
}

// runFacts are a run and the metrics in it that have something to say.
func runFacts(run *v1alpha1.AnalysisRun) []string {
	out := []string{fmt.Sprintf("AnalysisRun %s is %s %s", run.Name, cmp.Or(string(run.Status.Phase), "not begun"), run.Status.Message)}
	for _, m := range run.Status.MetricResults {
		text := fmt.Sprintf("metric %s: %s, %d measured", m.Name, m.Phase, m.Count)
		if n := len(m.Measurements); n > 0 {
			last := m.Measurements[n-1]
			text += fmt.Sprintf(", last %s %s", last.Phase, cmp.Or(last.Message, last.Value))
			for key, value := range last.Metadata {
				text += fmt.Sprintf(" (%s %s)", key, value)
			}
		}
		if m.Message != "" {
			text += ": " + m.Message
		}
		out = append(out, text)
	}
	return out
}

// step: runs that go on in the background of nothing else.
func (e *explainer) step() {
	for _, s := range e.ro.Status.Canary.StepPluginStatuses {
		if s.Phase == v1alpha1.StepPluginPhaseRunning || s.Phase == v1alpha1.StepPluginPhaseError {
			for i, g := range e.found[GateStep] {
				if g.Reason == string(rollout.HoldWaitingForStep) {
					e.found[GateStep][i].Inputs = append(g.Inputs, fmt.Sprintf("plugin %s, %s of step %d: %s %s; asked %d times", s.Name, s.Operation, s.Index+1, s.Phase, s.Message, s.Executions))
				}
			}
		}
	}
}

// cleanUp: old pods that stay for a while.
func (e *explainer) cleanUp() {
	for _, rs := range e.sets() {
		at, err := time.Parse(time.RFC3339, rs.Annotations[v1alpha1.AnnotationScaleDownDeadline])
		if err == nil {
			e.add(Gate{Name: GateCleanUp, Reason: "ScaleDownDelay", What: fmt.Sprintf("ReplicaSet %s keeps its %d pods until %s", rs.Name, rollout.SpecReplicas(rs), at.UTC().Format(time.RFC3339)),
				Until: at, EndedBy: "the clock (scaleDownDelaySeconds, abortScaleDownDelaySeconds)"})
		}
	}
}
