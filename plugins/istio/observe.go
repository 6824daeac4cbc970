package main

import (
	"fmt"
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// observe returns what the routes of a selected VirtualService do. What is left over or amiss is reported with the first.
func (c *call) observe(s steered) []trafficrouter.Observed {
	var observed []trafficrouter.Observed
	for _, one := range s.splits {
		observed = append(observed, trafficrouter.Observed{Place: place(s.object, one), Traffic: c.traffic(s, one)})
	}
	if len(observed) > 0 {
		observed[0].Residue = c.residue(s)
	}

	return observed
}

// residue says whether the VirtualService would change if it were asked for what it does already: something of the
// rollout's own is missing in it, edited, or left over.
func (c *call) residue(s steered) bool {
	want := state{keep: true, routes: s.own.routes}
	if s.shared { // No experiment is to be left in a route that is given back.
		return c.differs(s, want)
	}
	if len(s.splits) > 0 {
		want.experiments = s.splits[0].experiments
	}

	return c.differs(s, want)
}

// observeLeft returns what is left of the rollout in a VirtualService it has to leave, and nothing once that is gone.
func (c *call) observeLeft(s steered) []trafficrouter.Observed {
	if !c.differs(s, state{weights: weights{stable: total}}) {
		return nil
	}
	observed := c.observe(s)
	if len(observed) == 0 {
		observed = []trafficrouter.Observed{{
			Place: fmt.Sprintf("VirtualService/%s/%s", s.object.Ref.Namespace, s.object.Ref.Name),
			Traffic: trafficrouter.Traffic{TotalWeight: total, ManagedRoutes: s.own.routes, Destinations: []trafficrouter.Destination{
				{Role: trafficrouter.RoleStable, Service: c.stableService, Weight: total},
			}},
		}}
	}
	for i := range observed {
		observed[i].Residue = true
	}

	return observed
}

func (c *call) traffic(s steered, one split) trafficrouter.Traffic {
	w := one.found(s.asked(one))
	stable := trafficrouter.Destination{Role: trafficrouter.RoleStable, Service: c.stableService, Weight: w.stable}
	canary := trafficrouter.Destination{Role: trafficrouter.RoleCanary, Service: c.canaryService, Weight: w.canary}
	if c.subsets != nil { // What a Service selects does not matter then, and it carries nothing.
		stable.Service, stable.PodTemplateHash = "", c.subsets.hash(c.subsets.stable)
		canary.Service, canary.PodTemplateHash = "", c.subsets.hash(c.subsets.canary)
	}
	t := trafficrouter.Traffic{
		TotalWeight: total, ManagedRoutes: c.managed(s), Destinations: []trafficrouter.Destination{stable, canary},
	}
	for _, e := range w.experiments {
		t.Destinations = append(t.Destinations, trafficrouter.Destination{Role: trafficrouter.RoleExperiment, Service: e.service, Weight: e.weight})
	}

	return t
}

// managed are the managed routes that are there, and routes that only bear the name of one: they may take traffic like one.
func (c *call) managed(s steered) []trafficrouter.ManagedRoute {
	all := slices.Clone(s.own.routes)
	for _, name := range s.own.taken {
		all = append(all, trafficrouter.ManagedRoute{Name: name, Header: &trafficrouter.HeaderRoute{}})
	}

	return all
}

// claims are the destinations whose weights the rollout sets, and the names of its own routes.
func (c *call) claims(s steered) []trafficrouter.Claim {
	var claims []trafficrouter.Claim
	for _, one := range s.splits {
		claims = append(claims, c.claimsOf(s, one)...)
	}
	for _, name := range c.names {
		claims = append(claims, trafficrouter.Claim{Object: s.object.Ref, Key: "http=" + name})
	}

	return claims
}

// claimsOf are the destinations of one route, none if the route is the rollout's own.
func (c *call) claimsOf(s steered, one split) []trafficrouter.Claim {
	if one.own {
		return nil
	}
	at := []int{one.stableAt, one.canaryAt}
	slices.Sort(at) // Services that trade places change no claim.
	var claims []trafficrouter.Claim
	for _, i := range at {
		d := s.object.View.routes(one.protocol)[one.index].Route[i].Destination
		claims = append(claims, trafficrouter.Claim{Object: s.object.Ref, Key: fmt.Sprintf("%s=%s/destination=%s/%s",
			one.protocol, one.name, fullHost(d.Host, s.object.Ref.Namespace), d.Subset)})
	}

	return claims
}
