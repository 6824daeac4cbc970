package decide

import (
	"slices"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// remember computes status.canary.routers[]: every active router with its
// config and claims, and every one that has to be released.
func (p *planner) remember() {
	var out []v1alpha1.RouterStatus
	for _, r := range p.s.Routers {
		stored := p.stored(r)
		switch {
		case r.Releasing:
			if stored != nil && !p.released(r) && !p.inherited(stored) {
				entry := *stored.DeepCopy()
				entry.Phase = v1alpha1.RouterReleasing
				out = append(out, entry)
			}
		case r.Problem != nil:
			if stored != nil {
				out = append(out, *stored.DeepCopy())
			}
			if left := p.returned(r); left != nil && left != stored {
				out = append(out, *left.DeepCopy())
			}
		default:
			out = append(out, p.entry(r, stored))
			if rest := abandoned(r, stored); rest != nil {
				out = append(out, *rest)
				p.unseen(r)
			}
		}
	}
	p.plan.Routers = out
	for _, r := range p.s.Routers {
		if r.Releasing && r.Problem == nil {
			p.clock(r, p.gaveBack(r) || opened(r) && !p.givingBack(r))
		}
	}
}

// inherited reports that an active router claims everything a releasing one
// holds: nothing is left to give back, e.g. after a plugin was renamed to its
// alias.
func (p *planner) inherited(stored *v1alpha1.RouterStatus) bool {
	claimed := map[rollout.Claim]bool{}
	for _, r := range p.active() {
		for _, c := range r.Observation.Claims {
			claimed[c] = r.Problem == nil
		}
	}
	for _, h := range stored.Holds {
		if !claimed[rollout.Claim{Object: h.Object, Key: h.Key}] {
			return false
		}
	}
	return len(stored.Holds) > 0
}

// unseen ends the pass for everything that depends on traffic: what the block
// reached before it was edited is observed only when status says so.
func (p *planner) unseen(r rollout.Router) {
	p.veto, p.blind = true, true
	p.add(rollout.RecordIntent{Identity: rollout.Identity{OpID: "leave/" + rollout.OpID(r.Plugin)},
		What: "router " + r.Plugin + " leaves what its block named before"})
}

// stored is the entry the router left in status, nil when there is none.
func (p *planner) stored(r rollout.Router) *v1alpha1.RouterStatus {
	for i := range p.ro.Status.Canary.Routers {
		e := &p.ro.Status.Canary.Routers[i]
		if e.Plugin != r.Plugin {
			continue
		}
		if r.Releasing && rollout.SameConfig(e.Config, r.Config) || !r.Releasing && e.Phase != v1alpha1.RouterReleasing {
			return e
		}
	}
	return nil
}

// returned is what a router left in status that the spec named no more and names
// again: until it answers, nobody knows whether it has left anything behind. A
// router that never left has its own entry there.
func (p *planner) returned(r rollout.Router) *v1alpha1.RouterStatus {
	r.Releasing = true
	return p.stored(r)
}

// noted is that entry where it is about the block as it is now, nil otherwise:
// what another block was asked for, and since when it has settled, says nothing of
// this one.
func (p *planner) noted(r rollout.Router) *v1alpha1.RouterStatus {
	if e := p.stored(r); e != nil && rollout.SameConfig(e.Config, r.Config) {
		return e
	}
	return nil
}

func (p *planner) entry(r rollout.Router, stored *v1alpha1.RouterStatus) v1alpha1.RouterStatus {
	entry := v1alpha1.RouterStatus{Plugin: r.Plugin, Config: r.Config, Phase: v1alpha1.RouterActive}
	if stored != nil {
		entry = *stored.DeepCopy()
		if !rollout.SameConfig(stored.Config, r.Config) {
			entry.Config, entry.SettledSince = r.Config, nil
			entry.Acknowledged, entry.AcknowledgedRoutes = nil, nil // it was another block that was acknowledged
			entry.Unacknowledged, entry.UnacknowledgedRoutes = nil, nil
			if r.Capabilities.Observe {
				entry.Intended, entry.IntendedRoutes, entry.Since = nil, nil, nil // nor was this one asked for anything
			}
		}
	}
	entry.Holds = nil
	for _, c := range r.Observation.Claims {
		entry.Holds = append(entry.Holds, v1alpha1.RouterHold{Object: c.Object, Key: c.Key})
	}
	entry.ManagedRoutes = p.managedNames(r, entry.ManagedRoutes)
	if rollout.Asked(entry) == nil && r.Capabilities.Observe {
		entry.Intended = p.unasked()
	}
	return entry
}

// unasked is what a router is left with that has not been asked for anything:
// all on the stable Service. With the Services noted from the beginning, what
// somebody edits into its route is still seen when the spec names neither any
// more. Nil without Services. It has no revision and no time: none was meant.
func (p *planner) unasked() *v1alpha1.TrafficWeights {
	if p.canary.StableService == "" || p.canary.CanaryService == "" {
		return nil
	}
	return &v1alpha1.TrafficWeights{
		Canary: v1alpha1.WeightDestination{ServiceName: p.canary.CanaryService},
		Stable: v1alpha1.WeightDestination{ServiceName: p.canary.StableService, Weight: p.total},
	}
}

// managedNames are the routes the router may remove: those of the spec, and
// those of an earlier one that are still there.
func (p *planner) managedNames(r rollout.Router, recorded []string) []string {
	var out []string
	add := func(name string) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	if tr := p.canary.TrafficRouting; tr != nil {
		for _, m := range tr.ManagedRoutes {
			add(m.Name)
		}
	}
	for _, name := range recorded {
		for _, at := range r.Observation.Observed {
			if at.Residue || slices.ContainsFunc(at.Traffic.Managed, func(m rollout.ManagedRoute) bool { return m.Name == name }) {
				add(name)
			}
		}
	}
	return out
}

// abandoned is what a changed config no longer reaches: it is released with
// the config that did.
func abandoned(r rollout.Router, stored *v1alpha1.RouterStatus) *v1alpha1.RouterStatus {
	if stored == nil || rollout.SameConfig(stored.Config, r.Config) {
		return nil
	}
	left := v1alpha1.RouterStatus{Plugin: r.Plugin, Config: stored.Config, ManagedRoutes: stored.ManagedRoutes, Phase: v1alpha1.RouterReleasing}
	for _, h := range stored.Holds {
		if !slices.Contains(r.Observation.Claims, rollout.Claim{Object: h.Object, Key: h.Key}) {
			left.Holds = append(left.Holds, h)
		}
	}
	if len(left.Holds) == 0 {
		return nil
	}
	return &left
}

// recorded reports whether status already says what the router may touch; its
// first write comes only afterwards.
func (p *planner) recorded(r rollout.Router) bool {
	stored, entry := p.stored(r), p.remembered(r)
	return stored != nil && entry != nil && rollout.SameConfig(stored.Config, entry.Config) &&
		slices.Equal(stored.Holds, entry.Holds) && slices.Equal(stored.ManagedRoutes, entry.ManagedRoutes)
}

// remembered is the router's entry in the plan.
func (p *planner) remembered(r rollout.Router) *v1alpha1.RouterStatus {
	for i := range p.plan.Routers {
		e := &p.plan.Routers[i]
		if e.Plugin == r.Plugin && r.Releasing == (e.Phase == v1alpha1.RouterReleasing) && (!r.Releasing || rollout.SameConfig(e.Config, r.Config)) {
			return e
		}
	}
	return nil
}
