package sim

import (
	"fmt"
	"sort"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/record"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// journal is the run as a person would tell it: one line a change, revisions by
// their version instead of their hash.
type journal struct {
	lines []string
	// alias of every pod template hash.
	alias  map[string]string
	status string
}

func newJournal() journal { return journal{alias: map[string]string{}} }

// Story is the journal, one line a change.
func (w *World) Story() string { return strings.Join(w.journal.lines, "\n") + "\n" }

func (j *journal) add(w *World, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if w.writer == byController {
		w.did(text)
	}
	for hash, name := range j.alias {
		text = strings.ReplaceAll(text, hash, name)
	}
	j.lines = append(j.lines, fmt.Sprintf("t=%-7s %s", w.clock(), text))
}

func (w *World) note(text string) { w.journal.add(w, "-- %s", text) }

func (j *journal) event(w *World, e record.Event) {
	w.writer = byCluster // events are told, not done
	j.add(w, "event   %s: %s", e.Reason, e.Message)
}

// write adds the lines of a change.
func (w *World) write(c change) {
	j := &w.journal
	switch c.key.kind {
	case kindRollout:
		if ro, ok := c.after.(*v1alpha1.Rollout); ok {
			j.rollout(w, ro)
		}
	case kindReplicaSet:
		j.replicaSet(w, c)
	case kindDeployment:
		j.deployment(w, c)
	case kindService:
		j.service(w, c)
	case kindAnalysisRun:
		j.analysisRun(w, c)
	case kindExperiment:
		j.experiment(w, c)
	case kindRoute:
		j.route(w, c)
	}
}

func (j *journal) rollout(w *World, ro *v1alpha1.Rollout) {
	if text := statusLine(ro); text != j.status {
		j.status = text
		j.add(w, "status  %s", text)
	}
}

func statusLine(ro *v1alpha1.Rollout) string {
	st := ro.Status
	if st.Phase == "" {
		return ""
	}
	parts := []string{string(st.Phase)}
	if st.Message != "" {
		parts[0] += fmt.Sprintf(" %q", st.Message)
	}
	if c := ro.Spec.Strategy.Canary; c != nil && st.CurrentStepIndex != nil {
		parts = append(parts, fmt.Sprintf("step %d/%d", *st.CurrentStepIndex, len(c.Steps)))
	}
	if ro.Spec.Strategy.BlueGreen != nil && st.BlueGreen.ActiveSelector != "" {
		parts = append(parts, "active "+st.BlueGreen.ActiveSelector)
	}
	if w := st.Canary.Weights; w != nil {
		verified := ""
		if w.Verified != nil {
			verified = map[bool]string{true: " verified", false: " not verified"}[*w.Verified]
		}
		parts = append(parts, fmt.Sprintf("weights %d/%d%s", w.Canary.Weight, w.Stable.Weight, verified))
	}
	if st.StableRS != "" {
		parts = append(parts, "stable "+st.StableRS)
	}
	for _, c := range st.Conditions {
		if c.Type == v1alpha1.ConditionBlocked {
			parts = append(parts, fmt.Sprintf("Blocked %s (%s)", c.Reason, c.Message))
		}
	}
	return strings.Join(parts, ", ")
}

func (j *journal) replicaSet(w *World, c change) {
	rs, ok := c.after.(*appsv1.ReplicaSet)
	if !ok {
		j.add(w, "pods    ReplicaSet %s is deleted", c.before.GetName())
		return
	}
	if hash := rollout.Hash(rs); hash != "" {
		j.alias[hash] = image(rs.Spec.Template)
	}
	old, _ := c.before.(*appsv1.ReplicaSet)
	switch {
	case old == nil:
		j.add(w, "pods    ReplicaSet %s is created", rs.Name)
		if a := rs.Spec.Template.Spec.Affinity; a != nil && a.PodAntiAffinity != nil {
			j.add(w, "pods    %s: its pods keep away from another revision", rs.Name)
		}
		return
	case rollout.SpecReplicas(old) != rollout.SpecReplicas(rs):
		j.add(w, "pods    %s: %d wanted (was %d)", rs.Name, rollout.SpecReplicas(rs), rollout.SpecReplicas(old))
	case old.Status.AvailableReplicas != rs.Status.AvailableReplicas:
		j.add(w, "pods    %s: %d available (was %d)", rs.Name, rs.Status.AvailableReplicas, old.Status.AvailableReplicas)
	}
	if before, after := old.Spec.Template.Spec.Affinity != nil, rs.Spec.Template.Spec.Affinity != nil; before != after {
		j.add(w, "pods    %s: new pods %s", rs.Name, map[bool]string{true: "keep away from another revision", false: "go to any node"}[after])
	}
	if old.Annotations[v1alpha1.AnnotationEphemeralMetadata] != rs.Annotations[v1alpha1.AnnotationEphemeralMetadata] {
		j.add(w, "pods    %s: new pods get %s", rs.Name, metadataText(rs))
	}
	if old.Annotations[rollout.AnnotationPodsMetadata] != "" && rs.Annotations[rollout.AnnotationPodsMetadata] == "" {
		j.add(w, "pods    %s: its pods have %s", rs.Name, metadataText(rs))
	}
	before, after := old.Annotations[v1alpha1.AnnotationScaleDownDeadline], rs.Annotations[v1alpha1.AnnotationScaleDownDeadline]
	switch {
	case before == after:
	case after == "":
		j.add(w, "pods    %s: no longer to be scaled down", rs.Name)
	default:
		j.add(w, "pods    %s: to be scaled down later", rs.Name)
	}
}

func (j *journal) service(w *World, c change) {
	svc, ok := c.after.(*corev1.Service)
	if !ok {
		j.add(w, "service %s is deleted", c.before.GetName())
		return
	}
	old, _ := c.before.(*corev1.Service)
	if old == nil {
		return
	}
	from, to := old.Spec.Selector[v1alpha1.LabelPodTemplateHash], svc.Spec.Selector[v1alpha1.LabelPodTemplateHash]
	if from != to {
		if from == "" {
			from = "all versions"
		}
		j.add(w, "service %s: selects %s (was %s)", svc.Name, to, from)
	}
}

func (j *journal) analysisRun(w *World, c change) {
	run, ok := c.after.(*v1alpha1.AnalysisRun)
	if !ok {
		j.add(w, "run     %s is deleted", c.before.GetName())
		return
	}
	old, _ := c.before.(*v1alpha1.AnalysisRun)
	switch {
	case old == nil:
		j.add(w, "run     %s is created", run.Name)
	case run.Spec.Terminate && !old.Spec.Terminate:
		j.add(w, "run     %s is told to end", run.Name)
	case run.Status.Phase != old.Status.Phase:
		j.add(w, "run     %s: %s", run.Name, run.Status.Phase)
	}
}

func (j *journal) route(w *World, c change) {
	r, ok := c.after.(*Route)
	if !ok {
		j.add(w, "route   %s is deleted", c.before.GetName())
		return
	}
	old, _ := c.before.(*Route)
	if old == nil {
		return
	}
	if old.Generation != r.Generation {
		j.add(w, "route   %s: %s (was %s) by %s", r.Name, places(r.Places), places(old.Places), c.by)
	} else if old.Programmed != r.Programmed {
		j.add(w, "route   %s: the gateway serves it", r.Name)
	}
}

func places(all []Place) string {
	var out []string
	for _, p := range all {
		var backends []string
		for _, b := range p.Backends {
			backends = append(backends, fmt.Sprintf("%s %d", shown(p, b.Service), b.Weight))
		}
		sort.Strings(backends)
		text := strings.Join(backends, " / ")
		for _, m := range p.Managed {
			kind := "header"
			if m.Mirror != nil {
				kind = fmt.Sprintf("mirror %d%%", m.Mirror.Percentage)
			}
			text += fmt.Sprintf(" + %s %s to %s", kind, m.Name, m.Service)
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}
