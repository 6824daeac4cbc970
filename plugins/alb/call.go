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

	stable, canary string
	// root is the Service whose action is split.
	root string
	// rollout is the name under which objects record what they owe to it.
	rollout string
	// names are those of all managed routes the plugin may touch.
	names    []string
	selected []steered
}

// subject is on whose behalf a call is made.
type subject struct {
	target         plugin.Target
	stable, canary string
	names          []string
	// kept is, in a release, what the rollout goes on steering.
	kept trafficrouter.Claims
}

// read reads configuration and objects. Its errors are those of the contract. Unless it is strict, an Ingress that is missing
// or cannot be read does not keep the others from being routed: an abort must reach them.
func read(in *objects.Inputs, raw []byte, of subject, strict bool) (*call, error) {
	checked, err := parseConfig(raw, of.target.Namespace)
	if err != nil {
		return nil, err
	}
	c := &call{settings: checked, stable: of.stable, canary: of.canary, root: cmp.Or(checked.root, of.stable), names: of.names,
		rollout: of.target.Namespace + "/" + of.target.Name}
	for _, s := range c.ingresses {
		in.Want(s.need)
	}
	if err := in.Missing(); err != nil {
		return nil, err
	}
	if c.stable == "" || c.canary == "" || c.stable == c.canary {
		return nil, plugin.InvalidConfig("", "stable Service %q and canary Service %q: traffic is split between two Services; "+
			"set spec.strategy.canary.stableService and canaryService, or pingPong", c.stable, c.canary)
	}
	var unusable error
	for _, s := range c.ingresses {
		object, err := objects.Get[ingress](in, s.need)
		var one steered
		if err == nil {
			one, err = c.steer(object, s.path)
		} else {
			err = fmt.Errorf("%s: %w: create it or correct the name", s.path, err)
		}
		switch {
		case err == nil:
			c.selected = append(c.selected, one)
		case strict:
			return nil, err
		}
		unusable = cmp.Or(unusable, err)
	}
	if len(c.selected) == 0 {
		return nil, unusable
	}
	c.selected = slices.DeleteFunc(c.selected, func(s steered) bool { return of.kept.Has(s.object.Ref, c.key("actions", c.root)) })

	return c, nil
}

// key is an annotation of the load balancer's controller.
func (c *call) key(kind, name string) string { return c.prefix + "/" + kind + "." + name }

// toRoute are the Ingresses to bring to a state. What an edited block still names is not given back.
func (c *call) toRoute(release bool) []steered {
	held := slices.DeleteFunc(slices.Clone(c.selected), func(s steered) bool { return !s.object.Held })
	if release && len(held) > 0 {
		return held
	}

	return c.selected
}

// claims are the actions the rollout sets.
func (c *call) claims(s steered) []trafficrouter.Claim {
	claims := []trafficrouter.Claim{{Object: s.object.Ref, Key: c.key("actions", c.root)}}
	for _, name := range c.names {
		claims = append(claims, trafficrouter.Claim{Object: s.object.Ref, Key: c.key("actions", name)})
	}

	return claims
}

// ports are those of experiments.
func (c *call) ports(in *objects.Inputs, wanted []share) (map[string]int32, error) {
	var services []string
	for _, s := range wanted {
		services = append(services, s.service)
	}

	return trafficrouter.ExperimentPorts(in, c.ingresses[0].need.Namespace, services, c.port)
}
