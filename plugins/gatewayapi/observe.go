package main

import (
	"fmt"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// managed are the managed routes as the routes have them that take any. One that takes none, such as a TCPRoute, has
// nothing to say about them and repeats what the others say.
func (c *call) managed(r steered) []trafficrouter.ManagedRoute {
	if r.headers {
		return routesOf(r.own)
	}
	for _, other := range c.selected {
		if other.headers {
			return routesOf(other.own)
		}
	}

	return nil
}

// routesOf adds to the recorded routes the rules that only bear the name of one: they may take traffic like one.
func routesOf(own owned) []trafficrouter.ManagedRoute {
	all := append([]trafficrouter.ManagedRoute(nil), own.routes...)
	for _, name := range own.taken {
		all = append(all, trafficrouter.ManagedRoute{Name: name, Header: &trafficrouter.HeaderRoute{}})
	}

	return all
}

// observe returns what the rules of a selected route do. What is left over or amiss is reported with the first of them.
func (c *call) observe(r steered, total int32) []trafficrouter.Observed {
	var observed []trafficrouter.Observed
	for _, s := range r.splits {
		observed = append(observed, c.observeSplit(r, s, total))
	}
	if len(observed) > 0 {
		observed[0].Residue = c.residue(r)
	}

	return observed
}

// observeLeft returns what is left of the rollout in a route it has to leave, and nothing once that is gone.
func (c *call) observeLeft(r steered, total int32) []trafficrouter.Observed {
	if !c.differs(r, state{weights: weights{stable: total}}) {
		return nil
	}
	observed := make([]trafficrouter.Observed, 0, len(r.splits)+1)
	for _, s := range r.splits {
		one := c.observeSplit(r, s, total)
		one.Residue, one.Traffic.ManagedRoutes = true, r.own.routes
		observed = append(observed, one)
	}
	if len(observed) == 0 {
		observed = append(observed, trafficrouter.Observed{
			Place:   fmt.Sprintf("%s/%s/%s", r.object.Ref.Kind, r.object.Ref.Namespace, r.object.Ref.Name),
			Residue: true,
			Traffic: trafficrouter.Traffic{TotalWeight: total, ManagedRoutes: r.own.routes, Destinations: []trafficrouter.Destination{
				{Role: trafficrouter.RoleStable, Service: c.stable, Weight: total},
			}},
		})
	}

	return observed
}

func (c *call) observeSplit(r steered, s split, total int32) trafficrouter.Observed {
	w := s.shares(total)
	observed := trafficrouter.Observed{Place: place(r.object, s), Traffic: trafficrouter.Traffic{
		TotalWeight:   total,
		ManagedRoutes: c.managed(r),
		Destinations: []trafficrouter.Destination{
			{Role: trafficrouter.RoleStable, Service: c.stable, Weight: w.stable},
			{Role: trafficrouter.RoleCanary, Service: c.canary, Weight: w.canary},
		},
	}}
	for _, e := range w.experiments {
		observed.Traffic.Destinations = append(observed.Traffic.Destinations,
			trafficrouter.Destination{Role: trafficrouter.RoleExperiment, Service: e.service, Weight: e.weight})
	}

	return observed
}

// claims are the backendRefs whose weights the rollout sets, and the names of its own rules.
func (c *call) claims(r steered) []trafficrouter.Claim {
	var claims []trafficrouter.Claim
	claim := func(key string) {
		claims = append(claims, trafficrouter.Claim{Object: r.object.Ref, Key: key})
	}
	for _, s := range r.splits {
		if s.own {
			continue
		}
		for _, key := range claimKeys(r.object, s, c.services) {
			claim(key)
		}
	}
	if r.headers {
		for _, name := range c.names {
			claim("rule=" + name)
		}
	}

	return claims
}

// remarks are what a person should know about a route although it works.
func (c *call) remarks(r steered) string {
	switch {
	case len(r.own.taken) > 0:
		return fmt.Sprintf("rule %q of %v has the name of a managed route and is not recorded as one: remove the rule, or rename it",
			r.own.taken[0], r.object.Ref)
	case r.own.nameless:
		return fmt.Sprintf("the API server drops rules[].name of %v, so the managed routes in it are only recognised by their content: "+
			"install the CRDs of Gateway API 1.4 or newer", r.object.Ref)
	case r.dropped():
		return fmt.Sprintf("the API server drops sessionPersistence of %v, so the canary is not sticky: install the experimental "+
			"channel of the Gateway API CRDs, or remove stickyCanary", r.object.Ref)
	default:
		return ""
	}
}

// ports gets the ports under which the Services of experiments are reached.
func (c *call) ports(in *objects.Inputs, want trafficrouter.Traffic) (map[string]int32, error) {
	var services []string
	for _, d := range want.Destinations {
		if d.Role == trafficrouter.RoleExperiment {
			services = append(services, d.Service)
		}
	}

	return trafficrouter.ExperimentPorts(in, c.namespace, services, c.backendPort())
}

// backendPort is the port under which the routes reach the canary.
func (c *call) backendPort() int32 {
	for _, r := range c.selected {
		for _, s := range r.splits {
			return portOf(r.object.View.Spec.Rules[s.rule].BackendRefs[s.pairs[0].canary])
		}
	}

	return 0
}
