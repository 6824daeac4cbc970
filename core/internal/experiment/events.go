package experiment

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Event is something to tell about an experiment.
type Event struct {
	// OnParent events are about the Rollout that controls the experiment.
	OnParent bool
	// Type is Normal or Warning.
	Type, Reason, Message string
}

// executed tells of an operation that was carried out.
func executed(op rollout.Op) []Event {
	normal := func(reason, format string, args ...any) []Event {
		return []Event{{Type: corev1.EventTypeNormal, Reason: reason, Message: fmt.Sprintf(format, args...)}}
	}
	switch o := op.(type) {
	case CreateReplicaSet:
		return normal(v1alpha1.EventNewReplicaSetCreated, "Created ReplicaSet for template '%s' (%s)", o.Template, rollout.Hash(o.ReplicaSet))
	case rollout.UpdateReplicaSet:
		if o.Scales() {
			verb := "up"
			if o.To < o.From {
				verb = "down"
			}
			return normal(v1alpha1.EventScalingReplicaSet, "Scaled %s ReplicaSet %s from %d to %d", verb, o.Name, o.From, o.To)
		}
	case rollout.TerminateAnalysisRun:
		return normal(v1alpha1.EventAnalysisRunTerminating, "Terminating AnalysisRun %s", o.Name)
	}
	return nil
}

// edges tells of what the status says now and did not say before. What becomes
// of an analysis is told on the Rollout as well, as a Warning.
func edges(s *Snapshot, now v1alpha1.ExperimentStatus) []Event {
	before := s.Experiment.Status
	var out []Event
	for _, t := range now.TemplateStatuses {
		var old v1alpha1.TemplateStatusCode
		if b := templateStatus(before, t.Name); b != nil {
			old = b.Status
		}
		if t.Status != old {
			bad := t.Status == v1alpha1.TemplateStatusFailed || t.Status == v1alpha1.TemplateStatusError
			out = append(out, edge(v1alpha1.EventPrefixTemplate+string(t.Status), bad, "Template '"+t.Name+"'", string(old), string(t.Status), t.Message))
		}
	}
	for _, a := range now.AnalysisRuns {
		var old v1alpha1.AnalysisPhase
		if b := entryOf(before, a.Name); b != nil {
			old = b.Phase
		}
		if a.Phase == old {
			continue
		}
		e := edge(v1alpha1.EventPrefixAnalysisRun+string(a.Phase), bad(a.Phase), "Analysis '"+a.Name+"'", string(old), string(a.Phase), a.Message)
		out = append(out, e)
		if s.Parent != nil {
			e.OnParent, e.Type = true, corev1.EventTypeWarning
			out = append(out, e)
		}
	}
	if now.Phase != before.Phase {
		out = append(out, edge(v1alpha1.EventPrefixExperiment+string(now.Phase), bad(now.Phase), "Experiment", string(before.Phase), string(now.Phase), now.Message))
	}
	return out
}

func bad(phase v1alpha1.AnalysisPhase) bool {
	return phase == v1alpha1.AnalysisPhaseFailed || phase == v1alpha1.AnalysisPhaseError
}

func edge(reason string, bad bool, what, from, to, message string) Event {
	e := Event{Type: corev1.EventTypeNormal, Reason: reason, Message: fmt.Sprintf("%s transitioned from %s -> %s", what, from, to)}
	if from == "" {
		e.Message = fmt.Sprintf("%s is %s", what, to)
	}
	if bad {
		e.Type = corev1.EventTypeWarning
	}
	if message != "" {
		e.Message += ": " + message
	}
	return e
}
