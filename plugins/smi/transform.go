package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// total is what weights add up to.
const total = 100

// trafficSplit is a view for reading: edits go to the object itself, so that what is not in here stays, such as matches.
type trafficSplit struct {
	Spec struct {
		Service  string    `json:"service"`
		Backends []backend `json:"backends"`
	} `json:"spec"`
}

type backend struct {
	Service string `json:"service"`
	Weight  weight `json:"weight"`
}

// weight is a number, or in v1alpha1 a quantity.
type weight int32

// UnmarshalJSON reads whole numbers, quoted or not. Anything else is a weight all the same, of unknown size: it counts as 1,
// for traffic must never look like none.
func (w *weight) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		n = 1
	}
	*w = weight(max(n, 0))

	return nil
}

// share is what one Service gets.
type share struct {
	service string
	role    trafficrouter.Role
	weight  int32
}

// call is what a call works on.
type call struct {
	settings

	target         plugin.Target
	stable, canary string
	// root is the Service clients use.
	root string
	// split is nil while there is none.
	split *objects.Typed[trafficSplit]
}

// read reads configuration and object. Its errors are those of the contract.
func read(in *objects.Inputs, raw []byte, of plugin.Target) (*call, error) {
	checked, err := parseConfig(raw, of)
	if err != nil {
		return nil, err
	}
	c := &call{settings: checked, target: of, stable: of.StableService, canary: of.CanaryService, root: checked.root}
	if c.stable == "" || c.canary == "" || c.stable == c.canary {
		return nil, plugin.InvalidConfig("", "stable Service %q and canary Service %q: traffic is split between two Services; "+
			"set spec.strategy.canary.stableService and canaryService", c.stable, c.canary)
	}
	if c.root == "" {
		c.root = c.stable
	}
	found, err := objects.List[trafficSplit](in, c.need)
	if err != nil || len(found) == 0 {
		return c, err
	}
	if !found[0].OwnedBy(of.UID) {
		return nil, plugin.InvalidConfig("trafficSplitName", "%v is there already and is not this rollout's: delete it, or choose another name", found[0].Ref)
	}
	c.split = found[0]

	return c, nil
}

// wanted are the shares in the order of a TrafficSplit that Argo Rollouts makes: canary, experiments, stable.
func wanted(t trafficrouter.Traffic) []share {
	var shares []share
	for _, role := range []trafficrouter.Role{trafficrouter.RoleCanary, trafficrouter.RoleExperiment, trafficrouter.RoleStable} {
		for _, d := range t.Destinations {
			if d.Role == role {
				shares = append(shares, share{d.Service, role, d.Weight})
			}
		}
	}

	return shares
}

// only says whether one Service gets everything.
func only(shares []share, service string) bool {
	return !slices.ContainsFunc(shares, func(s share) bool { return s.weight > 0 && s.service != service })
}

// found is what the backends get of 100. A backend that gets anything never shows as 0.
func (c *call) found() []share {
	if c.split == nil {
		return []share{{c.canary, trafficrouter.RoleCanary, 0}, {c.stable, trafficrouter.RoleStable, total}}
	}
	var (
		shares []share
		raw    []int32
	)
	for _, b := range c.split.View.Spec.Backends {
		role := trafficrouter.RoleExperiment
		switch b.Service {
		case c.stable:
			role = trafficrouter.RoleStable
		case c.canary:
			role = trafficrouter.RoleCanary
		}
		shares, raw = append(shares, share{b.Service, role, 0}), append(raw, int32(b.Weight))
	}
	for i, w := range trafficrouter.Normalize(total, raw...) {
		shares[i].weight = w
	}

	return shares
}

func (c *call) traffic() trafficrouter.Traffic {
	t := trafficrouter.Traffic{TotalWeight: total}
	for _, s := range c.found() {
		t.Destinations = append(t.Destinations, trafficrouter.Destination{Role: s.role, Service: s.service, Weight: s.weight})
	}

	return t
}

// residue says whether anything but weights would change if the object were asked for what it does already.
func (c *call) residue() (bool, error) {
	copied, err := c.split.Copy()
	if err != nil {
		return false, err
	}
	have := slices.DeleteFunc(c.found(), func(s share) bool { return s.role == trafficrouter.RoleExperiment && s.weight == 0 })
	for _, end := range []share{{service: c.canary, role: trafficrouter.RoleCanary}, {service: c.stable, role: trafficrouter.RoleStable}} {
		if !slices.ContainsFunc(have, func(s share) bool { return s.service == end.service }) {
			have = append(have, end)
		}
	}
	c.reach(copied, have)
	_, changed, err := copied.Update()

	return changed, err
}

// create is the write that makes the TrafficSplit.
func (c *call) create(in *objects.Inputs, want []share) (objects.Write, error) {
	version, err := in.APIVersion(c.need)
	if err != nil {
		return objects.Write{}, err
	}
	backends := make([]any, 0, len(want))
	for _, s := range want {
		backends = append(backends, backendOf(s))
	}

	return objects.NewCreate(map[string]any{
		"apiVersion": version, "kind": "TrafficSplit",
		"metadata": map[string]any{"namespace": c.need.Namespace, "name": c.need.Name},
		"spec":     map[string]any{"service": c.root, "backends": backends},
	})
}

func backendOf(s share) map[string]any {
	return map[string]any{"service": s.service, "weight": s.weight}
}

// reach edits a TrafficSplit until it splits as wanted. Everything in it is the rollout's, but what is not about the split
// stays.
func (c *call) reach(o *objects.Object, want []share) {
	if c.split.View.Spec.Service != c.root {
		o.Set(c.root, "spec", "service")
	}
	rest := slices.Clone(want)
	scaled := !c.carries(want)
	var gone []int
	for i, b := range c.split.View.Spec.Backends {
		at := slices.IndexFunc(rest, func(s share) bool { return s.service == b.Service })
		if at < 0 {
			gone = append(gone, i)

			continue
		}
		if scaled && int32(b.Weight) != rest[at].weight {
			o.Set(rest[at].weight, "spec", "backends", i, "weight")
		}
		rest = slices.Delete(rest, at, at+1)
	}
	for _, i := range slices.Backward(gone) {
		o.Delete("spec", "backends", i)
	}
	for n, s := range rest {
		o.Insert(len(c.split.View.Spec.Backends)-len(gone)+n, backendOf(s), "spec", "backends")
	}
}

// carries says whether the weights are there, in whatever numbers.
func (c *call) carries(want []share) bool {
	rest := map[string]int32{}
	for _, s := range c.found() {
		rest[s.service] += s.weight
	}
	for _, s := range want {
		rest[s.service] -= s.weight
	}
	for _, w := range rest {
		if w != 0 {
			return false
		}
	}

	return true
}

// claims: one rollout per TrafficSplit, and one split per root Service.
func (c *call) claims() []trafficrouter.Claim {
	return []trafficrouter.Claim{
		{Object: objects.Ref{Group: group, Kind: "TrafficSplit", Namespace: c.need.Namespace, Name: c.need.Name}, Key: "spec"},
		{Object: objects.Ref{Kind: "Service", Namespace: c.need.Namespace, Name: c.root}, Key: fmt.Sprintf("split=%s", c.root)},
	}
}
