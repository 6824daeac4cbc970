package record

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// stepBackoff is the wait between two calls of a step plugin that names none, as
// in Argo Rollouts; leastBackoff is the least it may name.
const (
	stepBackoff  = 30 * time.Second
	leastBackoff = 10 * time.Second
)

// stepPlugins records the intents of the plan and the answers to its calls.
// Another update, or another attempt, begins with an empty list.
func (r *recorder) stepPlugins() {
	list := slices.Clone(r.plan.StepPlugins)
	for _, op := range r.plan.Ops {
		call, ok := op.(rollout.CallStep)
		if !ok {
			continue
		}
		for i := range list {
			if e := &list[i]; e.Index == call.Call.Index && string(e.Operation) == string(call.Call.Verb) {
				list[i] = r.answered(*e, call)
			}
		}
	}
	r.new.Canary.StepPluginStatuses = list
	if !r.applied {
		return
	}
	switch r.plan.Transition.Kind {
	case rollout.TransitionReset, rollout.TransitionRetry:
		if len(list) > 0 {
			// What is asked for from now on is another operation.
			r.new.Canary.StepPluginAttempt++
		}
		r.new.Canary.StepPluginStatuses = nil
	}
}

// answered is the entry after the call. A Run that nobody answered stays as it
// is; what ends a step counts as an error then, so that nothing waits for it.
func (r *recorder) answered(e v1alpha1.StepPluginStatus, op rollout.CallStep) v1alpha1.StepPluginStatus {
	answer, ok := r.out.Steps[op.ID()]
	if !ok {
		err := r.out.Failed[op.ID()]
		if err == nil || rollout.IsWaiting(err) || op.Call.Verb == rollout.StepRun {
			return e
		}
		answer = rollout.StepAnswer{Phase: rollout.StepError, Message: err.Error()}
	}
	if answer.Disabled {
		return v1alpha1.StepPluginStatus{Index: e.Index, Name: e.Name, Operation: e.Operation, Disabled: true}
	}
	now, before := r.now(), e.Phase
	e.Phase, e.Message, e.UpdatedAt = v1alpha1.StepPluginPhase(answer.Phase), answer.Message, &now
	e.Executions++
	e.Backoff, e.FinishedAt = "", nil
	if answer.Phase != rollout.StepError && len(answer.State) > 0 {
		e.Status = answer.State
	}
	switch answer.Phase {
	case rollout.StepSuccessful, rollout.StepFailed:
		e.FinishedAt = &now
	default:
		wait := stepBackoff
		if answer.Phase == rollout.StepRunning && answer.RequeueAfter >= leastBackoff {
			wait = answer.RequeueAfter
		}
		e.Backoff = v1alpha1.DurationString(wait.String())
		r.wakeAt(now.Add(wait + time.Second))
	}
	if before != e.Phase || e.Executions == 1 {
		r.stepEvent(e)
	}
	return e
}

func (r *recorder) stepEvent(e v1alpha1.StepPluginStatus) {
	kind, text := corev1.EventTypeNormal, fmt.Sprintf("Step Plugin %d (%s) %s is %s", e.Index+1, e.Name, e.Operation, e.Phase)
	if e.Phase == v1alpha1.StepPluginPhaseFailed || e.Phase == v1alpha1.StepPluginPhaseError {
		kind = corev1.EventTypeWarning
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	r.edge(kind, v1alpha1.EventStepPluginTransition, text)
}
