package decide

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// scaleInForce is the setCanaryScale step that sizes the canary apart from its
// weight; nil when none does.
func (p *planner) scaleInForce() *v1alpha1.SetCanaryScale {
	if p.hurried() || !p.moving() {
		return nil
	}
	return rollout.ScaleInForce(p.ro)
}

// canaryPods are those the new revision should have at a weight: as many as
// setCanaryScale says, else as the weight and its managed routes need.
func (p *planner) canaryPods(weight int32) int32 {
	scale, least := p.scaleInForce(), p.routePods()
	if weight > 0 {
		least = min(1, p.want) // no request goes to nowhere, whatever the scale
	}
	switch {
	case p.want == 0:
		return 0 // nobody is to be served
	case scale == nil:
		return max(p.podsFor(weight), least)
	case scale.Replicas == nil:
		return max(p.podsFor(*scale.Weight), least)
	case p.dynamic():
		return max(p.atLeast(*scale.Replicas), least)
	}
	return max(*scale.Replicas, least)
}

// needed are the pods without which the weight is not given. What the routers
// carry already, or carried before somebody edited a route, needs no more than
// its share.
func (p *planner) needed(weight int32) int32 {
	if p.scaleInForce() == nil {
		return p.podsFor(weight)
	}
	if n := p.canaryPods(weight); weight > p.acknowledged() {
		return n
	}
	return min(p.podsFor(weight), p.canaryPods(weight))
}

// dynamic: stable gives pods up as the canary gets traffic.
func (p *planner) dynamic() bool { return p.canary.DynamicStableScale && p.routed() }

// stableTarget is spec.replicas, or with dynamicStableScale the pods for the
// traffic that stable has, or will have: everything until its name leads there,
// and from a router that leaves.
func (p *planner) stableTarget() int32 {
	at := p.behind(rollout.RoleStable, p.stable)
	if !p.dynamic() || !p.moving() || p.leaving() || at != "" && at != p.stable {
		return p.want
	}
	share := p.podsFor(p.share(p.stable))
	if p.plan.Invalid != "" && !p.aborted() || p.halted() && !p.aborted() {
		return max(min(rollout.SpecReplicas(p.stableRS), p.want), share)
	}
	return max(p.podsFor(p.total-p.planned()), share)
}

// share is the weight a revision has now, wherever it has most.
func (p *planner) share(hash string) int32 {
	return int32(min(p.s.HashWeight(hash), int64(p.total)))
}

// arriving is the weight of the Services that this plan points at the revision.
func (p *planner) arriving(hash string) int32 {
	var most int64
	for _, op := range p.plan.Ops {
		if o, ok := op.(rollout.PointService); ok && o.To == hash {
			most = max(most, p.s.ServiceWeight(o.Name))
		}
	}
	return int32(min(most, int64(p.total)))
}

// planned is the canary weight that stable has to leave room for. Traffic of a
// revision that was superseded, of a subset that reaches every pod, or of a router
// that nobody knows anything of goes back to stable first.
func (p *planner) planned() int32 {
	switch at := p.behind(rollout.RoleCanary, p.hash); {
	case p.aborted():
		return p.retreat()
	case p.uncharted():
		return 0
	case at != p.hash && at != p.stable && p.s.HashWeight(at) > 0:
		return 0
	}
	return p.goal()
}

// uncharted: the canary's subset of a router reaches every pod yet, or nobody
// knows what a router carries.
func (p *planner) uncharted() bool {
	return slices.ContainsFunc(p.active(), func(r rollout.Router) bool {
		at, _ := r.Subset(rollout.RoleCanary)
		return r.Problem == nil && len(r.Observation.Observed) == 0 || r.Subsets() && at == ""
	})
}

// retreat is the weight for which stable is sized after an abort: that of the
// last step that needs fewer pods than the canary still has to hold, so that
// both revisions together stay near spec.replicas on the way back.
func (p *planner) retreat() int32 {
	if p.newRS == nil || p.stableRS == nil || p.want == 0 {
		return 0
	}
	hold := p.want - rollout.Available(p.stableRS)
	if d := p.canary.AbortScaleDownDelaySeconds; d == nil || *d == 0 {
		hold = max(hold, rollout.Available(p.newRS))
	}
	for i := len(p.steps()) - 1; i >= 0; i-- {
		w := p.steps()[i].SetWeight
		if w != nil && p.podsFor(p.within(*w)) < hold {
			return p.within(*w)
		}
	}
	return 0
}

// retreatWeight is the canary weight after an abort with dynamicStableScale: as
// low as the pods of stable allow, and never more than the canary has.
func (p *planner) retreatWeight() int32 {
	if p.want == 0 || rollout.Available(p.newRS) == 0 {
		return 0
	}
	has, desired := p.leastCanary(), p.retreat()
	able := int32(min(int64(p.total), int64(p.total)*int64(rollout.Available(p.stableRS))/int64(p.want)))
	switch {
	case desired <= 0:
		return min(p.total-able, has)
	case able < p.total-desired:
		return has
	}
	return min(desired, has)
}

// leastCanary is the lowest canary weight on any place: what is not above it is
// a raise nowhere.
func (p *planner) leastCanary() int32 {
	least := int64(p.total)
	for _, r := range p.active() {
		for _, at := range r.Observation.Observed {
			least = min(least, at.Traffic.Weight(rollout.RoleCanary))
		}
		if len(r.Observation.Observed) == 0 {
			least = min(least, int64(p.acknowledged()))
		}
	}
	return int32(least)
}

// atLeast is n, or minPodsPerReplicaSet where any pod is wanted.
func (p *planner) atLeast(n int32) int32 {
	if least := p.canary.MinPodsPerReplicaSet; n > 0 && least != nil {
		return max(n, min(*least, p.want))
	}
	return n
}

// sized reports that the ReplicaSet has its size and the pods, or as many of
// them as replicaProgressThreshold asks for.
func (p *planner) sized(rs *appsv1.ReplicaSet, pods int32) bool {
	if rs == nil || !p.enough(rs, pods) {
		return false
	}
	t := p.canary.ReplicaProgressThreshold
	return t != nil && t.Value >= 0 || rollout.SpecReplicas(rs) == pods
}
