package main

import (
	"fmt"
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sluice-rollouts/sluice/sdk/objects"
)

// route is what all kinds of routes have in common. It is a view for reading: edits go to the object itself, so that what
// is not in here stays.
type route struct {
	Metadata struct {
		Generation  int64             `json:"generation"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
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

// noSplit explains why no rule sends to both Services, by the rule that comes closest.
func noSplit(o *objects.Typed[route], s services, names []string) error {
	const add = "add the missing backendRef, with weight 0 for the canary"
	for i, r := range o.View.Spec.Rules {
		for _, pair := range [][2]string{{s.stable, s.canary}, {s.canary, s.stable}} {
			if len(refsTo(o, r, s, pair[0])) == 0 {
				continue
			}

			return fmt.Errorf("rule %s of %v sends to Service %q and not to %q%s: %s",
				names[i], o.Ref, pair[0], pair[1], lookalike(o, s, pair[1], names), add)
		}
	}

	return fmt.Errorf("%v sends neither to Service %q nor to %q of namespace %q%s%s: %s",
		o.Ref, s.stable, s.canary, s.namespace, lookalike(o, s, s.stable, names), lookalike(o, s, s.canary, names), add)
}

// lookalike describes a backendRef that has the Service's name and still is not it. Empty: there is none.
func lookalike(o *objects.Typed[route], s services, name string, names []string) string {
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

			return fmt.Sprintf(" (rule %s has a backendRef %q, but to %s in namespace %q)", names[i], name, kind, namespace)
		}
	}

	return ""
}

// ruleNames are what rules are called in places and claims: their name, or `#` and the index among the rules that are not
// the plugin's own, so that a managed route put before them renames none. Names are unique by the CRD's own validation;
// where an old CRD let the same name through twice, the index tells the rules apart.
func ruleNames(rules []rule, own owned) []string {
	var (
		names   = make([]string, len(rules))
		foreign int
	)
	for i, r := range rules {
		switch first := slices.IndexFunc(rules, func(o rule) bool { return o.Name == r.Name }); {
		case own.by[i] != "":
			names[i] = own.by[i]

			continue
		case r.Name == "":
			names[i] = fmt.Sprintf("#%d", foreign)
		case first != i:
			names[i] = fmt.Sprintf("%s#%d", r.Name, foreign)
		default:
			names[i] = r.Name
		}
		foreign++
	}

	return names
}

// weightOf is a backendRef's weight; Gateway API gives 1 to one that has none.
func weightOf(ref gatewayv1.BackendRef) int32 { return deref(ref.Weight, 1) }

// portOf is a backendRef's port, 0 if it has none.
func portOf(ref gatewayv1.BackendRef) int32 { return deref(ref.Port, 0) }

// place names a rule in an observation.
func place(o *objects.Typed[route], s split) string {
	return fmt.Sprintf("%s/%s/%s rule=%s", o.Ref.Kind, o.Ref.Namespace, o.Ref.Name, s.name)
}

// claimKeys name the backendRefs of a split that only one rollout may steer, in the order of the rule, so that Services
// that trade places change nothing.
func claimKeys(o *objects.Typed[route], s split, of services) []string {
	refs := o.View.Spec.Rules[s.rule].BackendRefs
	var steered []int
	for _, p := range s.pairs {
		steered = append(steered, p.stable, p.canary)
	}
	slices.Sort(steered)
	var keys []string
	for _, i := range steered {
		key := fmt.Sprintf("rule=%s/backend=Service/%s/%s", s.name, of.namespace, refs[i].Name)
		if port := portOf(refs[i]); port != 0 {
			key += fmt.Sprintf(":%d", port)
		}
		keys = append(keys, key)
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
