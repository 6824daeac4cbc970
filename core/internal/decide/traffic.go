package decide

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// traffic decides the one weight all routers should carry now and asks those
// that carry another one to change. One whose subset has just turned follows later.
func (p *planner) traffic() {
	if p.s.TotalWeight() <= 0 {
		return // nobody can say what a share of nothing is
	}
	if len(p.active()) == 0 {
		p.plan.Weights = nil
	} else if !p.initial() && p.stableRS != nil && !p.misnamed() && !p.unnamed() && !p.crossed() {
		weight := p.due()
		p.capped(weight)
		for _, r := range p.active() {
			if r.Known() && !r.Conflicts() {
				p.explainTurns(r)
				p.route(r, p.turning(r, weight))
			}
		}
		p.acknowledge(weight)
	}
	p.release()
}

// due is the canary weight that is right for this position, capped to what was
// acknowledged where the pods for more are missing.
func (p *planner) due() int32 {
	switch {
	case p.lagging():
		return p.total
	case p.aborted() && p.dynamic() && p.behind(rollout.RoleCanary, p.hash) == p.hash:
		return p.retreatWeight()
	case p.promoted(), p.aborted(), rollout.Available(p.newRS) == 0, p.behind(rollout.RoleCanary, p.hash) != p.hash:
		// A canary name that still reaches another revision is drained
		// before it moves.
		return 0
	}
	goal := p.goal()
	if p.plan.Invalid != "" {
		return p.acknowledged() // the steps may be what is wrong
	}
	if p.halted() {
		return min(p.acknowledged(), goal)
	}
	if p.enough(p.newRS, p.needed(goal)) {
		return goal
	}
	if p.dynamic() && p.ro.Status.PromoteFull && rollout.Reported(p.newRS) {
		// Pod by pod, so that stable makes room while the new one grows.
		return max(min(p.acknowledged(), goal), int32(int64(p.total)*int64(rollout.Available(p.newRS))/int64(p.want)))
	}
	return min(p.acknowledged(), goal)
}

// capped names the wait for pods where the weight is less than the position
// asks for. Where the step that raised it is over, pods were lost, and somebody
// should know.
func (p *planner) capped(weight int32) {
	if !p.moving() || p.aborted() || p.halted() || weight >= p.goal() || p.enough(p.newRS, p.needed(p.goal())) {
		return
	}
	over := p.step() != nil && p.step().SetWeight == nil && !p.ro.Status.PromoteFull
	p.hold(rollout.Hold{Reason: rollout.HoldWaitingForPods, EndedBy: "pods of the new revision becoming available", Blocking: over,
		What: fmt.Sprintf("weight %d needs %d pods of revision %s, %d are available",
			p.goal(), p.needed(p.goal()), p.hash, rollout.Available(p.newRS))})
}

// goal is what the current position asks for.
func (p *planner) goal() int32 {
	if p.step() == nil || p.hurried() {
		return p.total
	}
	for i := p.index; i >= 0; i-- {
		if w := p.steps()[i].SetWeight; w != nil {
			return p.within(*w)
		}
	}
	return 0
}

// within brings a weight of the spec between nothing and everything: no count of
// pods may follow from a mistyped one, which is reported as such.
func (p *planner) within(weight int32) int32 { return min(max(weight, 0), p.total) }

// acknowledged is the weight the routers last accepted for this revision. What
// they all carry as the position asks for counts, recorded or not: a pass that
// wrote it need not have come to say so.
func (p *planner) acknowledged() int32 {
	if goal := p.goal(); p.carried(goal) {
		return goal
	}
	w := p.ro.Status.Canary.Weights
	if w == nil || w.Canary.PodTemplateHash != p.hash {
		return 0
	}
	return w.Canary.Weight
}

// carried reports that every router gives the wanted revision this weight.
func (p *planner) carried(weight int32) bool {
	for _, r := range p.active() {
		if r.Problem != nil || !r.Observation.Matches(p.desired(r, weight)) {
			return false
		}
	}
	return p.behind(rollout.RoleCanary, p.hash) == p.hash
}

// lagging reports that the stable name still reaches a revision that is not
// stable any more, and the canary name the one that is. After a promotion all
// weight stays on the canary name, whatever comes next, until the stable name
// has moved; and that moves only while it carries nothing.
func (p *planner) lagging() bool {
	at := p.behind(rollout.RoleStable, p.stable)
	return at != "" && at != p.stable && p.behind(rollout.RoleCanary, p.stable) == p.stable
}

// behindCanary is the revision that weight on the canary name is meant for.
func (p *planner) behindCanary() string {
	if p.lagging() {
		return p.stable
	}
	return p.hash
}

// route asks one router for the weight unless it carries it already, the pods
// to take it are missing, or its memory has to be recorded first.
func (p *planner) route(r rollout.Router, weight int32) {
	want := p.desired(r, weight)
	if r.Observation.Matches(want) {
		p.clock(r, true)
		p.intend(r, want) // a pass that died after its write did not record it
		if r.Observation.Convergence == rollout.ConvergencePending {
			p.hold(rollout.Hold{Reason: rollout.HoldWaitingForTraffic, What: r.Plugin + ": " + r.Observation.Message,
				EndedBy: "the data plane accepting the route", Blocking: p.overdue(r)})
			if !r.Capabilities.Observe {
				p.ask(r, want, true)
				p.recheck(r)
			}
		}
		return
	}
	if !p.mayRoute(r, weight) {
		// What it was asked for settles meanwhile: a subset that waits for clients
		// would begin to wait again, every time that it has waited.
		asked := p.noted(r)
		p.clock(r, r.Subsets() && asked != nil && rollout.Asked(*asked) != nil && r.Observation.Matches(p.desired(r, asked.Intended.Canary.Weight)))
		return
	}
	p.clock(r, false)
	if p.counting(r) || !p.recorded(r) || p.needsIntent(r) && !p.intended(r, want) || p.misread(r, want) {
		p.intend(r, want)
		p.add(rollout.RecordIntent{Identity: rollout.Identity{OpID: "intent/" + rollout.OpID(r.Plugin)},
			What: fmt.Sprintf("router %s, weight %d", r.Plugin, weight)})
		return
	}
	p.intend(r, want)
	p.ask(r, want, false)
}

func (p *planner) ask(r rollout.Router, want rollout.Traffic, verify bool) {
	p.add(rollout.RouteTraffic{
		Identity: rollout.Identity{OpID: opRoute(r), DependsOn: p.undelayed},
		Router:   r,
		Desired:  want,
		Weights:  weightsOf(want),
		Verify:   verify,
	})
}

func opRoute(r rollout.Router) rollout.OpID { return "route/" + rollout.OpID(r.Plugin) }

// overdue: convergence takes milliseconds to seconds; after 30 s a person
// should see why it does not come.
func (p *planner) overdue(r rollout.Router) bool {
	e := p.remembered(r) // as of this pass: the stored one may be about the weight before
	if e == nil || e.Since == nil {
		return false
	}
	limit := e.Since.Add(30 * time.Second)
	if p.s.Now.Before(limit) {
		p.wake(limit)
		return false
	}
	return true
}

// weightsOf is the status form of a distribution.
func weightsOf(t rollout.Traffic) v1alpha1.TrafficWeights {
	var out v1alpha1.TrafficWeights
	for _, d := range t.Destinations {
		w := v1alpha1.WeightDestination{Weight: d.Weight, ServiceName: d.Service, PodTemplateHash: d.Hash}
		switch d.Role {
		case rollout.RoleStable:
			out.Stable = w
		case rollout.RoleCanary:
			out.Canary = w
		case rollout.RoleExperiment:
			out.Additional = append(out.Additional, w)
		}
	}
	return out
}

// acknowledge computes status.canary.weights when every router carries the
// weight; verified follows convergence.
func (p *planner) acknowledge(weight int32) {
	verified := true
	for _, r := range p.active() {
		if r.Problem != nil || !r.Observation.Matches(p.desired(r, weight)) {
			return
		}
		verified = verified && p.converged(r)
	}
	named := p.active()[0]
	for _, r := range p.active() {
		if !r.Subsets() {
			named = r // the Services are remembered for those that split between them
		}
	}
	w := weightsOf(p.desired(named, weight))
	w.Verified = &verified
	if verified && p.unreported() {
		w.Verified = nil
	}
	p.plan.Weights = &w
}

// unreported: some data plane says nothing and no drain delay stands in.
func (p *planner) unreported() bool {
	for _, r := range p.active() {
		if r.Observation.Convergence == rollout.ConvergenceUnknown && r.Observation.Settle == 0 {
			return true
		}
	}
	return false
}

// quiet reports that traffic is known, is what it should be, and has settled.
func (p *planner) quiet() bool {
	if p.blind {
		return false
	}
	if len(p.active()) == 0 || p.initial() || p.stableRS == nil {
		return true
	}
	return p.settled(p.due())
}

// idle reports that nothing points at the ReplicaSet: no weight on any place,
// no Service of ours, and traffic has settled (I4).
func (p *planner) idle(rs *appsv1.ReplicaSet) bool {
	hash := rollout.Hash(rs)
	if !p.quiet() || !p.drained() || p.s.HashWeight(hash) > 0 {
		return false
	}
	if p.want == 0 {
		return true // no Service can move to pods, and none needs any
	}
	return !p.selected(hash)
}
