package decide

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// scale writes the targets.
func (p *planner) scale() {
	switch {
	case p.bg != nil:
		p.scaleBlueGreen()
	case p.routed():
		p.scaleRouted()
	default:
		p.scaleBasic()
	}
}

// scaleRouted: raising is always possible, lowering waits until no more traffic
// is observed than the lower count can serve (I3, I4).
func (p *planner) scaleRouted() {
	if p.stableRS != nil {
		p.resize(p.stableRS, p.size[p.stableRS.Name])
	}
	if p.newRS != nil && p.newRS != p.stableRS {
		p.resize(p.newRS, p.size[p.newRS.Name])
	}
}

// resize puts size, bookkeeping annotations and minReadySeconds of one
// ReplicaSet into at most one write.
func (p *planner) resize(rs *appsv1.ReplicaSet, target int32) {
	if p.writes(rs) {
		return
	}
	from := rollout.SpecReplicas(rs)
	to := p.floor(rs, target)
	ann := map[string]*string{}
	if want := strconv.Itoa(int(p.want)); rs.Annotations[v1alpha1.AnnotationDesiredReplicas] != want {
		ann[v1alpha1.AnnotationDesiredReplicas] = &want
	}
	if _, has := rs.Annotations[v1alpha1.AnnotationScaleDownDeadline]; has && !p.keepsDeadline(rs) {
		ann[v1alpha1.AnnotationScaleDownDeadline] = nil
	}
	op := p.update(rs, from, to, ann)
	if rs == p.newRS && rs.Spec.MinReadySeconds != p.ro.Spec.MinReadySeconds && !p.veto {
		seconds := p.ro.Spec.MinReadySeconds
		op.MinReadySeconds = &seconds
	}
	if from != to || len(ann) > 0 || op.MinReadySeconds != nil {
		p.add(op)
	}
}

// floor is the lowest count the ReplicaSet may be brought to now.
func (p *planner) floor(rs *appsv1.ReplicaSet, target int32) int32 {
	from := rollout.SpecReplicas(rs)
	if target >= from {
		return target
	}
	if (rs != p.stableRS || target < p.want) && !(p.quiet() && p.drained()) { // a router that is leaving may still serve it
		return from
	}
	if p.dynamic() && rs == p.stableRS && target < p.want && p.behind(rollout.RoleStable, p.stable) != p.stable {
		return from // its name has yet to move there, with all it carries
	}
	if p.dynamic() && p.aborted() && rs == p.newRS && p.want > 0 && p.selected(rollout.Hash(rs)) {
		target = max(target, 1) // until its name has moved to stable
	}
	served := p.podsFor(max(p.share(rollout.Hash(rs)), p.arriving(rollout.Hash(rs))))
	if rs == p.newRS && p.scaleInForce() != nil {
		served = min(served, p.canaryPods(p.goal())) // asked for, whatever the weight
	}
	return max(target, min(from, served))
}
