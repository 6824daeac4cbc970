package decide

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

const trafficRoutingPath = "spec.strategy.canary.trafficRouting"

// validRoutes checks setHeaderRoute and setMirrorRoute of a step; an empty match
// removes the route.
func (p *planner) validRoutes(at string, step v1alpha1.CanaryStep) {
	if route := step.SetHeaderRoute; route != nil {
		at := at + ".setHeaderRoute"
		for i, m := range route.Match {
			p.validMatch(fmt.Sprintf("%s.match[%d].headerValue", at, i), m.HeaderValue, 1)
			if m.HeaderName == "" {
				p.invalid(fmt.Sprintf("%s.match[%d].headerName", at, i), "is empty; name the header")
			}
		}
		p.validRouteName(at, route.Name)
	}
	if route := step.SetMirrorRoute; route != nil {
		p.validMirror(at+".setMirrorRoute", *route)
		p.validRouteName(at+".setMirrorRoute", route.Name)
	}
}

func (p *planner) validRouteName(at, name string) {
	tr := p.canary.TrafficRouting
	switch {
	case tr == nil:
		p.invalid(at, "needs %s; add a router, or remove the step", trafficRoutingPath)
	case name == "":
		p.invalid(at+".name", "is empty; name a route of %s.managedRoutes", trafficRoutingPath)
	case !slices.ContainsFunc(tr.ManagedRoutes, func(m v1alpha1.ManagedRoute) bool { return m.Name == name }):
		p.invalid(at+".name", "%q is not in %s.managedRoutes; add it there, highest priority first", name, trafficRoutingPath)
	}
}

func (p *planner) validMirror(at string, route v1alpha1.SetMirrorRoute) {
	if share := route.PercentageOrDefault(); share < 0 || share > 100 {
		p.invalid(at+".percentage", "%d is not between 0 and 100", share)
	}
	for i, m := range route.Match {
		if m.Method != nil {
			p.validMatch(fmt.Sprintf("%s.match[%d].method", at, i), m.Method, 1)
		}
		if m.Path != nil {
			p.validMatch(fmt.Sprintf("%s.match[%d].path", at, i), m.Path, 1)
		}
		for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
			value := m.Headers[name]
			p.validMatch(fmt.Sprintf("%s.match[%d].headers[%s]", at, i, name), &value, 0)
		}
	}
}

// validMatch: at most one of the three ways to match, and at least so many.
func (p *planner) validMatch(at string, m *v1alpha1.StringMatch, least int) {
	n := 0
	if m != nil {
		for _, set := range []string{m.Exact, m.Prefix, m.Regex} {
			if set != "" {
				n++
			}
		}
	}
	if n > 1 || n < least {
		p.invalid(at, "sets %d of exact, prefix and regex; set one", n)
	}
}

// validCapabilities: what the steps will ever ask for, every router must be able
// to do, before the first weight moves. An update that was accepted and whose
// plugin has lost a capability since is held up instead.
func (p *planner) validCapabilities() {
	e := rollout.EnvelopeOf(p.ro)
	for _, r := range p.active() {
		if r.Problem != nil {
			continue // who cannot be asked is held, or refused, for that
		}
		if lacks := lacking(e, r.Capabilities); lacks != "" {
			p.incapable(r, lacks)
		}
	}
}

func (p *planner) incapable(r rollout.Router, lacks string) {
	st := p.ro.Status
	if st.CurrentPodHash != p.plan.Hash || st.CurrentStepHash != p.plan.StepHash {
		p.invalid(r.Path, "plugin %s cannot do %s, which the steps need; use another router or other steps", r.Plugin, lacks)
		return
	}
	p.veto = true
	p.hold(rollout.Hold{Reason: rollout.HoldPluginRefused, Blocking: true,
		What:    fmt.Sprintf("plugin %s can no longer do %s, which the steps need", r.Plugin, lacks),
		EndedBy: "a version of the plugin that can, other steps, or an abort"})
}

// lacking is the first thing a router cannot do, "" when it can do everything.
func lacking(e rollout.Envelope, can rollout.Capabilities) string {
	header := slices.ContainsFunc(e.ManagedRoutes, func(m rollout.ManagedRoute) bool { return m.Mirror == nil })
	mirror := slices.ContainsFunc(e.ManagedRoutes, func(m rollout.ManagedRoute) bool { return m.Mirror != nil })
	switch {
	case header && !can.HeaderRoutes:
		return "setHeaderRoute"
	case mirror && !can.MirrorRoutes:
		return "setMirrorRoute"
	case e.MaxDestinations > 0 && !can.Experiments:
		return "weights of experiment templates"
	case e.TotalWeight != v1alpha1.DefaultMaxTrafficWeight && !can.MaxWeight:
		return fmt.Sprintf("maxTrafficWeight %d", e.TotalWeight)
	}
	return ""
}
