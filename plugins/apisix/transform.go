package main

import (
	"fmt"
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// total is what weights add up to.
const total = 100

// apisixRoute is a view for reading: edits go to the object itself, so that what is not in here stays.
type apisixRoute struct {
	Metadata struct {
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		HTTP []rule `json:"http"`
	} `json:"spec"`
}

type rule struct {
	Name     string    `json:"name"`
	Priority int64     `json:"priority"`
	Backends []backend `json:"backends"`
}

type backend struct {
	ServiceName string `json:"serviceName"`
	Weight      *int32 `json:"weight"`
}

// weight is APISIX's: 100 where nothing is said.
func (b backend) weight() int32 {
	if b.Weight == nil {
		return 100
	}

	return max(*b.Weight, 0)
}

// ends are the two Services a rollout splits between.
type ends struct{ stable, canary string }

// weights are what the two backends get.
type weights struct{ stable, canary int32 }

// split is a rule that the rollout steers.
type split struct {
	name  string
	index int
	// stableAt, canaryAt are indices of backends, -1 for one that is not there.
	stableAt, canaryAt int
	stable, canary     int32
	// others is the weight of everybody else's backends, which stays.
	others int32
}

// call is what a call works on.
type call struct {
	settings
	ends

	target plugin.Target
	object *objects.Typed[apisixRoute]
	splits []split
	// own are the ApisixRoutes that bear the names of managed routes, by name.
	own   map[string]*objects.Typed[apisixRoute]
	names []string
}

// read reads configuration and objects, without what is kept in a release. Its errors are those of the contract.
func read(in *objects.Inputs, raw []byte, of plugin.Target, e ends, names []string, kept trafficrouter.Claims) (*call, error) {
	checked, err := parseConfig(raw, of.Namespace)
	if err != nil {
		return nil, err
	}
	c := &call{settings: checked, ends: e, target: of, own: map[string]*objects.Typed[apisixRoute]{}}
	in.Want(c.need)
	for _, name := range names {
		if name != c.need.Name && !slices.Contains(c.names, name) && !kept.Has(refOf(of.Namespace, name), "spec") {
			c.names = append(c.names, name)
			in.Want(needOf(of.Namespace, name))
		}
	}
	if err := in.Missing(); err != nil {
		return nil, err
	}
	if c.object, err = objects.Get[apisixRoute](in, c.need); err != nil {
		return nil, fmt.Errorf("route.name: %w: create it or correct the name", err)
	}
	for _, name := range c.names {
		found, err := objects.List[apisixRoute](in, needOf(of.Namespace, name))
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			c.own[name] = found[0]
		}
	}
	if e.stable == "" || e.canary == "" || e.stable == e.canary {
		return nil, plugin.InvalidConfig("", "stable Service %q and canary Service %q: traffic is split between two Services; "+
			"set spec.strategy.canary.stableService and canaryService", e.stable, e.canary)
	}

	err = c.choose()
	c.splits = slices.DeleteFunc(c.splits, func(s split) bool {
		return slices.ContainsFunc(c.claimsOf(s), func(one trafficrouter.Claim) bool { return kept.Has(one.Object, one.Key) })
	})

	return c, err
}

// choose finds the rules that the configuration means.
func (c *call) choose() error {
	rules := c.object.View.Spec.HTTP
	names := c.rules
	if len(names) == 0 {
		switch at := slices.IndexFunc(rules, func(r rule) bool { return r.Name == c.object.Ref.Name }); {
		case at >= 0:
			names = []string{rules[at].Name}
		case len(rules) == 1:
			names = []string{rules[0].Name}
		default:
			return plugin.InvalidConfig("route.rules", "is empty, and %v has %d HTTP rules, none of them named like it: name those to split",
				c.object.Ref, len(rules))
		}
	}
	for i, name := range names {
		at := slices.IndexFunc(rules, func(r rule) bool { return r.Name == name })
		if at < 0 {
			return plugin.InvalidConfig(fmt.Sprintf("route.rules[%d]", i), "%v has no HTTP rule %q: correct the name", c.object.Ref, name)
		}
		one := split{name: name, index: at, stableAt: -1, canaryAt: -1}
		for j, b := range rules[at].Backends {
			switch {
			case b.ServiceName == c.ends.stable && one.stableAt < 0:
				one.stableAt, one.stable = j, b.weight()
			case b.ServiceName == c.ends.canary && one.canaryAt < 0:
				one.canaryAt, one.canary = j, b.weight()
			default:
				one.others += b.weight()
			}
		}
		if one.stableAt < 0 && one.canaryAt < 0 {
			return c.lacks(one, c.stable)
		}
		c.splits = append(c.splits, one)
	}

	return nil
}

func (c *call) lacks(s split, service string) error {
	return plugin.InvalidConfig("route", "HTTP rule %q of %v has no backend for Service %q: add one, with weight 0 for the canary",
		s.name, c.object.Ref, service)
}

// check refuses what can be seen to be wrong before anything moves.
func (c *call) check() error {
	for _, s := range c.splits {
		switch backends := c.object.View.Spec.HTTP[s.index].Backends; {
		case s.stableAt < 0:
			return c.lacks(s, c.stable)
		case s.canaryAt < 0:
			return c.lacks(s, c.canary)
		case slices.ContainsFunc(backends[max(s.stableAt, s.canaryAt)+1:], func(b backend) bool {
			return b.ServiceName == c.stable || b.ServiceName == c.canary
		}):
			return plugin.InvalidConfig("route", "HTTP rule %q of %v has several backends for one of the Services %q and %q: keep one each",
				s.name, c.object.Ref, c.stable, c.canary)
		case s.others > 0 && s.stable+s.canary != total:
			return plugin.InvalidConfig("route", "weights of %q and %q in HTTP rule %q of %v sum to %d: beside backends of others they have to "+
				"sum to %d, or the first step would change the others' share", c.stable, c.canary, s.name, c.object.Ref, s.stable+s.canary, total)
		}
	}

	return nil
}

// found is what the two backends get of 100 that the rollout has. A backend that gets anything never shows as 0.
func (c *call) found(s split) weights {
	all := trafficrouter.Normalize(total, s.stable, s.canary)

	return weights{all[0], all[1]}
}

// reach edits the weights of all rules. The same split in other numbers is left alone, unless others have a share as well.
func (c *call) reach(want weights) error {
	for _, s := range c.splits {
		if c.found(s) == want && (s.others == 0 || s.stable+s.canary == total) {
			continue
		}
		for _, end := range []struct {
			at           int
			have, weight int32
			service      string
		}{{s.stableAt, s.stable, want.stable, c.stable}, {s.canaryAt, s.canary, want.canary, c.canary}} {
			switch {
			case end.at < 0 && end.weight > 0:
				return plugin.Blocked("%v", c.lacks(s, end.service))
			case end.at >= 0:
				c.object.Set(end.weight, "spec", "http", s.index, "backends", end.at, "weight")
			}
		}
	}

	return nil
}

// claims are the backends whose weights the rollout sets, in an order that does not change when the Services trade places,
// and the objects of its header routes.
func (c *call) claims() []trafficrouter.Claim {
	var claims []trafficrouter.Claim
	for _, s := range c.splits {
		claims = append(claims, c.claimsOf(s)...)
	}
	for _, name := range c.names {
		claims = append(claims, trafficrouter.Claim{Object: refOf(c.target.Namespace, name), Key: "spec"})
	}

	return claims
}

func (c *call) claimsOf(s split) []trafficrouter.Claim {
	names := []string{c.stable, c.canary}
	slices.Sort(names)
	var claims []trafficrouter.Claim
	for _, name := range names {
		claims = append(claims, trafficrouter.Claim{Object: c.object.Ref, Key: fmt.Sprintf("http=%s/backend=%s", s.name, name)})
	}

	return claims
}

func refOf(namespace, name string) objects.Ref {
	return objects.Ref{Group: group, Kind: "ApisixRoute", Namespace: namespace, Name: name}
}
