// Package watch follows a rollout, its route and what belongs to them, and
// stamps what it sees with the demo's clock.
package watch

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/demo/internal/measure"
)

// State is what is known at one time. Its objects must not be changed.
type State struct {
	// Rollout is nil until it exists.
	Rollout *v1alpha1.Rollout
	Route   Route
	// Sets are the rollout's ReplicaSets and Runs its AnalysisRuns, oldest first.
	Sets []*appsv1.ReplicaSet
	Runs []*v1alpha1.AnalysisRun
}

// Route holds the weights that an HTTPRoute has for two Services.
type Route struct {
	Found          bool
	Stable, Canary int64
}

// traffic is all about a state that a change of counts as a write.
type traffic struct {
	revision       string
	stable, canary v1alpha1.WeightDestination
	verified       bool
	route          Route
}

// traffic reports false when no weights were recorded yet.
func (s State) traffic() (traffic, bool) {
	if s.Rollout == nil || s.Rollout.Status.Canary.Weights == nil {
		return traffic{}, false
	}
	status := s.Rollout.Status
	weights := status.Canary.Weights
	return traffic{
		revision: status.CurrentPodHash,
		stable:   weights.Stable, canary: weights.Canary,
		verified: weights.Verified != nil && *weights.Verified,
		route:    s.Route,
	}, true
}

// split says what the traffic means for the revision being rolled out.
func (t traffic) split() measure.Split {
	var asked, total float64
	for _, d := range []v1alpha1.WeightDestination{t.stable, t.canary} {
		total += float64(d.Weight)
		if d.PodTemplateHash == t.revision {
			asked += float64(d.Weight)
		}
	}
	if total > 0 {
		asked *= 100 / total
	}
	// Between the write of a route and that of the status, the one that is
	// verified is not the one in force.
	same := t.route.Found && t.route.Canary*int64(t.stable.Weight) == t.route.Stable*int64(t.canary.Weight)
	return measure.Split{Revision: t.revision, Asked: asked, Verified: t.verified && same}
}

// routeWeights reads the weights of an HTTPRoute's first rule.
func routeWeights(route []byte, stable, canary string) (Route, error) {
	var object struct {
		Spec struct {
			Rules []struct {
				BackendRefs []struct {
					Name   string `json:"name"`
					Weight *int64 `json:"weight"`
				} `json:"backendRefs"`
			} `json:"rules"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(route, &object); err != nil || len(object.Spec.Rules) == 0 {
		return Route{}, err
	}
	out := Route{Found: true}
	for _, ref := range object.Spec.Rules[0].BackendRefs {
		weight := int64(1) // what Gateway API says about no weight
		if ref.Weight != nil {
			weight = *ref.Weight
		}
		switch ref.Name {
		case stable:
			out.Stable = weight
		case canary:
			out.Canary = weight
		}
	}
	return out, nil
}

// oldestFirst sorts objects by age and, of one second, by name.
func oldestFirst[T metav1.Object](objects map[string]T) []T {
	return slices.SortedFunc(maps.Values(objects), func(a, b T) int {
		return cmp.Or(
			a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time),
			strings.Compare(a.GetName(), b.GetName()),
		)
	})
}
