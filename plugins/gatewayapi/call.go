package main

import (
	"cmp"
	"fmt"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// call is what a call works on: the configuration, and the routes it is about.
type call struct {
	settings
	services

	// selected are the routes the configuration names, in its order.
	selected []steered
	// left are routes held from an earlier configuration that does not name them any more. They go back to stable.
	left []steered
}

// steered is a route with the rules the rollout steers.
type steered struct {
	object *objects.Typed[route]
	// splits is empty only for a route that is to be left, or being released, and has nothing to give back.
	splits []split
}

// mode says what to make of a route that is not there or does not split.
type mode int

const (
	// strict: it is the user's to repair.
	strict mode = iota
	// partial: the other routes go on. An abort must reach them, and a release must not forget them.
	partial
	// lenient: it holds nothing that could be given back.
	lenient
)

// read reads configuration and routes. Its errors are those of the contract.
func read(in *objects.Inputs, raw []byte, s services, m mode) (*call, error) {
	checked, err := parseConfig(raw, s.namespace)
	if err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	c := &call{settings: checked, services: s}
	for _, selected := range c.routes {
		in.Want(selected.need)
	}
	if err := in.Missing(); err != nil {
		return nil, err
	}

	known, unusable := map[objects.Ref]bool{}, error(nil)
	for _, selected := range c.routes {
		object, splits, err := c.find(in, selected)
		if err != nil && (m == strict || object == nil && !plugin.IsReferenceNotFound(err)) {
			return nil, err
		}
		unusable = cmp.Or(unusable, err)
		if object == nil || err != nil && m == partial {
			continue
		}
		known[object.Ref] = true
		c.selected = append(c.selected, steered{object, splits})
	}
	if err := c.readLeft(in, known); err != nil {
		return nil, err
	}
	if m == partial && len(c.selected) == 0 && !c.gives() {
		return nil, unusable
	}

	return c, nil
}

// find gets a selected route and its splits. The error is the user's to repair, unless it has no object and is not about a
// missing one.
func (c *call) find(in *objects.Inputs, selected selection) (*objects.Typed[route], []split, error) {
	object, err := objects.Get[route](in, selected.need)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w: create it or correct the name", selected.path, err)
	}
	splits, err := findSplits(object, c.services)
	if err != nil {
		return object, nil, plugin.InvalidConfig(selected.path, "%v", err)
	}

	return object, splits, nil
}

// toRoute are the selected routes a request is about. A release is about those the router still holds: an edited
// configuration may steer the others by now. Without any such mark it is about all.
func (c *call) toRoute(release bool) []steered {
	var held []steered
	for _, r := range c.selected {
		if r.object.Held {
			held = append(held, r)
		}
	}
	if release && len(held) > 0 {
		return held
	}

	return c.selected
}

// gives reports whether a route that is to be left still splits.
func (c *call) gives() bool {
	for _, r := range c.left {
		if len(r.splits) > 0 {
			return true
		}
	}

	return false
}

// readLeft finds the routes that are held and not selected.
func (c *call) readLeft(in *objects.Inputs, selected map[objects.Ref]bool) error {
	for _, k := range (config{}).kinds() {
		held, err := objects.Held[route](in, group, k.kind)
		if err != nil {
			return err
		}
		for _, object := range held {
			if selected[object.Ref] {
				continue
			}
			// A route that no longer splits is its author's again.
			splits, _ := findSplits(object, c.services)
			c.left = append(c.left, steered{object, splits})
		}
	}

	return nil
}

func servicesOf(target plugin.Target) services {
	return services{target.Namespace, target.StableService, target.CanaryService}
}

// named prefers the names a desired state gives its destinations. Empty: the target's stays.
func (s services) named(stable, canary string) services {
	return services{s.namespace, cmp.Or(stable, s.stable), cmp.Or(canary, s.canary)}
}

// check refuses a rollout without two Services to split between.
func (s services) check() error {
	switch {
	case s.stable == "" || s.canary == "":
		return plugin.InvalidConfig("", "the rollout names no two Services to split traffic between: "+
			"set spec.strategy.canary.stableService and canaryService")
	case s.stable == s.canary:
		return plugin.InvalidConfig("", "stable and canary Service are both %q: traffic cannot be split between a Service "+
			"and itself", s.stable)
	default:
		return nil
	}
}

// observe returns what the rules of a selected route do. A mark that is left although no canary gets traffic is reported
// with the first of them.
func (c *call) observe(r steered, total int32) []trafficrouter.Observed {
	var (
		observed   []trafficrouter.Observed
		inProgress bool
	)
	for _, s := range r.splits {
		inProgress = inProgress || s.canary > 0
		observed = append(observed, c.observeSplit(r, s, total))
	}
	if len(observed) > 0 {
		observed[0].Residue = !inProgress && marked(r.object.View, c.label)
	}

	return observed
}

// observeLeft returns what is left of the rollout in a route it has to leave, and nothing once that is gone.
func (c *call) observeLeft(r steered, total int32) []trafficrouter.Observed {
	var (
		observed []trafficrouter.Observed
		mark     = marked(r.object.View, c.label)
	)
	for _, s := range r.splits {
		if mark || s.shares(total) != (weights{stable: total}) {
			one := c.observeSplit(r, s, total)
			one.Residue = true
			observed = append(observed, one)
		}
	}

	return observed
}

func (c *call) observeSplit(r steered, s split, total int32) trafficrouter.Observed {
	w := s.shares(total)

	return trafficrouter.Observed{Place: place(r.object, s), Traffic: trafficrouter.Traffic{
		TotalWeight: total,
		Destinations: []trafficrouter.Destination{
			{Role: trafficrouter.RoleStable, Service: c.stable, Weight: w.stable},
			{Role: trafficrouter.RoleCanary, Service: c.canary, Weight: w.canary},
		},
	}}
}

func (c *call) claims(r steered) []trafficrouter.Claim {
	var claims []trafficrouter.Claim
	for _, s := range r.splits {
		for _, key := range claimKeys(r.object, s, c.services) {
			claims = append(claims, trafficrouter.Claim{Object: r.object.Ref, Key: key})
		}
	}

	return claims
}
