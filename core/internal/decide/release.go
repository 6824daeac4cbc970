package decide

import (
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// release asks routers that the spec no longer names to leave, after those it
// names carry the traffic.
func (p *planner) release() {
	for _, r := range p.s.Routers {
		if !r.Releasing || r.Problem != nil || p.gaveBack(r) || p.remembered(r) == nil {
			continue
		}
		if !p.quiet() {
			p.hold(rollout.Hold{Reason: rollout.HoldWaitingForTraffic, What: "router " + r.Plugin + " is released after the others have converged",
				EndedBy: "the other routers converging"})
			continue
		}
		if p.routed() && p.lagging() { // no other strategy moves it
			p.hold(rollout.Hold{Reason: rollout.HoldWaitingForTraffic, What: "router " + r.Plugin + " gives everything to the stable name when that has moved to the stable revision",
				EndedBy: "the promotion being settled"})
			continue
		}
		if opened(r) && !p.converged(r) && !p.givingBack(r) {
			p.hold(rollout.Hold{Reason: rollout.HoldWaitingForTraffic, What: "router " + r.Plugin + " gives its weight back when clients know that its stable subset reaches every pod",
				EndedBy: "the data plane following"})
			continue
		}
		if _, carries := r.Subset(rollout.RoleCanary); (!r.Subsets() || carries > 0) && !p.mayReturn(r, 0) {
			continue // leaving gives everything to the stable name
		}
		if name := p.canary.StableService; !r.Subsets() && name != "" && name == p.canary.CanaryService {
			continue // all of it, and nothing: the spec is invalid, which says it all
		}
		if p.unrecorded() {
			p.add(rollout.RecordIntent{Identity: rollout.Identity{OpID: "keep/" + opRelease(r)}, What: "what is kept when router " + r.Plugin + " is released"})
			continue
		}
		if opened(r) && !p.givingBack(r) {
			p.giveBack(r)
			continue
		}
		if stored := p.stored(r); p.forget(r) || p.counting(r) || p.needsIntent(r) && (stored == nil || stored.Phase != v1alpha1.RouterReleasing) {
			p.add(rollout.RecordIntent{Identity: rollout.Identity{OpID: "intent/" + opRelease(r)}, What: "router " + r.Plugin + " is released"})
			continue
		}
		p.add(rollout.ReleaseTraffic{
			Identity: rollout.Identity{OpID: opRelease(r)},
			Router:   r,
			Release: rollout.Release{TotalWeight: p.total, ManagedNames: p.remembered(r).ManagedRoutes,
				StableService: p.canary.StableService, CanaryService: p.canary.CanaryService},
		})
	}
}

// forget drops, before the subsets of a router are given back, where they were meant
// to point: they will not when the spec names the router again. It reports that
// status has yet to forget.
func (p *planner) forget(r rollout.Router) bool {
	stored, entry := p.stored(r), p.remembered(r)
	if !r.Subsets() || stored == nil || rollout.Asked(*stored) == nil || p.givingBack(r) {
		return false
	}
	entry.Since = nil // it was never asked for what Intended says, which still tells the total
	return true
}

// unrecorded reports that status does not say yet all that the routers of the
// spec claim, and with that what a release leaves to them.
func (p *planner) unrecorded() bool {
	return slices.ContainsFunc(p.active(), func(r rollout.Router) bool { return r.Problem == nil && !p.recorded(r) })
}

// opRelease tells apart what one plugin leaves after several edits of its block.
func opRelease(r rollout.Router) rollout.OpID {
	h := fnv.New32a()
	_, _ = h.Write(r.Config)
	return rollout.OpID(fmt.Sprintf("release/%s/%08x", r.Plugin, h.Sum32()))
}

// released reports that a releasing router has left nothing behind, in no data
// plane either.
//
// Its config was valid when it was stored, so Invalid means that what it
// refers to has been deleted: nothing is left.
func (p *planner) released(r rollout.Router) bool {
	if r.Problem != nil && r.Problem.Class == rollout.ProblemInvalid {
		return true
	}
	return r.Problem == nil && p.gaveBack(r) && p.converged(r)
}

// leaving reports that some router has yet to give all it routes to the stable
// name, which takes all pods.
func (p *planner) leaving() bool {
	for _, r := range p.s.Routers {
		if r.Releasing && !p.released(r) {
			return true
		}
	}
	return false
}

// empty reports that the objects of a releasing router are as if it had never
// been there. Where the Services have exchanged their names since it was asked,
// what it calls the canary's is the one that everything is given back to.
func (p *planner) empty(r rollout.Router) bool {
	for _, at := range r.Observation.Observed {
		from := rollout.RoleCanary
		if slices.ContainsFunc(at.Traffic.Destinations, func(d rollout.Destination) bool {
			return d.Role == rollout.RoleCanary && d.Service != "" && d.Service == p.canary.StableService
		}) {
			from = rollout.RoleStable
		}
		if at.Residue || at.Traffic.Weight(from) > 0 || len(at.Traffic.Managed) > 0 {
			return false
		}
	}
	return true
}
