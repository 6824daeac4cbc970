package plugin

import (
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

// Target says on whose behalf a call is made: a Rollout, or for metric providers an AnalysisRun.
type Target struct {
	// Namespace, Name and UID identify the object.
	Namespace, Name, UID string
	// Generation grows with every change of its spec.
	Generation int64
	// Labels of the object. Nil: none.
	Labels map[string]string
	// StableService and CanaryService are the names of the Services as they are now; with ping-pong they trade places at
	// promotion. Empty: none, and always empty for metric providers.
	StableService, CanaryService string
}

// TargetFrom converts a target from the wire. Nil gives the zero Target.
func TargetFrom(t *typesv1.Target) Target {
	return Target{
		Namespace:     t.GetNamespace(),
		Name:          t.GetName(),
		UID:           t.GetUid(),
		Generation:    t.GetGeneration(),
		Labels:        t.GetLabels(),
		StableService: t.GetServices().GetStable(),
		CanaryService: t.GetServices().GetCanary(),
	}
}

// Proto converts a target to the wire; for hosts and tests.
func (t Target) Proto() *typesv1.Target {
	return &typesv1.Target{
		Namespace:  t.Namespace,
		Name:       t.Name,
		Uid:        t.UID,
		Generation: t.Generation,
		Labels:     t.Labels,
		Services:   &typesv1.ServiceNames{Stable: t.StableService, Canary: t.CanaryService},
	}
}
