package decide

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// services points the Services of the strategy at revisions.
func (p *planner) services() {
	switch {
	case p.bg != nil:
		p.servicesBlueGreen()
	case p.routed():
		p.servicesRouted()
	default:
		p.servicesBasic()
	}
}

// servicesRouted makes the stable name select the stable revision and the
// canary name the new one, or the stable one after an abort.
func (p *planner) servicesRouted() {
	if p.initial() || p.stableRS == nil {
		return // nothing is pointed anywhere before the first promotion
	}
	p.point(p.canary.StableService, p.stableRS)
	if !p.lagging() { // until the stable name has moved, the canary name serves stable
		p.point(p.canary.CanaryService, p.behindName())
	}
}

// leftBehind reports that the canary name still selects a superseded revision
// while the new one is not to have pods yet, e.g. in a pause before the first
// weight. The name goes back to stable, as before any update; otherwise the
// superseded pods would stay for as long as somebody pauses.
func (p *planner) leftBehind() bool {
	superseded := func(hash string) bool {
		at := p.s.ByHash(hash)
		return at != nil && at != p.newRS && at != p.stableRS
	}
	if p.newRS == nil || p.size[p.newRS.Name] > 0 {
		return false
	}
	for _, r := range p.active() { // one may have been left where another, or the Service beside them, has not
		if at, _ := r.Subset(rollout.RoleCanary); r.Subsets() && superseded(at) {
			return true
		}
	}
	return superseded(p.s.ServiceHash(p.canary.CanaryService))
}

// point moves a Service to a revision. A Service without our selector is
// adopted only when the revision is fully available; one that selects another
// revision moves only while it carries nothing (I6).
func (p *planner) point(name string, rs *appsv1.ReplicaSet) {
	if name == "" || p.pointed(name) {
		return
	}
	svc := p.s.Services[name]
	if svc == nil || rs == nil || p.s.ServiceHash(name) == rollout.Hash(rs) {
		return
	}
	if p.blind || p.veto && !p.aborted() {
		return // the reason is held already
	}
	from := p.s.ServiceHash(name)
	have, need := rollout.Available(rs), int32(1)
	if from == "" {
		need = max(1, rollout.SpecReplicas(rs))
	}
	if have < need || !rollout.Reported(rs) {
		p.hold(rollout.Hold{Reason: rollout.HoldWaitingForPods, EndedBy: "pods becoming available",
			What: fmt.Sprintf("Service %s moves to ReplicaSet %s when %d pods are available, %d are", name, rs.Name, need, have)})
		return
	}
	// The stable name may leave a revision without pods though it carries
	// weight: nobody is served there. What the canary name carries was not
	// meant for the next revision.
	dead := name == p.canary.StableService && rollout.Available(p.s.ByHash(from)) == 0
	if weight := p.s.ServiceWeight(name); from != "" && !dead && !p.strayed(name, rs) && (weight > 0 || !p.drained()) {
		p.hold(rollout.Hold{Reason: rollout.HoldWaitingForTraffic, EndedBy: "its weight reaching 0",
			What: fmt.Sprintf("Service %s carries weight %d and moves to ReplicaSet %s when it carries nothing", name, weight, rs.Name)})
		return
	}
	p.add(rollout.PointService{
		Identity:        rollout.Identity{OpID: "service/" + rollout.OpID(name), DependsOn: p.undelayed},
		Name:            name,
		ResourceVersion: svc.ResourceVersion,
		From:            from,
		To:              rollout.Hash(rs),
		Claim:           svc.Annotations[v1alpha1.AnnotationManagedBy] != p.ro.Name,
	})
}

// pointed: a name that an invalid spec uses twice is pointed once.
func (p *planner) pointed(name string) bool {
	return slices.ContainsFunc(p.plan.Ops, func(op rollout.Op) bool {
		o, ok := op.(rollout.PointService)
		return ok && o.Name == name
	})
}

// strayed: the stable name selects a revision that is not stable, and not
// because a promotion is being settled: a blue-green strategy that was replaced
// by this canary had switched to it, or only a router that leaves gives it weight,
// which could not be given back to so old a revision. Its users go back to the
// stable revision, which has every pod it should have.
func (p *planner) strayed(name string, rs *appsv1.ReplicaSet) bool {
	return name == p.canary.StableService && (!p.lagging() || p.unused(name)) && p.welcomes(rs)
}

// welcomes: the ReplicaSet is the stable one and has every pod it should have.
func (p *planner) welcomes(rs *appsv1.ReplicaSet) bool {
	return rs == p.stableRS && p.complement(rs, p.want) && p.want > 0
}

// unused: clients of no router of the spec are sent to the name.
func (p *planner) unused(name string) bool {
	for _, r := range p.active() {
		if !r.Known() || !p.converged(r) || len(r.Observation.Observed) == 0 {
			return false
		}
		for _, at := range r.Observation.Observed {
			if slices.ContainsFunc(at.Traffic.Destinations, func(d rollout.Destination) bool { return d.Service == name && d.Weight > 0 }) {
				return false
			}
		}
	}
	return true
}

// drained reports that what the routers carry now is also what the data planes
// serve. Of a router that cannot be observed that is known when it has answered.
func (p *planner) drained() bool {
	for _, r := range p.s.Routers {
		if !r.Known() || !p.converged(r) || !r.Releasing && unsure(r) {
			return false
		}
	}
	return true
}

// unsure reports that only the memory of the router says what it carries, and
// that it has not acknowledged that.
func unsure(r rollout.Router) bool { return !r.Capabilities.Observe && r.Observation.Unsure() }
