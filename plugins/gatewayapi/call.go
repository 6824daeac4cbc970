package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// call is what a call works on: the configuration, and the routes it is about.
type call struct {
	settings
	services

	// rollout is the name under which routes record what they owe to it.
	rollout string
	// names are those of all managed routes the plugin may touch.
	names []string
	// selected are the routes the configuration names, in its order.
	selected []steered
	// left are routes held from an earlier configuration that does not name them any more, and such as have lost the rules
	// that split. They go back to stable.
	left []steered
}

// steered is a route with the rules the rollout steers.
type steered struct {
	object *objects.Typed[route]
	own    owned
	// splits is empty only for a route that is to be left, or being released, and has nothing to give back.
	splits []split
	// headers: managed routes go here too.
	headers bool
	// sticks: sessions in the rules that split are the plugin's.
	sticks bool
	// path is where the configuration names the route.
	path string
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

// subject is on whose behalf a call is made.
type subject struct {
	services

	target plugin.Target
	names  []string
	// kept is, in a release, what the rollout goes on steering.
	kept trafficrouter.Claims
}

// read reads configuration and routes. Its errors are those of the contract.
func read(in *objects.Inputs, raw []byte, of subject, m mode) (*call, error) {
	checked, err := parseConfig(raw, of.namespace)
	if err != nil {
		return nil, err
	}
	if err := of.check(); err != nil {
		return nil, err
	}
	c := &call{settings: checked, services: of.services, rollout: of.target.Namespace + "/" + of.target.Name, names: of.names}
	for _, selected := range c.routes {
		in.Want(selected.need)
	}
	if err := in.Missing(); err != nil {
		return nil, err
	}

	known, unusable := map[objects.Ref]bool{}, error(nil)
	for _, selected := range c.routes {
		found, err := c.find(in, selected)
		if err != nil {
			if m == strict || !plugin.IsReferenceNotFound(err) {
				return nil, err
			}
			unusable = cmp.Or(unusable, err)

			continue
		}
		for _, r := range found {
			err := c.take(r, known, m)
			if err != nil && m == strict {
				return nil, err
			}
			unusable = cmp.Or(unusable, err)
		}
	}
	if err := c.readLeft(in, known); err != nil {
		return nil, err
	}
	if m == partial && len(c.selected) == 0 && !c.gives() {
		return nil, unusable
	}
	keeps := func(r steered) bool { return of.kept.On(r.object.Ref) }
	c.selected, c.left = slices.DeleteFunc(c.selected, keeps), slices.DeleteFunc(c.left, keeps)

	return c, nil
}

// find gets the routes of a selection. An error that is not about a missing one says that they cannot be shown yet.
func (c *call) find(in *objects.Inputs, s selection) ([]steered, error) {
	var found []*objects.Typed[route]
	if s.need.Name != "" {
		one, err := objects.Get[route](in, s.need)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: create it or correct the name", s.path, err)
		}
		found = append(found, one)
	} else {
		all, err := objects.List[route](in, s.need)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("%s: %w: no label matches", s.path, plugin.ReferenceNotFound(s.need.Kind, s.need.Namespace, s.need.Selector))
		}
		found = all
	}
	out := make([]steered, 0, len(found))
	for _, one := range found {
		out = append(out, steered{object: one, headers: s.headers, path: s.path})
	}

	return out, nil
}

// take adds a route to those the call is about, unless it is one of them already. The error is the user's to repair.
func (c *call) take(r steered, known map[objects.Ref]bool, m mode) error {
	if known[r.object.Ref] {
		return nil
	}
	known[r.object.Ref] = true
	r.own = readOwned(r.object, c.rollout, c.names)
	splits, err := findSplits(r.object, c.services, r.own)
	r.splits, r.sticks = splits, c.sticky != nil || r.own.Session != ""
	switch {
	case err == nil || m == lenient:
		c.selected = append(c.selected, r)
	case len(r.own.routes)+len(r.own.Services) > 0:
		// The rules it split by are gone, and what was added to them is not: that goes as well.
		c.left = append(c.left, r)
	}
	if err != nil {
		return plugin.InvalidConfig(r.path, "%v", err)
	}

	return nil
}

// toRoute are the selected routes a request is about. A release is about those the router still holds: an edited
// configuration may steer the others by now. Without any such mark it is about all.
func (c *call) toRoute(release bool) []steered {
	held := slices.DeleteFunc(slices.Clone(c.selected), func(r steered) bool { return !r.object.Held })
	if release && len(held) > 0 {
		return held
	}

	return c.selected
}

// gives reports whether a route that is to be left still has something of the rollout.
func (c *call) gives() bool {
	return slices.ContainsFunc(c.left, func(r steered) bool { return len(r.splits)+len(r.own.routes)+len(r.own.Services) > 0 })
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
			r := steered{object: object, own: readOwned(object, c.rollout, nil)}
			// A route that no longer splits is its author's again.
			r.splits, _ = findSplits(object, c.services, r.own)
			r.sticks = r.own.Session != ""
			c.left = append(c.left, r)
		}
	}

	return nil
}

func subjectOf(target plugin.Target, names []string) subject {
	return subject{services: services{target.Namespace, target.StableService, target.CanaryService}, target: target, names: names}
}

// named prefers the names a desired state gives its destinations. Empty: the target's stays.
func (s subject) named(stable, canary string) subject {
	s.services = services{s.namespace, cmp.Or(stable, s.stable), cmp.Or(canary, s.canary)}

	return s
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

// desired is the state a route has to reach for a traffic.
func (c *call) desired(want trafficrouter.Traffic, ports map[string]int32) state {
	s := state{routes: want.ManagedRoutes, ports: ports}
	for _, d := range want.Destinations {
		switch d.Role {
		case trafficrouter.RoleStable:
			s.stable = d.Weight
		case trafficrouter.RoleCanary:
			s.canary = d.Weight
			if c.sticky != nil && d.Weight > 0 {
				s.session = c.sticky.name(d.PodTemplateHash)
			}
		case trafficrouter.RoleExperiment:
			s.experiments = append(s.experiments, share{d.Service, d.Weight})
		case trafficrouter.RoleUnknown:
		}
	}

	return s
}
