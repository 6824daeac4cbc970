package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// total is what weights add up to.
const total = 100

// split is a route that sends to both ends.
type split struct {
	protocol string
	index    int
	name     string // what users and claims call it
	// own: the route is a mirror of the rollout and follows the one it was made from.
	own bool
	// stableAt and canaryAt are indices of destinations.
	stableAt, canaryAt int
	stable, canary     int32
	// experiments are the destinations the rollout has put into the route.
	experiments []share
	// others is the weight of everybody else's destinations, which stays.
	others int32
}

// share is what one Service of an experiment gets.
type share struct {
	service string
	weight  int32
}

// weights are what the destinations get of 100.
type weights struct {
	stable, canary int32
	experiments    []share
}

// findSplits returns the routes of a VirtualService that the rollout steers, its own mirrors among them.
func findSplits(o *objects.Typed[virtualService], s selection, e ends, own owned) ([]split, error) {
	var found []split
	for _, protocol := range protocols {
		chosen, err := s.choose(o, protocol, e, own)
		if err != nil {
			return nil, plugin.InvalidConfig(s.path, "%v", err)
		}
		if protocol == "http" {
			for i := range o.View.Spec.HTTP {
				if own.isMirror(i) {
					chosen = append(chosen, i)
				}
			}
			slices.Sort(chosen)
		}
		for _, i := range chosen {
			one, err := splitOf(o, protocol, i, e, own)
			if err != nil {
				return nil, plugin.InvalidConfig(s.path, "%v", err)
			}
			found = append(found, one)
		}
	}
	if !slices.ContainsFunc(found, func(s split) bool { return !s.own }) {
		return nil, plugin.InvalidConfig(s.path, "%v has no route to split: add an HTTP, TLS or TCP route to %s and %s",
			o.Ref, describe(e.stableHost, e.stableSubset), describe(e.canaryHost, e.canarySubset))
	}

	return found, nil
}

func splitOf(o *objects.Typed[virtualService], protocol string, index int, e ends, own owned) (split, error) {
	r := o.View.routes(protocol)[index]
	one := split{protocol: protocol, index: index, name: routeName(o, protocol, index, own)}
	if protocol == "http" {
		one.own = own.by[index] != ""
	}
	stable, canary := e.stable(o, r), e.canary(o, r)
	for _, end := range []struct {
		at                 []int
		host, subset, role string
	}{{stable, e.stableHost, e.stableSubset, "stable"}, {canary, e.canaryHost, e.canarySubset, "canary"}} {
		switch {
		case len(end.at) == 0:
			return split{}, fmt.Errorf("%s route %s of %v has no destination %s for the %s: add one, with weight 0 for the canary",
				protocol, one.name, o.Ref, describe(end.host, end.subset), end.role)
		case len(end.at) > 1:
			return split{}, fmt.Errorf("%s route %s of %v has %d destinations %s: keep one", protocol, one.name, o.Ref, len(end.at), describe(end.host, end.subset))
		}
	}
	one.stableAt, one.canaryAt = stable[0], canary[0]
	for i := range r.Route {
		switch service := own.experiment(o, r, i, e); {
		case i == one.stableAt:
			one.stable = r.weightOf(i)
		case i == one.canaryAt:
			one.canary = r.weightOf(i)
		case service != "":
			one.experiments = append(one.experiments, share{service, r.weightOf(i)})
		default:
			one.others += r.weightOf(i)
		}
	}
	if sum := one.ours() + one.others; one.others > 0 && sum != total {
		return split{}, fmt.Errorf("weights in %s route %s of %v sum to %d: with destinations of others beside %s and %s they have to sum to %d",
			protocol, one.name, o.Ref, sum, describe(e.stableHost, e.stableSubset), describe(e.canaryHost, e.canarySubset), total)
	}

	return one, nil
}

func (s split) ours() int32 {
	sum := s.stable + s.canary
	for _, e := range s.experiments {
		sum += e.weight
	}

	return sum
}

// routeName is what a route is called in places and claims: its name, what it matches, or its index among the routes that
// are not the plugin's own.
func routeName(o *objects.Typed[virtualService], protocol string, index int, own owned) string {
	r := o.View.routes(protocol)[index]
	switch {
	case protocol == "http" && own.by[index] != "":
		return own.by[index]
	case r.Name != "":
		return r.Name
	case protocol != "http" && r.port() != 0:
		var hosts []string
		for _, m := range r.Match {
			hosts = append(hosts, m.SNIHosts...)
		}
		slices.Sort(hosts)

		return strings.TrimSuffix(fmt.Sprintf("%d/%s", r.port(), strings.Join(hosts, ",")), "/")
	}
	var before int
	for i := range index {
		if protocol != "http" || own.by[i] == "" {
			before++
		}
	}

	return fmt.Sprintf("#%d", before)
}

// found is what the split gives of 100. The weights of others count as stable's: they are not the rollout's to move. A
// destination that gets anything never shows as 0.
func (s split) found(asked weights) weights {
	if s.others > 0 {
		if s.encode(asked).equal(s.raw()) {
			return asked
		}
		w := weights{canary: s.canary, experiments: s.experiments, stable: total - s.canary}
		for _, e := range s.experiments {
			w.stable -= e.weight
		}
		if s.stable == 0 && s.canary > 0 {
			w.canary, w.stable = w.canary+w.stable, 0
		}

		return w
	}
	raw := []int32{s.stable, s.canary}
	for _, e := range s.experiments {
		raw = append(raw, e.weight)
	}
	all := trafficrouter.Normalize(total, raw...)
	w := weights{stable: all[0], canary: all[1]}
	for i, e := range s.experiments {
		w.experiments = append(w.experiments, share{e.service, all[i+2]})
	}

	return w
}

// tells says whether what is written for weights can be read back as them. Where others leave less room than the canary is
// to get, it cannot.
func (s split) tells(asked weights) bool {
	written := s.encode(asked)
	s.stable, s.canary, s.experiments = written.stable, written.canary, written.experiments

	return s.found(weights{canary: -1}).equal(asked)
}

func (s split) raw() weights { return weights{s.stable, s.canary, s.experiments} }

// encode is what to write for weights of 100: the canary's and the experiments' as they are, as far as others leave room,
// and the rest for stable.
func (s split) encode(want weights) weights {
	left := total - s.others
	out := weights{}
	for _, e := range want.experiments {
		w := min(e.weight, left)
		out.experiments = append(out.experiments, share{e.service, w})
		left -= w
	}
	out.canary = min(want.canary, left)
	if want.stable > 0 && s.others == 0 || want.canary < left {
		out.stable = left - out.canary
	}

	return out
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

// place names a route in an observation.
func place(o *objects.Typed[virtualService], s split) string {
	return fmt.Sprintf("VirtualService/%s/%s %s=%s", o.Ref.Namespace, o.Ref.Name, s.protocol, s.name)
}
