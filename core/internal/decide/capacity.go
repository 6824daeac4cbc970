package decide

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// A weight changes when the pods are there for it: those of the revision that gets
// more, in either direction.

// mayRoute holds a raise back until the revision that gets more has the pods
// for it, and a return to stable until stable can take it (I2, I9).
func (p *planner) mayRoute(r rollout.Router, weight int32) bool {
	lowest, highest := int64(p.total), int64(0)
	if len(r.Observation.Observed) == 0 {
		lowest, highest = 0, int64(p.total) // nobody knows: what is asked for may be a raise, or a return
	}
	for _, at := range r.Observation.Observed {
		w := at.Traffic.Weight(rollout.RoleCanary)
		lowest, highest = min(lowest, w), max(highest, w)
	}
	if unsure(r) {
		lowest = 0 // it may be another block that was asked for this
	}
	if back := p.restores(r) && !p.moved(); lowest < int64(weight) && !back && (weight > p.due() || !p.mayRaise(weight)) {
		return false // what only waits for a subset is nothing that others have to be raised to
	}
	return highest <= int64(weight) || p.mayReturn(r, weight)
}

func (p *planner) mayRaise(weight int32) bool {
	if p.veto || p.blind || p.moved() {
		return false
	}
	need, rs := p.podsFor(weight), p.s.ByHash(p.behindCanary())
	if !p.lagging() {
		need = p.needed(weight)
	}
	if p.enough(rs, need) {
		return true
	}
	p.hold(rollout.Hold{Reason: rollout.HoldWaitingForPods, EndedBy: "pods of the new revision becoming available",
		What: fmt.Sprintf("weight %d needs %d pods of revision %s, %d are available", weight, need, p.behindCanary(), rollout.Available(rs))})
	return false
}

// mayReturn: stable takes floor((W−w)·R/W) pods' worth of traffic, or at least
// as much as the revision it comes from could serve.
func (p *planner) mayReturn(r rollout.Router, weight int32) bool {
	need := int32(int64(p.total-weight) * int64(p.want) / int64(p.total))
	to := p.receiver(r)
	have, source := rollout.Available(to), p.serving(r)
	nowhere := p.want > 0 && have == 0 && source > 0 && weight < p.total // rounded down, but not to nothing
	if p.enough(to, need) && !nowhere || have >= max(1, source) {
		return true
	}
	p.hold(rollout.Hold{Reason: rollout.HoldWaitingForPods, Blocking: !p.dynamic(), EndedBy: "pods of the stable revision becoming available",
		What: fmt.Sprintf("returning %d of %d weight to stable needs %d pods, %d are available", p.total-weight, p.total, need, have)})
	return false
}

// receiver has the pods that will get what returns to stable: the name may lag
// behind, and where a subset is pointed elsewhere with it, clients follow a while
// later.
func (p *planner) receiver(r rollout.Router) *appsv1.ReplicaSet {
	to := p.stableRS
	if at := p.target(r, rollout.RoleStable); at != "" {
		to = p.s.ByHash(at)
	}
	at, _ := r.Subset(rollout.RoleStable)
	if at == "" || r.Releasing || p.deserted(r) {
		return to
	}
	if now := p.s.ByHash(at); rollout.Available(now) < rollout.Available(to) {
		return now
	}
	return to
}

// serving are the pods that answer to the canary name. One that selects no
// revision of ours yet reaches them all.
func (p *planner) serving(r rollout.Router) int32 {
	at := p.target(r, rollout.RoleCanary)
	if at != "" || p.s.Services[p.canary.CanaryService] == nil {
		return rollout.Available(p.s.ByHash(at))
	}
	var n int32
	for _, rs := range p.s.ReplicaSets {
		n += rollout.Available(rs)
	}
	return n
}
