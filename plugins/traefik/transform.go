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

// recordKey is the annotation in which a TraefikService says which of its entries are experiments of which rollout.
const recordKey = "traefik.sluice.dev/owned"

// record is what one rollout has put into the TraefikService.
type record struct {
	Services []string `json:"services"`
}

// traefikService is a view for reading: edits go to the object itself, so that what is not in here stays.
type traefikService struct {
	Spec struct {
		Weighted *struct {
			Services []entry `json:"services"`
		} `json:"weighted"`
	} `json:"spec"`
}

type entry struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Port      any    `json:"port"` // a number or a name
	Weight    *int32 `json:"weight"`
}

// list is where the entries are.
var list = []any{"spec", "weighted", "services"}

// ends are the two Services a rollout splits between.
type ends struct{ stable, canary string }

// share is what one Service of an experiment gets.
type share struct {
	service string
	weight  int32
}

// weights are what the entries get.
type weights struct {
	stable, canary int32
	experiments    []share
}

// call is what a call works on.
type call struct {
	settings
	ends

	rollout string
	object  *objects.Typed[traefikService]
	record  record
	entries []entry
	// stableAt, canaryAt are indices of entries, -1 for one that is not there.
	stableAt, canaryAt int
	// experiments are indices of the recorded ones.
	experiments []int
	// others is the weight of everybody else's entries, which stays.
	others int32
}

// read reads configuration and object. Its errors are those of the contract.
func read(in *objects.Inputs, raw []byte, of plugin.Target, e ends) (*call, error) {
	checked, err := parseConfig(raw, of.Namespace)
	if err != nil {
		return nil, err
	}
	object, err := objects.Get[traefikService](in, checked.need)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: create it or correct the name", nameField, err)
	}
	if e.stable == "" || e.canary == "" || e.stable == e.canary {
		return nil, plugin.InvalidConfig("", "stable Service %q and canary Service %q: traffic is split between two Services; "+
			"set spec.strategy.canary.stableService and canaryService", e.stable, e.canary)
	}
	if object.View.Spec.Weighted == nil {
		return nil, plugin.InvalidConfig(nameField, "%v has no spec.weighted: mirroring and highestRandomWeight cannot be split; "+
			"name one with weighted services", object.Ref)
	}
	c := &call{settings: checked, ends: e, rollout: of.Namespace + "/" + of.Name, object: object,
		entries: object.View.Spec.Weighted.Services, stableAt: -1, canaryAt: -1}
	c.record = objects.Record[record](object.Object, recordKey, c.rollout)
	for i, one := range c.entries {
		switch {
		case c.is(one, e.stable) && c.stableAt < 0:
			c.stableAt = i
		case c.is(one, e.canary) && c.canaryAt < 0:
			c.canaryAt = i
		case slices.ContainsFunc(c.record.Services, func(name string) bool { return c.is(one, name) }):
			c.experiments = append(c.experiments, i)
		default:
			c.others += one.weight()
		}
	}
	if c.stableAt < 0 && c.canaryAt < 0 {
		return nil, c.lacks(e.stable)
	}

	return c, nil
}

// is says whether an entry leads to a Service of the rollout's namespace.
func (c *call) is(one entry, service string) bool {
	return one.Name == service && (one.Kind == "" || one.Kind == "Service") &&
		(one.Namespace == "" || one.Namespace == c.object.Ref.Namespace)
}

// weight is Traefik's: 1 where nothing is said.
func (e entry) weight() int32 {
	if e.Weight == nil {
		return 1
	}

	return max(*e.Weight, 0)
}

func (c *call) at(i int) int32 {
	if i < 0 {
		return 0
	}

	return c.entries[i].weight()
}

func (c *call) lacks(service string) error {
	return plugin.InvalidConfig(nameField, "%v has no entry for Service %q in spec.weighted.services: add one, with weight 0 for the canary",
		c.object.Ref, service)
}

// check refuses what can be seen to be wrong before anything moves.
func (c *call) check() error {
	for _, end := range []struct {
		at      int
		service string
	}{{c.stableAt, c.stable}, {c.canaryAt, c.canary}} {
		if end.at < 0 {
			return c.lacks(end.service)
		}
		again := slices.IndexFunc(c.entries[end.at+1:], func(e entry) bool { return c.is(e, end.service) })
		if again >= 0 {
			return plugin.InvalidConfig(nameField, "%v has several entries for Service %q: keep one", c.object.Ref, end.service)
		}
	}
	if sum := c.at(c.stableAt) + c.at(c.canaryAt); c.others > 0 && len(c.experiments) == 0 && sum != total {
		return plugin.InvalidConfig(nameField, "weights of %q and %q in %v sum to %d: beside entries of others they have to sum to %d, "+
			"or the first step would change the others' share", c.stable, c.canary, c.object.Ref, sum, total)
	}

	return nil
}

func (c *call) place() string {
	return fmt.Sprintf("TraefikService/%s/%s", c.object.Ref.Namespace, c.object.Ref.Name)
}

// found is what the entries of the rollout get of 100 that it has. An entry that gets anything never shows as 0.
func (c *call) found() weights {
	raw := []int32{c.at(c.stableAt), c.at(c.canaryAt)}
	for _, i := range c.experiments {
		raw = append(raw, c.at(i))
	}
	all := trafficrouter.Normalize(total, raw...)
	w := weights{stable: all[0], canary: all[1]}
	for n, i := range c.experiments {
		w.experiments = append(w.experiments, share{c.entries[i].Name, all[n+2]})
	}

	return w
}

func (c *call) traffic() trafficrouter.Traffic {
	w := c.found()
	t := trafficrouter.Traffic{TotalWeight: total, Destinations: []trafficrouter.Destination{
		{Role: trafficrouter.RoleStable, Service: c.stable, Weight: w.stable},
		{Role: trafficrouter.RoleCanary, Service: c.canary, Weight: w.canary},
	}}
	for _, e := range w.experiments {
		t.Destinations = append(t.Destinations, trafficrouter.Destination{Role: trafficrouter.RoleExperiment, Service: e.service, Weight: e.weight})
	}

	return t
}

// residue says whether anything but weights would change if the object were asked for what it does already: an experiment
// that is over, or whose entry somebody has removed.
func (c *call) residue() (bool, error) {
	w := c.found()
	w.experiments = slices.DeleteFunc(w.experiments, func(s share) bool { return s.weight == 0 })
	trial := *c
	copied, err := c.object.Copy()
	if err != nil {
		return false, err
	}
	trial.object = &objects.Typed[traefikService]{Object: copied, View: c.object.View}
	if err := trial.reach(w, nil); err != nil {
		return false, err
	}
	_, changed, err := copied.Update()

	return changed, err
}

// reach edits the object until it splits as wanted. Ports are those of the experiments that have no entry yet.
func (c *call) reach(want weights, ports map[string]int32) error {
	wanted := map[string]int32{}
	for _, s := range want.experiments {
		wanted[s.service] = s.weight
	}
	if !c.carries(want) {
		for _, end := range []struct {
			at      int
			service string
			weight  int32
		}{{c.stableAt, c.stable, want.stable}, {c.canaryAt, c.canary, want.canary}} {
			switch {
			case end.at >= 0 && c.entries[end.at].Weight != nil && *c.entries[end.at].Weight == end.weight:
			case end.at >= 0:
				c.object.Set(end.weight, append(slices.Clone(list), end.at, "weight")...)
			case end.weight > 0:
				return plugin.Blocked("%v", c.lacks(end.service))
			}
		}
		for _, i := range c.experiments {
			if weight, ok := wanted[c.entries[i].Name]; ok {
				c.object.Set(weight, append(slices.Clone(list), i, "weight")...)
			}
		}
	}
	have := map[string]bool{}
	for _, i := range slices.Backward(c.experiments) {
		name := c.entries[i].Name
		if _, ok := wanted[name]; ok && !have[name] {
			have[name] = true
		} else {
			c.object.Delete(append(slices.Clone(list), i)...)
		}
	}
	var recorded any
	if len(want.experiments) > 0 {
		var kept record
		for _, s := range want.experiments {
			kept.Services = append(kept.Services, s.service)
			if !have[s.service] {
				c.add(s, ports[s.service])
			}
		}
		recorded = kept
	}

	return objects.SetRecord(c.object.Object, recordKey, c.rollout, recorded)
}

// carries says whether the weights are there, in whatever numbers. Beside entries of others only the very numbers are the
// same share.
func (c *call) carries(want weights) bool {
	got := c.found()
	if sum := c.at(c.stableAt) + c.at(c.canaryAt) + c.sumOfExperiments(); c.others > 0 && sum != total {
		return false
	}
	if got.stable != want.stable || got.canary != want.canary {
		return false
	}
	shares := map[string]int32{}
	for _, s := range got.experiments {
		shares[s.service] += s.weight
	}
	for _, s := range want.experiments {
		shares[s.service] -= s.weight
	}
	for _, rest := range shares {
		if rest != 0 {
			return false
		}
	}

	return true
}

func (c *call) sumOfExperiments() int32 {
	var sum int32
	for _, i := range c.experiments {
		sum += c.at(i)
	}

	return sum
}

// add appends the entry of an experiment: like the stable one, whose timeouts and schemes fit the application, but for name,
// port and weight.
func (c *call) add(s share, port int32) {
	like, _ := c.object.Value(append(slices.Clone(list), max(c.stableAt, 0))...)
	tree, ok := objects.Clone(like).(map[string]any)
	if !ok {
		tree = map[string]any{}
	}
	tree["name"], tree["weight"] = s.service, s.weight
	if port > 0 {
		tree["port"] = port
	}
	all, _ := c.object.Value(list...)
	entries, _ := all.([]any)
	c.object.Insert(len(entries), tree, slices.Clone(list)...)
}

// claims are the entries whose weights the rollout sets, in an order that does not change when the Services trade places.
func (c *call) claims() []trafficrouter.Claim {
	names := []string{c.stable, c.canary}
	slices.Sort(names)
	var claims []trafficrouter.Claim
	for _, name := range names {
		claims = append(claims, trafficrouter.Claim{Object: c.object.Ref, Key: fmt.Sprintf("weighted/Service/%s/%s", c.object.Ref.Namespace, name)})
	}

	return claims
}
