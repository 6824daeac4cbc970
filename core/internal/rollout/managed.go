package rollout

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// ManagedAt are the managed routes that are in force while the step of that
// index is the current one: what it and those before it have set and not
// removed, in order of spec.managedRoutes. An index behind the last step means
// after all of them, a negative one before the first.
func ManagedAt(canary *v1alpha1.CanaryStrategy, index int) []ManagedRoute {
	if canary == nil || canary.TrafficRouting == nil {
		return nil
	}
	set := map[string]ManagedRoute{}
	for _, step := range canary.Steps[:min(max(index+1, 0), len(canary.Steps))] {
		if h := step.SetHeaderRoute; h != nil {
			delete(set, h.Name)
			if len(h.Match) > 0 {
				set[h.Name] = headerRoute(h)
			}
		}
		if m := step.SetMirrorRoute; m != nil {
			delete(set, m.Name)
			if len(m.Match) > 0 {
				set[m.Name] = mirrorRoute(m)
			}
		}
	}
	var out []ManagedRoute
	for _, managed := range canary.TrafficRouting.ManagedRoutes {
		if route, ok := set[managed.Name]; ok {
			out = append(out, route)
			delete(set, managed.Name) // a name listed twice has the place of the first
		}
	}
	return out
}

// Content identifies what the route does, its name included: two routes with
// the same content treat every request alike. Conditions that all have to hold
// are compared without their order, header names without their case.
func (m ManagedRoute) Content() string {
	if m.Digest != "" {
		return m.Digest
	}
	basis := struct {
		Name   string
		Header []HeaderMatch
		Mirror *MirrorRoute
	}{m.Name, sorted(m.Header), nil}
	if m.Mirror != nil {
		mirror := MirrorRoute{Percentage: m.Mirror.Percentage}
		for _, match := range m.Mirror.Match {
			match.Headers = sorted(match.Headers)
			mirror.Match = append(mirror.Match, match)
		}
		basis.Mirror = &mirror
	}
	h := fnv.New64a()
	raw, _ := json.Marshal(basis) // strings and numbers: cannot fail
	_, _ = h.Write(raw)
	return fmt.Sprintf("%s#%016x", m.Name, h.Sum64())
}

func sorted(in []HeaderMatch) []HeaderMatch {
	out := make([]HeaderMatch, 0, len(in))
	for _, m := range in {
		m.Name = strings.ToLower(m.Name)
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b HeaderMatch) int {
		return slices.Compare([]string{a.Name, a.Value.Exact, a.Value.Prefix, a.Value.Regex}, []string{b.Name, b.Value.Exact, b.Value.Prefix, b.Value.Regex})
	})
	return out
}

// sameManaged: the order is the precedence, so it counts.
func sameManaged(a, b Traffic) bool {
	return slices.EqualFunc(a.Managed, b.Managed, func(x, y ManagedRoute) bool { return x.Content() == y.Content() })
}
