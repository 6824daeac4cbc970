package rollout

import (
	"maps"
	"slices"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// EnvelopeOf sums up what the steps of a Rollout will ever ask of a router, so
// that a plugin can refuse it before the first weight moves. Steps that remove
// a managed route (no match) ask for nothing.
func EnvelopeOf(ro *v1alpha1.Rollout) Envelope {
	e := Envelope{TotalWeight: (&Snapshot{Rollout: ro}).TotalWeight()}
	canary := ro.Spec.Strategy.Canary
	if canary == nil {
		return e
	}
	e.PingPong = canary.PingPong != nil
	for _, step := range canary.Steps {
		if h := step.SetHeaderRoute; h != nil && len(h.Match) > 0 {
			e.ManagedRoutes = append(e.ManagedRoutes, headerRoute(h))
		}
		if m := step.SetMirrorRoute; m != nil && len(m.Match) > 0 {
			e.ManagedRoutes = append(e.ManagedRoutes, mirrorRoute(m))
		}
		if x := step.Experiment; x != nil {
			var weighted int32
			for _, t := range x.Templates {
				if t.Weight != nil {
					weighted++
				}
			}
			e.MaxDestinations = max(e.MaxDestinations, weighted)
		}
	}
	return e
}

func headerRoute(step *v1alpha1.SetHeaderRoute) ManagedRoute {
	out := ManagedRoute{Name: step.Name}
	for _, m := range step.Match {
		header := HeaderMatch{Name: m.HeaderName}
		if m.HeaderValue != nil {
			header.Value = StringMatch(*m.HeaderValue)
		}
		out.Header = append(out.Header, header)
	}
	return out
}

func mirrorRoute(step *v1alpha1.SetMirrorRoute) ManagedRoute {
	mirror := &MirrorRoute{Percentage: step.PercentageOrDefault()}
	for _, m := range step.Match {
		match := RouteMatch{Method: (*StringMatch)(m.Method), Path: (*StringMatch)(m.Path)}
		for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
			match.Headers = append(match.Headers, HeaderMatch{Name: name, Value: StringMatch(m.Headers[name])})
		}
		mirror.Match = append(mirror.Match, match)
	}
	return ManagedRoute{Name: step.Name, Mirror: mirror}
}
