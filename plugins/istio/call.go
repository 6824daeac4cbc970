package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// call is what a call works on: the configuration, and the objects it is about.
type call struct {
	settings
	ends

	stableService, canaryService string
	// rollout is the name under which objects record what they owe to it.
	rollout string
	// names are those of all managed routes the plugin may touch.
	names []string
	// kept is, in a release, what the rollout goes on steering.
	kept trafficrouter.Claims
	// subsets are nil for a split between Services.
	subsets *subsets
	// selected are the VirtualServices the configuration names, in its order.
	selected []steered
	// left are VirtualServices held from an earlier configuration. They go back to stable.
	left []steered
}

// steered is a VirtualService with the routes the rollout steers.
type steered struct {
	object *objects.Typed[virtualService]
	own    owned
	splits []split
	path   string
	// shared: the rollout goes on steering other routes of the object. What it has recorded there is theirs.
	shared bool
}

// mode says what to make of a VirtualService that is not there or does not split.
type mode int

const (
	// strict: it is the user's to repair.
	strict mode = iota
	// partial: the others go on, since an abort must reach them.
	partial
	// lenient: it holds nothing that could be given back.
	lenient
)

// subject is on whose behalf a call is made.
type subject struct {
	target         plugin.Target
	stable, canary string
	names          []string
	// kept is, in a release, what the rollout goes on steering.
	kept trafficrouter.Claims
}

func subjectOf(target plugin.Target, names []string, kept trafficrouter.Claims) subject {
	return subject{target, target.StableService, target.CanaryService, names, kept}
}

// read reads configuration and objects. Its errors are those of the contract.
func read(in *objects.Inputs, raw []byte, of subject, m mode) (*call, error) {
	checked, err := parseConfig(raw, of.target.Namespace)
	if err != nil {
		return nil, err
	}
	c := &call{settings: checked, stableService: of.stable, canaryService: of.canary, names: of.names, kept: of.kept,
		rollout: of.target.Namespace + "/" + of.target.Name, ends: ends{namespace: of.target.Namespace}}
	for _, s := range c.services {
		in.Want(s.need)
	}
	if c.rule != nil {
		in.Want(c.rule.need(c.namespace))
	}
	if err := in.Missing(); err != nil {
		return nil, err
	}
	if err := c.findEnds(in); err != nil {
		return nil, err
	}

	known, unusable := map[objects.Ref]bool{}, error(nil)
	for _, s := range c.services {
		object, err := objects.Get[virtualService](in, s.need)
		if err != nil {
			err = fmt.Errorf("%s.name: %w: create it or correct the name", s.path, err)
			if m == strict || !plugin.IsReferenceNotFound(err) {
				return nil, err
			}
			unusable = cmp.Or(unusable, err)

			continue
		}
		known[object.Ref] = true
		one, err := c.steer(object, s)
		if err != nil && m == strict {
			return nil, err
		}
		if err == nil || m == lenient {
			c.selected = append(c.selected, one)
		} else if !one.own.empty() {
			c.left = append(c.left, one)
		}
		unusable = cmp.Or(unusable, err)
	}
	if err := c.readLeft(in, known); err != nil {
		return nil, err
	}
	if m == partial && len(c.selected)+len(c.left) == 0 {
		return nil, unusable
	}
	c.selected, c.left = c.givenBack(c.selected), c.givenBack(c.left)

	return c, nil
}

// givenBack leaves out what is kept in a release. The rollout's own routes in an object of which something is kept are made
// from that, and follow it.
func (c *call) givenBack(all []steered) []steered {
	var out []steered
	for _, s := range all {
		if s.shared = c.kept.On(s.object.Ref); s.shared {
			s.splits = slices.DeleteFunc(s.splits, func(one split) bool {
				return one.own || slices.ContainsFunc(c.claimsOf(s, one), func(claim trafficrouter.Claim) bool { return c.kept.Has(claim.Object, claim.Key) })
			})
			s.own.routes, s.own.taken = nil, nil
		}
		if !s.shared || len(s.splits) > 0 {
			out = append(out, s)
		}
	}

	return out
}

// findEnds says what the rollout splits between: two Services, or two subsets of one host.
func (c *call) findEnds(in *objects.Inputs) error {
	rule, err := c.readRule(in)
	if err != nil {
		return err
	}
	if rule != nil {
		c.subsets = rule
		host := fullHost(rule.object.View.Spec.Host, rule.object.Ref.Namespace)
		c.ends = ends{host, host, c.rule.StableSubsetName, c.rule.CanarySubsetName, c.namespace}

		return nil
	}
	switch {
	case c.stableService == "" || c.canaryService == "":
		return plugin.InvalidConfig("", "the rollout names no two Services to split traffic between, and no destinationRule: "+
			"set spec.strategy.canary.stableService and canaryService, or destinationRule")
	case c.stableService == c.canaryService:
		return plugin.InvalidConfig("", "stable and canary Service are both %q: traffic cannot be split between a Service and itself", c.stableService)
	}
	c.stableHost, c.canaryHost = fullHost(c.stableService, c.namespace), fullHost(c.canaryService, c.namespace)

	return nil
}

func (c *call) steer(object *objects.Typed[virtualService], s selection) (steered, error) {
	one := steered{object: object, own: readOwned(object, c.rollout, c.names), path: s.path}
	splits, err := findSplits(object, s, c.ends, one.own)
	one.splits = splits

	return one, err
}

// readLeft finds the VirtualServices that are held and not selected.
func (c *call) readLeft(in *objects.Inputs, selected map[objects.Ref]bool) error {
	held, err := objects.Held[virtualService](in, group, "VirtualService")
	if err != nil {
		return err
	}
	for _, object := range held {
		if selected[object.Ref] {
			continue
		}
		one := steered{object: object, own: readOwned(object, c.rollout, nil)}
		for _, protocol := range protocols {
			for i := range object.View.routes(protocol) {
				// What no longer splits is its author's again.
				if s, err := splitOf(object, protocol, i, c.ends, one.own); err == nil {
					one.splits = append(one.splits, s)
				}
			}
		}
		c.left = append(c.left, one)
	}

	return nil
}

// toRoute are the selected VirtualServices a request is about: in a release those the router still holds, if it is known
// which.
func (c *call) toRoute(release bool) []steered {
	held := slices.DeleteFunc(slices.Clone(c.selected), func(s steered) bool { return !s.object.Held })
	if release && len(held) > 0 {
		return held
	}

	return c.selected
}

// carried are the most any route sends to either end, and whether a managed route sends to the canary.
func (c *call) carried() (most weights, routes bool) {
	for _, s := range slices.Concat(c.selected, c.left) {
		for _, one := range s.splits {
			most.stable, most.canary = max(most.stable, one.stable), max(most.canary, one.canary)
		}
		routes = routes || len(s.own.routes) > 0
	}

	return most, routes
}

// route brings one VirtualService to a state. Managed routes whose name is somebody else's are left out, so that weights
// still move.
func (c *call) route(s steered, want state) error {
	want.routes = slices.DeleteFunc(slices.Clone(want.routes), func(m trafficrouter.ManagedRoute) bool {
		return slices.Contains(s.own.taken, m.Name)
	})
	if err := c.reach(s, want); err != nil {
		return plugin.Blocked("%v", err)
	}

	return nil
}

func (s steered) takenError() error {
	if len(s.own.taken) == 0 {
		return nil
	}

	return plugin.Blocked("HTTP route %q of %v has the name of a managed route and is not recorded as one: remove it, or rename it",
		s.own.taken[0], s.object.Ref)
}

// checkEnvelope makes sure that every managed route of the steps can be made.
func (c *call) checkEnvelope(s steered, envelope trafficrouter.Envelope) error {
	for _, m := range envelope.ManagedRoutes {
		if !slices.ContainsFunc(s.splits, func(one split) bool { return one.protocol == "http" }) {
			return plugin.InvalidConfig(s.path, "steps set managed route %q, and %v splits no HTTP route", m.Name, s.object.Ref)
		}
		for i, r := range s.object.View.Spec.HTTP {
			if s.own.by[i] == "" && r.Name == m.Name {
				return plugin.InvalidConfig(s.path, "%v has an HTTP route %q already: rename it, or the managed route", s.object.Ref, m.Name)
			}
		}
		probe := &steered{object: s.object, own: s.own, splits: s.splits}
		if _, _, err := c.ownRoutes(*probe, c.sources(s), []trafficrouter.ManagedRoute{m}); err != nil {
			return plugin.InvalidConfig(s.path, "%v", err)
		}
	}

	return nil
}

func (c *call) sources(s steered) []source {
	var found []source
	for _, one := range s.splits {
		raw, _ := s.object.Value("spec", one.protocol, one.index)
		if tree, ok := raw.(map[string]any); ok && one.protocol == "http" && !one.own {
			found = append(found, source{tree, one})
		}
	}

	return found
}
