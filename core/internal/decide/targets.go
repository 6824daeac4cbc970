package decide

import (
	"math"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// targets decides how many pods the stable and the new revision should have.
// A changed spec.replicas is an input like any other, not a stage.
func (p *planner) targets() {
	p.size = map[string]int32{}
	switch {
	case p.bg != nil:
		p.targetsBlueGreen()
	case p.routed():
		p.targetsRouted()
	default:
		p.targetsBasic()
	}
}

func (p *planner) targetsRouted() {
	if p.stableRS != nil {
		p.size[p.stableRS.Name] = p.stableTarget()
	}
	if p.newRS == nil || p.newRS == p.stableRS {
		return
	}
	p.size[p.newRS.Name] = p.canaryTarget()
}

// canaryTarget of the new revision while it is not the stable one.
func (p *planner) canaryTarget() int32 {
	now, most := rollout.SpecReplicas(p.newRS), max(p.want, p.canaryPods(p.goal()))
	served := p.podsFor(p.share(p.hash))
	switch {
	case p.initial() && !p.ro.Spec.Paused:
		return p.want
	case p.plan.Invalid != "" && !p.aborted():
		// What it serves it goes on serving, also when spec.replicas grows,
		// unless a person wants nothing to happen.
		if p.ro.Spec.Paused {
			return min(now, most)
		}
		return max(min(now, most), served)
	case p.aborted() && p.dynamic() && p.canary.AbortScaleDownDelaySeconds == nil:
		return min(now, max(p.podsFor(p.retreat()), served)) // pod by pod, as traffic leaves
	case p.aborted(), p.halted():
		return min(now, most) // cleanup() lowers it after an abort
	}
	return p.canaryPods(p.goal())
}

// podsFor is the number of pods a canary weight needs: ceil(w·R/W), at least
// minPodsPerReplicaSet where any are needed. 64-bit, because W may be 10^8.
func (p *planner) podsFor(weight int32) int32 {
	n := (int64(weight)*int64(p.want) + int64(p.total) - 1) / int64(p.total)
	return p.atLeast(int32(min(n, math.MaxInt32)))
}

// enough reports that the ReplicaSet has the pods, or as many of them as
// replicaProgressThreshold asks for.
func (p *planner) enough(rs *appsv1.ReplicaSet, pods int32) bool {
	have := rollout.Available(rs)
	if pods > 0 && !rollout.Reported(rs) {
		return false
	}
	t := p.canary.ReplicaProgressThreshold
	if t == nil || t.Value < 0 {
		return have >= pods
	}
	if t.Type == v1alpha1.ReplicaProgressThresholdPods {
		return have >= min(t.Value, pods)
	}
	return int64(have)*100 >= int64(t.Value)*int64(pods)
}

// atDesired reports that the new revision has its pods and that those of the
// stable one are created; with dynamicStableScale these follow the traffic.
func (p *planner) atDesired() bool {
	if !p.routed() {
		return p.atDesiredBasic()
	}
	if !p.sized(p.newRS, p.canaryTarget()) || p.stableRS == nil {
		return false
	}
	return p.dynamic() || rollout.SpecReplicas(p.stableRS) == p.want && p.stableRS.Status.Replicas == p.want
}
