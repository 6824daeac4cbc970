package record

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Event is one Kubernetes event on the Rollout.
type Event struct {
	// Type is Normal or Warning.
	Type    string
	Reason  string
	Message string
}

func (r *recorder) edge(kind, reason, message string) {
	r.edges = append(r.edges, Event{Type: kind, Reason: reason, Message: message})
}

// done tells of every executed operation, and of routers that refused.
func (r *recorder) done() []Event {
	var out []Event
	for _, op := range r.plan.Ops {
		switch {
		case r.out.Succeeded(op.ID()):
			if e, ok := r.told(op); ok {
				out = append(out, e)
			}
		case r.out.Failed[op.ID()] != nil:
			if e, ok := failed(op, r.out.Failed[op.ID()]); ok {
				out = append(out, e)
			}
		}
	}
	return out
}

func (r *recorder) told(op rollout.Op) (Event, bool) {
	normal := func(reason, format string, args ...any) (Event, bool) {
		return Event{Type: corev1.EventTypeNormal, Reason: reason, Message: fmt.Sprintf(format, args...)}, true
	}
	switch o := op.(type) {
	case rollout.PatchRollout:
		if o.Revision != "" {
			return normal(v1alpha1.EventRolloutUpdated, "Rollout updated to revision %s", o.Revision)
		}
	case rollout.CreateReplicaSet:
		return normal(v1alpha1.EventNewReplicaSetCreated, "Created ReplicaSet %s (revision %d)", o.ReplicaSet.Name, r.plan.Revision)
	case rollout.UpdateReplicaSet:
		if o.Scales() {
			verb := "up"
			if o.To < o.From {
				verb = "down"
			}
			return normal(v1alpha1.EventScalingReplicaSet, "Scaled %s ReplicaSet %s (revision %s) from %d to %d", verb, o.Name, o.Revision, o.From, o.To)
		}
	case rollout.CreateExperiment:
		return normal(v1alpha1.EventExperimentCreated, "Created Experiment %q", o.Experiment.Name)
	case rollout.PointService:
		return normal(v1alpha1.EventSwitchService, "Switched selector for service '%s' from '%s' to '%s'", o.Name, o.From, o.To)
	case rollout.RouteTraffic:
		var from int32
		if old := r.old.Canary.Weights; old != nil {
			from = old.Canary.Weight
		}
		if from != o.Weights.Canary.Weight {
			return normal(v1alpha1.EventTrafficWeightUpdated, "Traffic weight updated from %d to %d", from, o.Weights.Canary.Weight)
		}
	}
	return Event{}, false
}

// failed tells of what went wrong. A conflict did not: somebody else wrote
// first, and the next pass looks at that. Nor did a plugin that is still being
// asked.
func failed(op rollout.Op, err error) (Event, bool) {
	if apierrors.IsConflict(err) || rollout.IsWaiting(err) {
		return Event{}, false
	}
	warning := func(reason string) (Event, bool) {
		return Event{Type: corev1.EventTypeWarning, Reason: reason, Message: err.Error()}, true
	}
	switch op.(type) {
	case rollout.CallStep:
		return warning(v1alpha1.EventReconciliationError)
	case rollout.CreateReplicaSet:
		return warning(v1alpha1.EventReplicaSetCreateError)
	case rollout.RouteTraffic, rollout.ReleaseTraffic:
		return warning(v1alpha1.EventTrafficRoutingError)
	}
	return Event{}, false
}
