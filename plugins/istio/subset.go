package main

import (
	"fmt"
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// hashLabel tells the pods of one revision from those of another.
const hashLabel = "rollouts-pod-template-hash"

// subsets are the two subsets of a DestinationRule that a rollout points at revisions.
type subsets struct {
	object         *objects.Typed[destinationRule]
	stable, canary int // indices
}

// readRule finds the DestinationRule and its subsets. Nil: the split is between Services.
func (c *call) readRule(in *objects.Inputs) (*subsets, error) {
	if c.rule == nil {
		return nil, nil //nolint:nilnil // no rule and no error is what it promises
	}
	o, err := objects.Get[destinationRule](in, c.rule.need(c.namespace))
	if err != nil {
		return nil, fmt.Errorf("destinationRule.name: %w: create it or correct the name", err)
	}
	found := &subsets{object: o}
	for _, one := range []struct {
		name, path string
		to         *int
	}{
		{c.rule.StableSubsetName, "destinationRule.stableSubsetName", &found.stable},
		{c.rule.CanarySubsetName, "destinationRule.canarySubsetName", &found.canary},
	} {
		if *one.to = o.View.subset(one.name); *one.to < 0 {
			return nil, plugin.InvalidConfig(one.path, "%v has no subset %q: add it, or correct the name", o.Ref, one.name)
		}
	}
	for i, name := range c.rule.AdditionalSubsetNames {
		if o.View.subset(name) < 0 {
			return nil, plugin.InvalidConfig(fmt.Sprintf("destinationRule.additionalSubsetNames[%d]", i), "%v has no subset %q", o.Ref, name)
		}
	}

	return found, nil
}

func (d destinationRule) subset(name string) int {
	return slices.IndexFunc(d.Spec.Subsets, func(s subset) bool { return s.Name == name })
}

// hash is the revision a subset points at; empty: none in particular.
func (s *subsets) hash(index int) string {
	if s == nil {
		return ""
	}

	return s.object.View.Spec.Subsets[index].Labels[hashLabel]
}

// turn is what has to happen to the subsets before the weights may be as asked.
type turn struct {
	// write: the subsets that are to move carry nothing, or only this one.
	write bool
	only  *int
	// drain are the weights that empty a subset that is to move. Nil: nothing has to be emptied.
	drain *weights
}

// turnTo says what comes first on the way to revisions for the two subsets, where empty means: as it is. A subset is only
// pointed elsewhere while nothing is sent to it, or clients would be sent to pods that do not expect them, or to none. One
// that points at no revision yet is narrowed where it is.
func (s *subsets) turnTo(stable, canary string, carried weights, routes bool) (turn, error) {
	differ := func(index int, want string) bool { return want != "" && s.hash(index) != want }
	repoints := func(index int, want string) bool { return differ(index, want) && s.hash(index) != "" }
	stableCarries, canaryCarries := carried.stable > 0, carried.canary > 0 || routes
	switch {
	case !differ(s.stable, stable) && !differ(s.canary, canary):
		return turn{}, nil
	case repoints(s.canary, canary) && canaryCarries:
		if repoints(s.stable, stable) && !stableCarries { // The stable subset is free to move first, and then takes over.
			return turn{write: true, only: &s.stable}, nil
		}
		if repoints(s.stable, stable) {
			return turn{}, plugin.Blocked("both subsets of %v have traffic and are to point at other revisions: stop one of them first", s.object.Ref)
		}

		return turn{drain: &weights{stable: total}}, nil
	case repoints(s.stable, stable) && stableCarries:
		if s.hash(s.canary) != stable && canary == stable && !canaryCarries { // It is free to move, and then takes over.
			return turn{write: true, only: &s.canary}, nil
		}
		if s.hash(s.canary) != stable {
			return turn{}, plugin.Blocked("subset %q of %v has traffic and is to point at revision %s, which nothing else reaches: "+
				"point the canary's subset at it and give it the traffic first", s.object.View.Spec.Subsets[s.stable].Name, s.object.Ref, stable)
		}

		return turn{drain: &weights{canary: total}}, nil
	default:
		return turn{write: true}, nil
	}
}

// point makes the subsets point at revisions. What else they have stays.
func (s *subsets) point(stable, canary string, only *int) {
	for index, want := range map[int]string{s.stable: stable, s.canary: canary} {
		if want != "" && s.hash(index) != want && (only == nil || *only == index) {
			s.object.Set(want, "spec", "subsets", index, "labels", hashLabel)
		}
	}
}

// release makes a subset reach every pod again: the revision it names will be gone one day. The stable one may be gone by
// now, after a promotion, so it is first and gets the weight afterwards.
func (s *subsets) release(index int) {
	if s.hash(index) != "" {
		s.object.Delete("spec", "subsets", index, "labels", hashLabel)
	}
}

// mayGiveBack reports that the subsets are among what a release is about: nothing is known to be held, or they are.
func (c *call) mayGiveBack() bool {
	if c.subsets == nil || slices.ContainsFunc(c.subsets.claims(), func(one trafficrouter.Claim) bool { return c.kept.Has(one.Object, one.Key) }) {
		return false
	}
	for _, s := range c.selected {
		if s.object.Held {
			return c.subsets.object.Held
		}
	}

	return true
}

// claims are the subsets, which only one rollout may point.
func (s *subsets) claims() []trafficrouter.Claim {
	if s == nil {
		return nil
	}
	var claims []trafficrouter.Claim
	for _, index := range []int{s.stable, s.canary} {
		claims = append(claims, trafficrouter.Claim{Object: s.object.Ref, Key: "subset=" + s.object.View.Spec.Subsets[index].Name})
	}

	return claims
}
