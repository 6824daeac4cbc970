package decide

import (
	"slices"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// opened are the managed routes the position asks for: those that the current
// step and the ones before it have set. Full promotion, like an abort, does
// without them.
func (p *planner) opened() []rollout.ManagedRoute {
	if !p.moving() || p.aborted() || p.hurried() {
		return nil
	}
	return rollout.ManagedAt(p.canary, p.index)
}

// reached reports that the canary name leads to pods of the new revision, so
// that a managed route can be served.
func (p *planner) reached() bool {
	return p.moving() && !p.lagging() && rollout.Available(p.newRS) > 0 && p.behind(rollout.RoleCanary, p.hash) == p.hash
}

// managed are the managed routes a router should have now. Where nothing may go
// forward, what is there stays.
func (p *planner) managed(r rollout.Router) []rollout.ManagedRoute {
	want := p.opened()
	if len(want) == 0 && p.plan.Invalid == "" || !p.reached() || p.aborted() || p.hurried() {
		return nil
	}
	switch {
	case p.plan.Invalid != "":
		return p.present(r) // the steps may be what is wrong
	case p.halted() && p.opens(r, want):
		return rollout.ManagedAt(p.canary, p.index-1)
	case p.opens(r, want) && (!p.mayOpen() || p.justTurned(r, want)):
		return intersect(want, p.present(r))
	}
	return want
}

// present are the managed routes that every place of the router has.
func (p *planner) present(r rollout.Router) []rollout.ManagedRoute {
	var out []rollout.ManagedRoute
	for i, at := range r.Observation.Observed {
		if i == 0 {
			out = slices.Clone(at.Traffic.Managed)
		} else {
			out = intersect(out, at.Traffic.Managed)
		}
	}
	return out
}

// opens reports that some place lacks one of the routes, or has it with other
// content.
func (p *planner) opens(r rollout.Router, want []rollout.ManagedRoute) bool {
	return len(intersect(want, p.present(r))) < len(want)
}

func intersect(a, b []rollout.ManagedRoute) []rollout.ManagedRoute {
	var out []rollout.ManagedRoute
	for _, m := range a {
		if slices.ContainsFunc(b, func(o rollout.ManagedRoute) bool { return o.Content() == m.Content() }) {
			out = append(out, m)
		}
	}
	return out
}

// mayOpen holds a managed route back until there is a pod that answers: it
// carries traffic whatever the weight is (I2, I9).
func (p *planner) mayOpen() bool {
	return !p.veto && !p.blind && !p.moved() && p.enough(p.newRS, 1)
}

// routesServed reports that every router has the managed routes of this
// position, and that the data plane serves them.
func (p *planner) routesServed() bool {
	if p.want == 0 {
		return true // nobody can serve anything, and nothing waits for it
	}
	want, served := p.opened(), p.settled(p.due())
	for _, r := range p.active() {
		served = served && !p.opens(r, want)
	}
	if served && (len(want) == 0 || p.reached()) {
		return true
	}
	p.hold(rollout.Hold{Reason: rollout.HoldWaitingForTraffic, What: "step " + p.stepName() + " waits for its route to be served",
		EndedBy: "a pod of the new revision, and the routers, being ready"})
	return false
}

// routePods is the least the new revision needs for managed routes: a route to
// no pod would fail every request that matches it.
func (p *planner) routePods() int32 {
	if len(p.opened()) == 0 {
		return 0
	}
	return p.atLeast(min(1, p.want))
}
