package plugins

import (
	"context"
	"slices"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// route brings about a whole distribution with the calls Argo Rollouts makes:
// hashes, weight, managed routes, verification. All of them are safe to repeat.
func (a *argo) route(ctx context.Context, req rollout.RouteRequest) (rollout.RouteAnswer, error) {
	ro := v1alpha1.Rollout{}
	if req.Rollout != nil {
		ro = *req.Rollout
	}
	want := req.Desired
	if req.Release != nil {
		want = &rollout.Traffic{TotalWeight: req.Release.TotalWeight, ManagedNames: req.Release.ManagedNames}
	}
	if want == nil {
		want = &rollout.Traffic{}
	}
	weight := argoWeight{Rollout: ro, DesiredWeight: int32(want.Weight(rollout.RoleCanary)), AdditionalDestinations: argoDestinations(*want)} //nolint:gosec // At most the total, an int32.
	if !req.Verify {
		if err := a.steer(ctx, ro, *want, weight); err != nil {
			return rollout.RouteAnswer{}, err
		}
	}
	if req.Release != nil {
		return rollout.RouteAnswer{}, nil
	}
	var reply argoVerified
	if err := a.call(ctx, "VerifyWeight", weight, &reply); err != nil {
		return rollout.RouteAnswer{}, err
	}
	if err := reply.Err.of("VerifyWeight"); err != nil {
		return rollout.RouteAnswer{}, err
	}
	return rollout.RouteAnswer{Convergence: argoConvergence(reply.Verified)}, nil
}

// steer sets hashes, weight and managed routes. Weight goes first where it is
// taken off pods that the hash would otherwise still be pointed at.
func (a *argo) steer(ctx context.Context, ro v1alpha1.Rollout, want rollout.Traffic, weight argoWeight) error {
	hash := argoUpdateHash{
		Rollout: ro, CanaryHash: argoHash(want, rollout.RoleCanary), StableHash: argoHash(want, rollout.RoleStable),
		AdditionalDestinations: weight.AdditionalDestinations,
	}
	if w := ro.Status.Canary.Weights; weight.DesiredWeight == 0 && w != nil && w.Canary.Weight > 0 {
		if err := a.do(ctx, "SetWeight", weight); err != nil {
			return err
		}
	}
	if hash.CanaryHash != "" || hash.StableHash != "" {
		if err := a.do(ctx, "UpdateHash", hash); err != nil {
			return err
		}
	}
	if err := a.do(ctx, "SetWeight", weight); err != nil {
		return err
	}
	return a.manage(ctx, ro, want)
}

// manage sets the managed routes that are wanted. The protocol can only remove
// all of them at once, so when one has to go the rest is set again; what this
// process has set already is not.
func (a *argo) manage(ctx context.Context, ro v1alpha1.Rollout, want rollout.Traffic) error {
	routes := slices.DeleteFunc(slices.Clone(want.Managed), func(m rollout.ManagedRoute) bool {
		// A pointer to 0 does not survive gob, and no percentage means 100: to
		// mirror nothing is to have no route.
		return m.Mirror != nil && m.Mirror.Percentage == 0
	})
	uid := string(ro.UID)
	a.mu.Lock()
	before, known := a.managed[uid]
	delete(a.managed, uid) // Unknown until it has worked.
	a.mu.Unlock()
	if known && slices.EqualFunc(before, routes, sameManagedRoute) {
		a.remember(uid, routes)
		return nil
	}
	if shrinks(before, known, routes, want.ManagedNames) {
		if err := a.do(ctx, "RemoveManagedRoutes", argoRemove{Rollout: ro}); err != nil {
			return err
		}
	}
	for _, m := range routes {
		if err := a.set(ctx, ro, m); err != nil {
			return err
		}
	}
	a.remember(uid, routes)
	return nil
}

// shrinks: a route that may be there is not wanted any more.
func shrinks(before []rollout.ManagedRoute, known bool, routes []rollout.ManagedRoute, names []string) bool {
	maybe := names
	if known {
		maybe = nil
		for _, m := range before {
			maybe = append(maybe, m.Name)
		}
	}
	return slices.ContainsFunc(maybe, func(name string) bool {
		return !slices.ContainsFunc(routes, func(m rollout.ManagedRoute) bool { return m.Name == name })
	})
}

func (a *argo) remember(uid string, routes []rollout.ManagedRoute) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.managed == nil || len(a.managed) > 10_000 {
		a.managed = map[string][]rollout.ManagedRoute{} // Forgetting costs one removal each.
	}
	a.managed[uid] = routes
}

func (a *argo) set(ctx context.Context, ro v1alpha1.Rollout, m rollout.ManagedRoute) error {
	if m.Mirror == nil {
		set := v1alpha1.SetHeaderRoute{Name: m.Name}
		for _, h := range m.Header {
			set.Match = append(set.Match, v1alpha1.HeaderRoutingMatch{HeaderName: h.Name, HeaderValue: argoMatch(&h.Value)})
		}
		return a.do(ctx, "SetHeaderRoute", argoHeader{Rollout: ro, SetHeaderRoute: set})
	}
	set := v1alpha1.SetMirrorRoute{Name: m.Name, Percentage: &m.Mirror.Percentage}
	for _, r := range m.Mirror.Match {
		match := v1alpha1.RouteMatch{Method: argoMatch(r.Method), Path: argoMatch(r.Path)}
		for _, h := range r.Headers {
			if match.Headers == nil {
				match.Headers = map[string]v1alpha1.StringMatch{}
			}
			match.Headers[h.Name] = *argoMatch(&h.Value)
		}
		set.Match = append(set.Match, match)
	}
	return a.do(ctx, "SetMirrorRoute", argoMirror{Rollout: ro, SetMirrorRoute: set})
}

func argoMatch(m *rollout.StringMatch) *v1alpha1.StringMatch {
	if m == nil {
		return nil
	}
	return &v1alpha1.StringMatch{Exact: m.Exact, Prefix: m.Prefix, Regex: m.Regex}
}

func sameManagedRoute(a, b rollout.ManagedRoute) bool { return a.Content() == b.Content() }

func argoHash(t rollout.Traffic, role rollout.Role) string {
	for _, d := range t.Destinations {
		if d.Role == role {
			return d.Hash
		}
	}
	return ""
}

// argoDestinations are those of experiments: the protocol calls them additional.
func argoDestinations(t rollout.Traffic) []v1alpha1.WeightDestination {
	var out []v1alpha1.WeightDestination
	for _, d := range t.Destinations {
		if d.Role == rollout.RoleExperiment {
			out = append(out, v1alpha1.WeightDestination{Weight: d.Weight, ServiceName: d.Service, PodTemplateHash: d.Hash})
		}
	}
	return out
}

// argoConvergence reads VerifyWeight. Not implemented is nothing known; what the
// protocol does not define is not verified.
func argoConvergence(verified int32) rollout.Convergence {
	switch verified {
	case argoIsVerified:
		return rollout.ConvergenceDone
	case argoVerifyNotImplemented:
		return ""
	default:
		return rollout.ConvergencePending
	}
}
