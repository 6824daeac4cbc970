package experiment

import (
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Recorded is what a pass leaves behind.
type Recorded struct {
	// Status is written once, and only if it differs.
	Status v1alpha1.ExperimentStatus
	// Done tell of operations that were executed, Edges of changes of status;
	// the latter follow its write.
	Done, Edges []Event
	// Wake is when to look again without an event; zero means never.
	Wake time.Time
}

// Record computes status, conditions and events from what was seen, wanted and
// done. It is pure.
func Record(s *Snapshot, plan Plan, out rollout.Outcome) Recorded {
	r := Recorded{Status: *plan.Status.DeepCopy(), Wake: plan.Wake}
	for _, op := range plan.Ops {
		err := out.Failed[op.ID()]
		switch o := op.(type) {
		case CreateReplicaSet:
			failedTemplate(&r.Status, o.Template, "ReplicaSet", err, s.Now)
		case CreateService:
			failedTemplate(&r.Status, o.Template, "Service", err, s.Now)
		case CreateRun:
			failedRun(&r.Status, o, err)
		}
		if out.Done[op.ID()] {
			r.Done = append(r.Done, executed(op)...)
		}
	}
	r.Status.Conditions = conditions(s, plan, r.Status)
	r.Edges = edges(s, r.Status)
	return r
}

// failedTemplate says why an object of a template is not there. What the API
// server calls invalid stays so; anything else is tried again.
func failedTemplate(st *v1alpha1.ExperimentStatus, template, kind string, err error, now time.Time) {
	t := templateStatus(*st, template)
	if err == nil || t == nil || t.Status.Completed() {
		return
	}
	t.Message = shorten("Failed to create " + kind + ": " + err.Error())
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		at := metav1.NewTime(now)
		t.Status, t.LastTransitionTime = v1alpha1.TemplateStatusError, &at
	}
}

// failedRun takes the next name when somebody else has this one.
func failedRun(st *v1alpha1.ExperimentStatus, o CreateRun, err error) {
	entry := entryOf(*st, o.Analysis)
	if err == nil || entry == nil {
		return
	}
	var taken *TakenError
	switch {
	case errors.As(err, &taken):
		entry.AnalysisRun = nextName(entry.AnalysisRun)
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		*entry = mistaken(o.Analysis, err)
	default:
		entry.Message = shorten("Failed to create the AnalysisRun: " + err.Error())
	}
}
