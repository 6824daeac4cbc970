package decide

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// A canary without traffic routing: pods of both revisions answer to the same
// names, so the ratio of pods is the weight.

func (p *planner) targetsBasic() {
	canary, stable := p.basicSizes()
	if p.stableRS != nil {
		p.size[p.stableRS.Name] = stable
	}
	if p.newRS != nil && p.newRS != p.stableRS {
		p.size[p.newRS.Name] = canary
	}
	p.sizeOthersBasic()
}

// basicSizes are the pods that the two revisions should have next: within
// maxSurge and maxUnavailable, so it may take several of them to arrive.
func (p *planner) basicSizes() (canary, stable int32) {
	if p.initial() && p.ro.Spec.Paused {
		return min(rollout.SpecReplicas(p.newRS), p.want), 0
	}
	if p.stableRS == nil || p.newRS == p.stableRS {
		return p.want, p.want // nothing to take turns with: every pod, at once
	}
	now, old := rollout.SpecReplicas(p.newRS), rollout.SpecReplicas(p.stableRS)
	if p.plan.Invalid != "" && !p.aborted() {
		// What is there goes on serving; what an autoscaler adds is stable.
		canary = min(now, p.want)
		return canary, max(old, p.want-canary-p.otherPods())
	}
	ceiling, floor := rollout.PodBounds(p.canary, p.want)
	idealCanary, idealStable := p.idealSizes(now)
	toCanary, toStable := nextSplit(p.counts(p.newRS), p.counts(p.stableRS), int64(p.otherPods()),
		idealCanary, idealStable, bounds{ceiling, floor})
	return int32(toCanary), int32(toStable)
}

// idealSizes of this position. While somebody wants nothing to go forward, the
// new revision gets no more pods than it has, and stable those it lacks.
func (p *planner) idealSizes(now int32) (canary, stable int64) {
	weight := p.goal()
	if p.aborted() {
		weight = 0
	}
	ceiling, _ := rollout.PodBounds(p.canary, p.want)
	canary, stable = idealSplit(int64(p.want), int64(weight), int64(p.total), ceiling-int64(p.want))
	if p.halted() && !p.aborted() && canary > int64(now) {
		canary, stable = int64(now), max(stable, int64(p.want-now))
	}
	return canary, stable
}

func (p *planner) counts(rs *appsv1.ReplicaSet) pods {
	return pods{count: int64(rollout.SpecReplicas(rs)), available: int64(rollout.Available(rs))}
}

// otherPods are those of revisions that are neither new nor stable.
func (p *planner) otherPods() int32 {
	var n int32
	for _, rs := range p.others {
		n += rollout.SpecReplicas(rs)
	}
	return n
}

// sizeOthersBasic takes the pods of other revisions away, those that are not
// available at once, the others newest first as far as the floor allows. An
// analysis that could not tell is none of theirs.
func (p *planner) sizeOthersBasic() {
	if p.plan.Invalid != "" || p.ro.Spec.Paused && !p.aborted() {
		return
	}
	_, floor := rollout.PodBounds(p.canary, p.want)
	spare := -floor
	for _, rs := range p.s.ReplicaSets {
		n := rollout.Available(rs)
		if to, sized := p.size[rs.Name]; sized {
			n = min(n, to)
		}
		spare += int64(n)
	}
	for _, rs := range p.others {
		have := rollout.Available(rs)
		gone := int32(min(int64(have), max(0, spare)))
		spare -= int64(gone)
		p.size[rs.Name] = have - gone
	}
}

// atDesiredBasic: both revisions have the pods of the weight, not only those
// that could be had so far, and nothing else is left. A replicaProgressThreshold
// is about pods that were asked for: all of them are.
func (p *planner) atDesiredBasic() bool {
	canary, stable := p.idealSizes(rollout.SpecReplicas(p.newRS))
	return p.stableRS != nil && p.sized(p.newRS, int32(canary)) && p.otherPods() == 0 &&
		rollout.SpecReplicas(p.newRS) == int32(canary) &&
		rollout.SpecReplicas(p.stableRS) == int32(stable) && p.stableRS.Status.Replicas == int32(stable)
}

// servicesBasic keeps the names, where there are any, at revisions with pods:
// Argo Rollouts leaves the stable name at stable when all pods are of the new
// revision, and the canary name at a revision that is going away.
func (p *planner) servicesBasic() {
	if p.initial() || p.stableRS == nil {
		return // nothing is pointed anywhere before the first promotion
	}
	p.point(p.canary.StableService, p.behindStableName())
	p.point(p.canary.CanaryService, p.behindCanaryName())
}

// behindStableName: stable, or the new revision while only that has pods. It
// comes back when stable is the larger one again.
func (p *planner) behindStableName() *appsv1.ReplicaSet {
	switch {
	case p.promoted() || p.want == 0:
		return p.stableRS
	case !p.aborted() && p.size[p.stableRS.Name] == 0, p.stranded(p.canary.StableService):
		return p.newRS
	case p.s.ServiceHash(p.canary.StableService) == p.hash && rollout.Available(p.stableRS) < rollout.Available(p.newRS):
		return p.newRS
	}
	return p.stableRS
}

// behindCanaryName: the new revision, or stable while that has and gets no
// pods.
func (p *planner) behindCanaryName() *appsv1.ReplicaSet {
	if p.promoted() || p.want == 0 {
		return p.newRS
	}
	at := p.s.ServiceHash(p.canary.CanaryService)
	if p.stranded(p.canary.CanaryService) {
		return p.newRS
	}
	if p.newRS == nil || p.aborted() || p.size[p.newRS.Name] == 0 || rollout.Available(p.newRS) == 0 && at != p.hash {
		return p.stableRS
	}
	return p.newRS
}

// stranded reports that the name still selects a superseded revision while stable
// has no pods to move it to. Its pods stay for the name; where maxSurge leaves no
// room beside them and those of the new revision, stable would never get any.
func (p *planner) stranded(name string) bool {
	at := p.s.ByHash(p.s.ServiceHash(name))
	return slices.Contains(p.others, at) && rollout.Available(p.stableRS) == 0 && rollout.Available(p.newRS) > 0
}

// scaleBasic writes the sizes. Nothing is lowered while it is not known what
// serves: a status that lags behind, or a router that the spec named before and
// that has not left yet.
func (p *planner) scaleBasic() {
	if p.stableRS != nil {
		p.resize(p.stableRS, p.lowestBasic(p.stableRS))
	}
	if p.newRS != nil && p.newRS != p.stableRS {
		p.resize(p.newRS, p.lowestBasic(p.newRS))
	}
}

// drainBasic scales the other revisions down. One that stays for now serves: a
// deadline from another strategy would count from before that.
func (p *planner) drainBasic() {
	for _, rs := range p.others {
		from := rollout.SpecReplicas(rs)
		_, delayed := rs.Annotations[v1alpha1.AnnotationScaleDownDeadline]
		if to := min(from, p.lowestBasic(rs)); (to < from || delayed && from > 0) && !p.writes(rs) {
			p.drainTo(rs, from, to)
		}
	}
}

// lowestBasic is the size, or what the ReplicaSet has where it may not be
// lowered to that now.
func (p *planner) lowestBasic(rs *appsv1.ReplicaSet) int32 {
	from := rollout.SpecReplicas(rs)
	to, sized := p.size[rs.Name]
	switch {
	case !sized:
		return from
	case to >= from:
		return to
	case p.blind || !p.left():
		return from
	case !p.allReported():
		p.hold(rollout.Hold{Reason: rollout.HoldWaitingForPods, EndedBy: "the ReplicaSet controller reporting",
			What: fmt.Sprintf("ReplicaSet %s is lowered to %d when the pods of all revisions are known", rs.Name, to)})
		return from
	case to == 0 && p.lastResort(rs):
		to = 1 // services() moves the name first; the others may be there already to make room
	}
	// A router that has just left still sends to the revision its stable name selects.
	return max(to, min(from, p.podsFor(p.share(rollout.Hash(rs)))))
}

// left reports that no router which the spec named before holds anything.
func (p *planner) left() bool {
	for _, r := range p.s.Routers {
		if !p.released(r) {
			return false
		}
	}
	return true
}

func (p *planner) allReported() bool {
	for _, rs := range p.s.ReplicaSets {
		if rollout.SpecReplicas(rs) > 0 && !rollout.Reported(rs) {
			return false
		}
	}
	return true
}

// lastResort reports that a Service still selects the revision though another
// one has pods: services() moves it first (I4). Where no other one has any, the
// user allowed for it with maxUnavailable.
func (p *planner) lastResort(rs *appsv1.ReplicaSet) bool {
	elsewhere := false
	for _, other := range p.s.ReplicaSets {
		elsewhere = elsewhere || other != rs && rollout.Available(other) > 0
	}
	return elsewhere && p.selected(rollout.Hash(rs)) && p.want > 0
}
