package main

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	sdkconfig "github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// ingresses are the canary Ingresses of one rollout, for ingress-nginx.
type ingresses struct {
	settings
	of    subject
	pairs []pair
	// left are canary Ingresses of an earlier configuration.
	left []*objects.Typed[ingress]
}

// pair is a stable Ingress and its canary Ingress.
type pair struct {
	path string
	// stable is nil if it is gone, and missing says so.
	stable  *objects.Typed[ingress]
	missing error
	// canary is nil if it is not there.
	canary *objects.Typed[ingress]
	// at names the canary Ingress, there or not.
	at objects.Ref
}

func ingressNeed(namespace, name string) objects.Need {
	return objects.Need{Group: ingressGroup, Kind: "Ingress", Versions: []string{"v1"}, Namespace: namespace, Name: name}
}

func openIngresses(in *objects.Inputs, s settings, of subject) (product, error) {
	c := &ingresses{settings: s, of: of}
	known := map[objects.Ref]bool{}
	for _, one := range s.ingresses {
		at := canaryName(of.Name, one.value)
		in.Want(ingressNeed(of.Namespace, one.value), ingressNeed(of.Namespace, at))
		ref := objects.Ref{Group: ingressGroup, Kind: "Ingress", Namespace: of.Namespace, Name: at}
		if known[ref] {
			return nil, plugin.InvalidConfig(one.path, "%q has the same canary Ingress %q as another one, because names end after 253 letters: use shorter names", one.value, at)
		}
		known[ref] = true
	}
	if err := in.Missing(); err != nil {
		return nil, err
	}
	for _, one := range s.ingresses {
		p := pair{path: one.path}
		stable, err := objects.Get[ingress](in, ingressNeed(of.Namespace, one.value))
		switch {
		case err == nil:
			p.stable = stable
		case plugin.IsReferenceNotFound(err):
			p.missing = fmt.Errorf("%s: %w: create it or correct the name", one.path, err)
		default:
			return nil, err
		}
		p.at = objects.Ref{Group: ingressGroup, Kind: "Ingress", Namespace: of.Namespace, Name: canaryName(of.Name, one.value)}
		found, err := objects.List[ingress](in, ingressNeed(of.Namespace, p.at.Name))
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			p.canary = found[0]
		}
		c.pairs = append(c.pairs, p)
	}
	held, err := objects.Held[ingress](in, ingressGroup, "Ingress")
	if err != nil {
		return nil, err
	}
	for _, o := range held {
		if !known[o.Ref] && o.View.controlledBy(of.UID) && strings.HasSuffix(o.Ref.Name, "-canary") {
			c.left = append(c.left, o)
		}
	}
	c.pairs = slices.DeleteFunc(c.pairs, func(p pair) bool { return of.kept.Has(p.at, "canary") })
	c.left = slices.DeleteFunc(c.left, func(o *objects.Typed[ingress]) bool { return of.kept.Has(o.Ref, "canary") })

	return c, nil
}

func (c *ingresses) check(e trafficrouter.Envelope) error {
	if e.PingPong {
		return plugin.InvalidConfig("", "ping-pong needs a router that names both Services, and a stable Ingress names one: use stableService and canaryService")
	}
	if err := oneHeaderRoute(e.ManagedRoutes); err != nil {
		return plugin.InvalidConfig("", "%v", err)
	}
	if key := c.steersItself(); key != "" && len(e.ManagedRoutes) > 0 {
		return plugin.InvalidConfig(sdkconfig.Path("canaryIngressAnnotations", key), "is set, and so are header routes by steps: ingress-nginx has room for one of the two")
	}
	for _, p := range c.pairs {
		if err := cmp.Or(p.missing, c.unusable(p)); err != nil {
			return err
		}
		if p.stable.View.Metadata.Annotations[c.prefix+"/"+isCanary] == "true" {
			return plugin.InvalidConfig(p.path, "%v is a canary Ingress itself: name the one that serves without a rollout", p.stable.Ref)
		}
	}

	return nil
}

// unusable says why a pair cannot be steered: what the user has to repair.
func (c *ingresses) unusable(p pair) error {
	switch {
	case p.canary != nil && !p.canary.View.controlledBy(c.of.UID):
		return plugin.InvalidConfig(p.path, "%v has the name of the canary Ingress and is not controlled by Rollout %q: delete it, or rename one of the two",
			p.canary.Ref, c.of.Namespace+"/"+c.of.Name)
	case p.stable != nil && !p.stable.View.sendsTo(c.of.StableService):
		return plugin.InvalidConfig(p.path, "%v has no path that leads to the stable Service %q: name that in it, or another Ingress here", p.stable.Ref, c.of.StableService)
	default:
		return nil
	}
}

func (c *ingresses) observe(total int32, releasing bool) (*trafficrouter.Observation, error) {
	seen := &trafficrouter.Observation{Convergence: trafficrouter.Unknown, Settle: c.drain}
	var wrong error
	for _, p := range c.pairs {
		wrong = cmp.Or(wrong, p.missing, c.unusable(p))
		if p.missing != nil && p.canary == nil {
			continue
		}
		seen.Observed = append(seen.Observed, c.observed(p, total, releasing))
		seen.Claims = append(seen.Claims, trafficrouter.Claim{Object: p.at, Key: "canary"})
		if p.stable != nil {
			seen.Claims = append(seen.Claims, trafficrouter.Claim{Object: p.stable.Ref, Key: "backend=Service/" + c.of.Namespace + "/" + c.of.StableService})
		}
	}
	for _, o := range c.left {
		at := c.observed(pair{canary: o, at: o.Ref}, total, true)
		at.Residue = true
		seen.Observed = append(seen.Observed, at)
	}
	if len(seen.Observed) == 0 && wrong != nil {
		return nil, wrong
	}
	if wrong != nil {
		seen.Message = wrong.Error()
	}

	return seen, nil
}

// observed is what one pair does. Without its canary Ingress everything goes to stable.
func (c *ingresses) observed(p pair, total int32, releasing bool) trafficrouter.Observed {
	have := canaryIngress{total: total}
	var shares = []int32{total, 0}
	if p.canary != nil {
		canary, of := p.canary.View.weights(c.prefix)
		shares = trafficrouter.Normalize(total, of-canary, canary)
		have.canary, have.route = shares[1], p.canary.View.recorded().Route
	}
	seen := trafficrouter.Observed{
		Place: p.at.Kind + "/" + p.at.Namespace + "/" + p.at.Name,
		Traffic: trafficrouter.Traffic{TotalWeight: total, Destinations: []trafficrouter.Destination{
			{Role: trafficrouter.RoleStable, Service: c.of.StableService, Weight: shares[0]},
			{Role: trafficrouter.RoleCanary, Service: c.of.CanaryService, Weight: shares[1]},
		}},
	}
	if have.route != nil {
		seen.Traffic.ManagedRoutes = []trafficrouter.ManagedRoute{*have.route}
	}
	// What is not the rollout's, or has lost its stable Ingress, can only go.
	if c.unusable(p) == nil && p.missing == nil || releasing {
		write, err := c.write(p, have, releasing)
		seen.Residue = err == nil && write != nil
	}

	return seen
}

func (c *ingresses) route(want trafficrouter.Traffic, release bool) (*trafficrouter.Stage, error) {
	stage := &trafficrouter.Stage{}
	asked := canaryIngress{canary: want.Weight(trafficrouter.RoleCanary), total: want.TotalWeight}
	if n := len(want.ManagedRoutes); n > 1 {
		return nil, plugin.Blocked("%v", oneHeaderRoute(want.ManagedRoutes))
	} else if n == 1 {
		asked.route = &want.ManagedRoutes[0]
	}
	var wrong error
	for _, p := range c.pairs {
		if err := cmp.Or(p.missing, c.unusable(p)); err != nil && !release {
			wrong = cmp.Or(wrong, err)
			if !asked.idle() {
				continue // The others go on, and an abort reaches this one too.
			}
		}
		write, err := c.write(p, asked, release)
		if err != nil {
			return nil, plugin.Blocked("%v: %v", p.at, err)
		}
		if write != nil {
			stage.Writes = append(stage.Writes, *write)
		}
	}
	for _, o := range c.left {
		write, err := objects.NewDelete(o.Object)
		if err != nil {
			return nil, fmt.Errorf("leaving: %w", err)
		}
		stage.Writes = append(stage.Writes, write)
	}
	if len(stage.Writes) == 0 && wrong != nil {
		return nil, wrong
	}

	return stage, nil
}

// write is what brings a pair to where it is wanted. Nil: it is there.
func (c *ingresses) write(p pair, want canaryIngress, release bool) (*objects.Write, error) {
	lost := p.stable == nil || !p.stable.View.sendsTo(c.of.StableService)
	if release || want.idle() && (!c.keep || lost) {
		if p.canary == nil || !p.canary.View.controlledBy(c.of.UID) {
			return nil, nil
		}
		write, err := objects.NewDelete(p.canary.Object)

		return &write, err
	}
	if p.canary == nil {
		return c.create(p, want)
	}

	return c.edit(p, want)
}

func (c *ingresses) create(p pair, want canaryIngress) (*objects.Write, error) {
	annotations, err := c.annotationsOf(p.stable.View, want)
	if err != nil {
		return nil, err
	}
	annotations[recordKey], err = record{slices.Sorted(maps.Keys(annotations)), want.route}.encoded()
	if err != nil {
		return nil, err
	}
	write, err := objects.NewCreate(map[string]any{
		"apiVersion": p.stable.APIVersion, "kind": "Ingress",
		"metadata": map[string]any{"name": p.at.Name, "namespace": p.at.Namespace, "annotations": annotations},
		"spec":     specOf(p.stable.Object, c.of.StableService, c.of.CanaryService),
	})

	return &write, err
}

// edit changes what differs, and leaves alone what others have put there.
func (c *ingresses) edit(p pair, want canaryIngress) (*objects.Write, error) {
	annotations, err := c.annotationsOf(p.stable.View, want)
	if err != nil {
		return nil, err
	}
	raw, err := p.canary.JSON()
	if err != nil {
		return nil, err
	}
	o, err := objects.Parse(raw) // A copy: an observation must not edit what it looks at.
	if err != nil {
		return nil, err
	}
	for _, key := range c.ownKeys(p.canary.View) {
		if _, wanted := annotations[key]; !wanted {
			o.Delete("metadata", "annotations", key)
		}
	}
	keys := slices.Sorted(maps.Keys(annotations))
	annotations[recordKey], err = record{keys, want.route}.encoded()
	if err != nil {
		return nil, err
	}
	for key, value := range annotations {
		if p.canary.View.Metadata.Annotations[key] != value {
			o.Set(value, "metadata", "annotations", key)
		}
	}
	spec := specOf(p.stable.Object, c.of.StableService, c.of.CanaryService)
	for _, field := range []string{"ingressClassName", "tls", "defaultBackend", "rules"} {
		have, _ := o.Value("spec", field)
		switch value, wanted := spec[field]; {
		case !wanted:
			o.Delete("spec", field)
		case !reflect.DeepEqual(have, value):
			o.Set(value, "spec", field)
		}
	}
	write, changed, err := o.Update()
	if !changed || err != nil {
		return nil, err
	}

	return &write, nil
}
