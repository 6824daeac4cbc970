package main

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// route is what all kinds of routes have in common. It is a view for reading: edits go to the object itself, so that what
// is not in here stays.
type route struct {
	Metadata struct {
		Generation int64             `json:"generation"`
		Labels     map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		ParentRefs []gatewayv1.ParentReference `json:"parentRefs"`
		Rules      []rule                      `json:"rules"`
	} `json:"spec"`
	Status struct {
		Parents []gatewayv1.RouteParentStatus `json:"parents"`
	} `json:"status"`
}

type rule struct {
	Name        string                 `json:"name"`
	BackendRefs []gatewayv1.BackendRef `json:"backendRefs"`
}

// services are the two Services a rollout splits its traffic between.
type services struct{ namespace, stable, canary string }

// weights are what the two Services get of a total.
type weights struct{ stable, canary int32 }

// split is a rule that sends to both Services.
type split struct {
	// rule is the index of the rule, name what users and claims call it: its name, or `#` and the index.
	rule int
	name string
	// pairs are the backendRefs whose weights the rollout owns.
	pairs []pair
	// stable and canary are the weights found, summed over the pairs.
	stable, canary int32
}

// pair is a backendRef to the stable and one to the canary Service, as indices into the rule's backendRefs.
type pair struct{ stable, canary int }

// findSplits returns the rules of a route that send to both Services, in their order. Rules that send to one of them, or to
// neither, are the user's own and stay as they are. The error says in one sentence why there is no such rule, or why one
// is ambiguous.
func findSplits(o *objects.Typed[route], s services) ([]split, error) {
	var found []split
	for i, r := range o.View.Spec.Rules {
		stable, canary := refsTo(o, r, s, s.stable), refsTo(o, r, s, s.canary)
		if len(stable) == 0 || len(canary) == 0 {
			continue
		}
		one := split{rule: i, name: ruleName(o.View.Spec.Rules, i)}
		for _, at := range stable {
			other := counterpart(r, at, stable, canary)
			if other < 0 {
				return nil, fmt.Errorf("rule %s of %v has several backendRefs to Service %q or %q, and they do not pair up "+
					"by port: give each port one backendRef to either Service", one.name, o.Ref, s.stable, s.canary)
			}
			one.pairs = append(one.pairs, pair{at, other})
			one.stable += weightOf(r.BackendRefs[at])
			one.canary += weightOf(r.BackendRefs[other])
		}
		if len(stable) != len(canary) {
			return nil, fmt.Errorf("rule %s of %v has %d backendRefs to Service %q and %d to %q: give each port one to either",
				one.name, o.Ref, len(stable), s.stable, len(canary), s.canary)
		}
		found = append(found, one)
	}
	if len(found) == 0 {
		return nil, noSplit(o, s)
	}

	return found, nil
}

// refsTo returns the indices of a rule's backendRefs to a Service of the rollout. The name alone is not enough: the same
// name may be a Service of another namespace, or no Service at all.
func refsTo(o *objects.Typed[route], r rule, s services, name string) []int {
	var found []int
	for i, ref := range r.BackendRefs {
		namespace := deref(ref.Namespace, gatewayv1.Namespace(o.Ref.Namespace))
		if string(ref.Name) == name && string(namespace) == s.namespace && isService(ref) {
			found = append(found, i)
		}
	}

	return found
}

func isService(ref gatewayv1.BackendRef) bool {
	return deref(ref.Group, "") == "" && deref(ref.Kind, "Service") == "Service"
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

// noSplit explains why no rule sends to both Services, by the rule that comes closest.
func noSplit(o *objects.Typed[route], s services) error {
	const add = "add the missing backendRef, with weight 0 for the canary"
	for i, r := range o.View.Spec.Rules {
		for _, names := range [][2]string{{s.stable, s.canary}, {s.canary, s.stable}} {
			if len(refsTo(o, r, s, names[0])) == 0 {
				continue
			}

			return fmt.Errorf("rule %s of %v sends to Service %q and not to %q%s: %s",
				ruleName(o.View.Spec.Rules, i), o.Ref, names[0], names[1], lookalike(o, s, names[1]), add)
		}
	}

	return fmt.Errorf("%v sends neither to Service %q nor to %q of namespace %q%s%s: %s",
		o.Ref, s.stable, s.canary, s.namespace, lookalike(o, s, s.stable), lookalike(o, s, s.canary), add)
}

// lookalike describes a backendRef that has the Service's name and still is not it. Empty: there is none.
func lookalike(o *objects.Typed[route], s services, name string) string {
	for i, r := range o.View.Spec.Rules {
		for _, ref := range r.BackendRefs {
			if string(ref.Name) != name {
				continue
			}
			namespace := string(deref(ref.Namespace, gatewayv1.Namespace(o.Ref.Namespace)))
			if isService(ref) && namespace == s.namespace {
				continue
			}
			kind := string(deref(ref.Kind, "Service"))
			if g := deref(ref.Group, ""); g != "" {
				kind += "." + string(g)
			}

			return fmt.Sprintf(" (rule %s has a backendRef %q, but to %s in namespace %q)",
				ruleName(o.View.Spec.Rules, i), name, kind, namespace)
		}
	}

	return ""
}

// ruleName is what a rule is called in places and claims. Names are unique by the CRD's own validation; where an old CRD
// let the same name through twice, the index tells the rules apart.
func ruleName(rules []rule, i int) string {
	name := rules[i].Name
	if name == "" {
		return fmt.Sprintf("#%d", i)
	}
	if slices.IndexFunc(rules, func(r rule) bool { return r.Name == name }) != i {
		return fmt.Sprintf("%s#%d", name, i)
	}

	return name
}

// shares is what the split gives the Services of a total. 9 to 1 is 90 to 10: a gateway does not care about the sum. A
// Service that gets any traffic never shows as 0, or it would look drained. A split of nothing, where the gateway refuses
// all requests, is nothing to both.
func (s split) shares(total int32) weights {
	both := trafficrouter.Normalize(total, s.stable, s.canary)

	return weights{stable: both[0], canary: both[1]}
}

// setWeights edits the rules of a route that do not split as wanted. A rule that splits the same in other numbers stays as
// its author wrote it.
func setWeights(o *objects.Typed[route], splits []split, want weights) {
	for _, s := range splits {
		if s.shares(want.stable+want.canary) == want {
			continue
		}
		for _, p := range s.pairs {
			setWeight(o, s.rule, p.stable, want.stable)
			setWeight(o, s.rule, p.canary, want.canary)
		}
	}
}

func setWeight(o *objects.Typed[route], rule, ref int, weight int32) {
	if weightOf(o.View.Spec.Rules[rule].BackendRefs[ref]) != weight {
		o.Set(weight, "spec", "rules", rule, "backendRefs", ref, "weight")
	}
}

// setLabel marks the route while the canary gets traffic, and removes the mark when it does not.
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

// weightOf is a backendRef's weight; Gateway API gives 1 to one that has none.
func weightOf(ref gatewayv1.BackendRef) int32 { return deref(ref.Weight, 1) }

// portOf is a backendRef's port, 0 if it has none.
func portOf(ref gatewayv1.BackendRef) int32 { return deref(ref.Port, 0) }

// place names a rule in an observation.
func place(o *objects.Typed[route], s split) string {
	return fmt.Sprintf("%s/%s/%s rule=%s", o.Ref.Kind, o.Ref.Namespace, o.Ref.Name, s.name)
}

// claimKeys name the backends of a rule that the rollout steers.
func claimKeys(o *objects.Typed[route], s split, svc services) []string {
	refs := o.View.Spec.Rules[s.rule].BackendRefs
	var keys []string
	for _, p := range s.pairs {
		for _, i := range []int{p.stable, p.canary} {
			var b strings.Builder
			fmt.Fprintf(&b, "rule=%s/backend=Service/%s/%s", s.name, svc.namespace, refs[i].Name)
			if port := portOf(refs[i]); port != 0 {
				fmt.Fprintf(&b, ":%d", port)
			}
			keys = append(keys, b.String())
		}
	}

	return keys
}

func deref[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}

	return *p
}

func filter(indices []int, keep func(int) bool) []int {
	return slices.DeleteFunc(slices.Clone(indices), func(i int) bool { return !keep(i) })
}
