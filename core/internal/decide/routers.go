package decide

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// routers takes in what is known about every router and metric provider, and
// carries the memory of each router forward. What is not known blinds the
// pass: nothing that traffic may point at is lowered or moved (I9).
func (p *planner) routers() {
	for _, r := range p.s.Routers {
		if r.Problem != nil {
			p.problem(r)
		}
		if !r.Known() {
			p.blind = true
		}
		if r.Capabilities.Observe {
			p.recheck(r)
		}
	}
	p.blind = p.blind || !p.s.TrafficKnown()
	if w := p.ro.Status.Canary.Weights; p.misnamed() {
		p.veto, p.blind = true, true
		p.hold(rollout.Hold{Reason: rollout.HoldWaitingForTraffic, Blocking: true, EndedBy: "the names being restored, or an abort",
			What: fmt.Sprintf("weight %d still goes through Service %s, which the spec does not name any more", w.Canary.Weight, w.Canary.ServiceName)})
	}
	if p.crossed() {
		p.invalid("spec.strategy.canary.pingPong", "one router splits between Services and another between subsets, which do not take turns alike; "+
			"name stableService and canaryService, or routers of one kind")
	}
	if p.unnamed() || p.crossed() {
		p.veto, p.blind = true, true // the spec is invalid, which says it all
	}
	for name, problem := range p.s.Providers {
		_ = name
		p.veto = true
		p.hold(rollout.Hold{Reason: rollout.HoldReason(problem.Reason), What: problem.Message,
			EndedBy: "the metric provider becoming available", Blocking: true})
	}
	p.awaited()
	slices.SortFunc(p.plan.Holds, func(a, b rollout.Hold) int {
		return slices.Compare([]string{string(a.Reason), a.What}, []string{string(b.Reason), b.What})
	})
	p.remember()
}

// recheck comes back when the router wants to be asked again.
func (p *planner) recheck(r rollout.Router) {
	if again := r.Observation.Recheck; again > 0 {
		p.wake(p.s.Now.Add(again))
	}
}

// misnamed reports that the Services were renamed while traffic was split
// between the old ones: what routers say about the new names is not where
// traffic goes. An abort takes it back from the old ones. Where the two names
// only changed places, nothing is hidden.
func (p *planner) misnamed() bool {
	w := p.ro.Status.Canary.Weights
	if w != nil && w.Canary.ServiceName == p.canary.StableService && w.Stable.ServiceName == p.canary.CanaryService {
		return false
	}
	return w != nil && w.Canary.Weight > 0 && w.Canary.ServiceName != "" && w.Stable.ServiceName != "" &&
		(w.Canary.ServiceName != p.canary.CanaryService || w.Stable.ServiceName != p.canary.StableService)
}

// problem turns a router's problem into a veto and a hold. A releasing router
// holds nobody up but itself.
func (p *planner) problem(r rollout.Router) {
	h := rollout.Hold{Reason: rollout.HoldReason(r.Problem.Reason), What: r.Problem.Error(), Blocking: true}
	if r.Problem.Retry > 0 {
		// Also an invalid reference: what it names outside Kubernetes sends no
		// event when it appears.
		p.wake(p.s.Now.Add(r.Problem.Retry))
	}
	switch r.Problem.Class {
	case rollout.ProblemInvalid:
		if !r.Releasing {
			p.invalid(r.Path, "%s", r.Problem.Error())
		}
		return
	case rollout.ProblemWaiting:
		h.Blocking = false
		h.EndedBy = "the plugin's answer"
	case rollout.ProblemConflict:
		h.EndedBy = "the other Rollout giving up the backend"
	case rollout.ProblemRefused:
		h.EndedBy = "a change of the grant, the permission or the object the message names"
	default:
		h.EndedBy = "the plugin being installed and ready"
	}
	p.hold(h)
	if !r.Releasing {
		p.veto = true
	}
}

// active are the routers of the spec.
func (p *planner) active() []rollout.Router {
	var out []rollout.Router
	for _, r := range p.s.Routers {
		if !r.Releasing {
			out = append(out, r)
		}
	}
	return out
}

// desired is the whole traffic a router should carry at a canary weight.
func (p *planner) desired(r rollout.Router, weight int32) rollout.Traffic {
	var names []string
	if e := p.remembered(r); e != nil {
		names = e.ManagedRoutes
	}
	shares, rest := p.experimental(r), p.total-weight
	for _, d := range shares {
		rest -= d.Weight
	}
	if rest < 0 {
		shares, rest = nil, p.total-weight
	}
	stable := rollout.Destination{Role: rollout.RoleStable, Service: p.canary.StableService, Hash: p.stable, Weight: rest}
	canary := rollout.Destination{Role: rollout.RoleCanary, Service: p.canary.CanaryService, Hash: p.behindCanary(), Weight: weight}
	if r.Subsets() {
		stable.Service, stable.Hash = "", p.pointing(r, rollout.RoleStable)
		canary.Service, canary.Hash = "", p.pointing(r, rollout.RoleCanary)
	}
	return rollout.Traffic{
		TotalWeight:  p.total,
		Destinations: append([]rollout.Destination{stable, canary}, shares...),
		Managed:      p.managed(r),
		ManagedNames: names,
	}
}

// settled reports that every router carries exactly this weight, the data
// plane serves it, and the settle time has passed.
func (p *planner) settled(weight int32) bool {
	for _, r := range p.active() {
		if !r.Known() || !r.Observation.Matches(p.desired(r, weight)) || !p.converged(r) {
			return false
		}
	}
	return true
}

// serves reports that the wanted revision gets exactly this weight: the canary
// name may still reach another one. With spec.replicas 0 nobody can serve
// anything, and nothing waits for it.
func (p *planner) serves(weight int32) bool {
	if p.want == 0 {
		return true
	}
	if !p.routed() {
		return p.left() // the ratio of pods is the weight
	}
	return p.settled(weight) && (weight == 0 || p.behind(rollout.RoleCanary, p.hash) == p.hash)
}

// converged reports that the data plane serves the objects as they are and
// that the settle time has passed since. A data plane that reports nothing
// converges when the configured drain delay has passed.
func (p *planner) converged(r rollout.Router) bool {
	if r.Observation.Convergence == rollout.ConvergencePending {
		return false
	}
	if r.Observation.Settle == 0 {
		return true
	}
	e := p.noted(r)
	return e != nil && e.SettledSince != nil && !p.s.Now.Before(e.SettledSince.Add(r.Observation.Settle)) && !p.edited(r)
}

// clock notes since when the observation equals what is wanted.
func (p *planner) clock(r rollout.Router, matches bool) {
	entry, stored := p.remembered(r), p.noted(r)
	if entry == nil {
		return
	}
	if !matches || r.Observation.Settle == 0 || r.Observation.Convergence == rollout.ConvergencePending {
		entry.SettledSince = nil
		return
	}
	if stored != nil && stored.SettledSince != nil && !p.edited(r) {
		if end := stored.SettledSince.Add(r.Observation.Settle); p.s.Now.Before(end) {
			p.wake(end)
		}
		return
	}
	now := metav1.NewTime(p.s.Now.Truncate(time.Second).Add(time.Second)) // status keeps whole seconds: never early
	entry.SettledSince = &now
	p.wake(now.Add(r.Observation.Settle))
}

// invalid records the first problem of the spec and vetoes everything that
// raises.
func (p *planner) invalid(path, format string, args ...any) {
	p.veto = true
	if p.plan.Invalid == "" {
		p.plan.Invalid = fmt.Sprintf("The Rollout %q is invalid: %s: %s", p.ro.Name, path, fmt.Sprintf(format, args...))
	}
}
