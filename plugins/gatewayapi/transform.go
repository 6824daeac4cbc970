package main

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// split is a rule that sends to both Services.
type split struct {
	// rule is the index of the rule, name what users and claims call it.
	rule int
	name string
	// own: the rule is a mirror of the rollout and follows the rule it was made from.
	own bool
	// pairs are the backendRefs whose weights the rollout owns.
	pairs []pair
	// stable and canary are the weights found, summed over the pairs.
	stable, canary int32
	// experiments are the Services of experiments the rollout has put into the rule.
	experiments []share
}

// pair is a backendRef to the stable and one to the canary Service, as indices into the rule's backendRefs.
type pair struct{ stable, canary int }

// share is what one Service of an experiment gets.
type share struct {
	service string
	weight  int32
}

// findSplits returns the rules of a route that send to both Services, in their order. Rules that send to one of them, or to
// neither, are the user's own and stay as they are. The error says in one sentence why there is no such rule, or why one
// is ambiguous.
func findSplits(o *objects.Typed[route], s services, own owned) ([]split, error) {
	var (
		found  []split
		ours   int
		names  = ruleNames(o.View.Spec.Rules, own)
		source = func(i int) bool { return own.by[i] == "" || own.isMirror(i) }
	)
	for i, r := range o.View.Spec.Rules {
		stable, canary := refsTo(o, r, s, s.stable), refsTo(o, r, s, s.canary)
		if len(stable) == 0 || len(canary) == 0 || !source(i) {
			continue
		}
		one, err := splitOf(o, r, s, names[i], stable, canary)
		if err != nil {
			return nil, err
		}
		one.rule, one.own = i, own.by[i] != ""
		if one.own {
			ours++
		}
		for _, service := range own.Services {
			var sum int32
			for _, at := range refsTo(o, r, s, service) {
				sum += weightOf(r.BackendRefs[at])
			}
			one.experiments = append(one.experiments, share{service, sum})
		}
		found = append(found, one)
	}
	if len(found) == ours {
		return nil, noSplit(o, s, names)
	}

	return found, nil
}

func splitOf(o *objects.Typed[route], r rule, s services, name string, stable, canary []int) (split, error) {
	one := split{name: name}
	for _, at := range stable {
		other := counterpart(r, at, stable, canary)
		if other < 0 {
			return split{}, fmt.Errorf("rule %s of %v has several backendRefs to Service %q or %q, and they do not pair up "+
				"by port: give each port one backendRef to either Service", name, o.Ref, s.stable, s.canary)
		}
		one.pairs = append(one.pairs, pair{at, other})
		one.stable += weightOf(r.BackendRefs[at])
		one.canary += weightOf(r.BackendRefs[other])
	}
	if len(stable) != len(canary) {
		return split{}, fmt.Errorf("rule %s of %v has %d backendRefs to Service %q and %d to %q: give each port one to either",
			name, o.Ref, len(stable), s.stable, len(canary), s.canary)
	}

	return one, nil
}

// counterpart returns the backendRef to the canary that shares the traffic of the one to the stable Service at index at,
// -1 if there is none. With one of each they belong together whatever their ports: a canary may listen on another one.
// With several the port tells.
func counterpart(r rule, at int, stable, canary []int) int {
	if len(stable) == 1 && len(canary) == 1 {
		return canary[0]
	}
	port := portOf(r.BackendRefs[at])
	samePort := func(i int) bool { return portOf(r.BackendRefs[i]) == port }
	if len(filter(stable, samePort)) != 1 {
		return -1
	}
	if others := filter(canary, samePort); len(others) == 1 {
		return others[0]
	}

	return -1
}

// weights are what the destinations get of a total.
type weights struct {
	stable, canary int32
	experiments    []share
}

func (w weights) equal(other weights) bool {
	return w.stable == other.stable && w.canary == other.canary && slices.Equal(present(w.experiments), present(other.experiments))
}

// present are the shares above 0, in the order of their names.
func present(shares []share) []share {
	found := slices.DeleteFunc(slices.Clone(shares), func(s share) bool { return s.weight == 0 })
	slices.SortFunc(found, func(a, b share) int { return strings.Compare(a.service, b.service) })

	return found
}

// total is what the weights add up to.
func (w weights) total() int32 {
	sum := w.stable + w.canary
	for _, e := range w.experiments {
		sum += e.weight
	}

	return sum
}

// shares is what the split gives the destinations of a total. 9 to 1 is 90 to 10: a gateway does not care about the sum. A
// Service that gets any traffic never shows as 0, or it would look drained. A split of nothing, where the gateway refuses
// all requests, is nothing to all.
func (s split) shares(total int32) weights {
	found := []int32{s.stable, s.canary}
	for _, e := range s.experiments {
		found = append(found, e.weight)
	}
	all := trafficrouter.Normalize(total, found...)
	w := weights{stable: all[0], canary: all[1]}
	for i, e := range s.experiments {
		w.experiments = append(w.experiments, share{e.service, all[i+2]})
	}

	return w
}

// setWeights edits the tree of a rule that does not split as wanted. A rule that splits the same in other numbers stays as
// its author wrote it.
func setWeights(tree map[string]any, r rule, s split, want weights) {
	if s.shares(want.total()).equal(want) {
		return
	}
	refs, _ := tree["backendRefs"].([]any)
	for _, p := range s.pairs {
		setWeight(refs[p.stable], r.BackendRefs[p.stable], want.stable)
		setWeight(refs[p.canary], r.BackendRefs[p.canary], want.canary)
	}
}

func setWeight(tree any, ref gatewayv1.BackendRef, weight int32) {
	if fields, ok := tree.(map[string]any); ok && weightOf(ref) != weight {
		fields["weight"] = weight
	}
}

// setLabel marks the route while it sends anything to the canary, and removes the mark when it does not.
func setLabel(o *objects.Typed[route], l label, inProgress bool) {
	switch {
	case l.key == "":
	case inProgress && o.View.Metadata.Labels[l.key] != l.value:
		o.Set(l.value, "metadata", "labels", l.key)
	case !inProgress && marked(o.View, l) && len(o.View.Metadata.Labels) == 1:
		o.Delete("metadata", "labels") // The API server keeps no empty map either.
	case !inProgress && marked(o.View, l):
		o.Delete("metadata", "labels", l.key)
	}
}

// marked says whether the route bears our mark. Another value under the same key is somebody else's.
func marked(r route, l label) bool { return l.key != "" && r.Metadata.Labels[l.key] == l.value }
