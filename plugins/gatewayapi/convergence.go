package main

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// maxSentence bounds what a gateway's own words add to a message.
const maxSentence = 256

// progress is how far the data plane has taken over a route, and a sentence about what it waits for.
type progress struct {
	convergence trafficrouter.Convergence
	message     string
}

// converged judges a route by what its gateways report: each parent the spec names must have accepted the route and
// resolved its references, at the generation it has now.
//
// Where nobody reports anything the answer is Unknown, since waiting would not end. Where one parent reports and another
// does not, it is Pending: that other one may serve the old weights.
func converged(o *objects.Typed[route]) progress {
	if len(o.View.Spec.ParentRefs) == 0 {
		return progress{trafficrouter.Unknown, fmt.Sprintf("%v has no parentRefs: no gateway reports on it", o.Ref)}
	}
	if len(o.View.Status.Parents) == 0 {
		return progress{trafficrouter.Unknown, fmt.Sprintf("no gateway reports on %v", o.Ref)}
	}

	worst := progress{convergence: trafficrouter.Done}
	for _, parent := range o.View.Spec.ParentRefs {
		worst = worse(worst, parentConverged(o, parent))
	}

	return worst
}

// parentConverged judges one parent. Several controllers may report on the same parent; each may serve traffic, so all of
// them count.
func parentConverged(o *objects.Typed[route], parent gatewayv1.ParentReference) progress {
	worst := progress{trafficrouter.Pending, fmt.Sprintf("%s has not reported on %v yet", describe(o, parent), o.Ref)}
	first := true
	for _, status := range o.View.Status.Parents {
		if identify(o, status.ParentRef) != identify(o, parent) {
			continue // An entry for a parent the spec no longer names.
		}
		for _, kind := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
			next := conditionConverged(o, describe(o, parent), status.Conditions, string(kind))
			if first {
				worst, first = next, false
			}
			worst = worse(worst, next)
		}
	}

	return worst
}

// conditionConverged judges one condition of one parent. What an older generation was told says nothing about this one;
// a gateway that does not say which generation it means reports nothing that could be waited for.
func conditionConverged(o *objects.Typed[route], parent string, conditions []metav1.Condition, kind string) progress {
	generation := o.View.Metadata.Generation
	for _, c := range conditions {
		if c.Type != kind {
			continue
		}
		switch {
		case c.ObservedGeneration == 0 && generation > 0:
			return progress{trafficrouter.Unknown, fmt.Sprintf("%s does not say which generation of %v it has seen", parent, o.Ref)}
		case c.ObservedGeneration < generation:
			return progress{trafficrouter.Pending, fmt.Sprintf("%s has seen generation %d of %v, not yet %d",
				parent, c.ObservedGeneration, o.Ref, generation)}
		case c.Status != metav1.ConditionTrue:
			return progress{trafficrouter.Pending, fmt.Sprintf("%s reports on %v: %s is %s: %s", parent, o.Ref, kind, c.Status, sentence(c))}
		}

		return progress{convergence: trafficrouter.Done}
	}

	return progress{trafficrouter.Pending, fmt.Sprintf("%s has not said of %v yet whether it is %s", parent, o.Ref, kind)}
}

// worse keeps what holds longer: Pending before Unknown before Done. Of equals the first.
func worse(a, b progress) progress {
	rank := map[trafficrouter.Convergence]int{trafficrouter.Done: 0, trafficrouter.Unknown: 1, trafficrouter.Pending: 2}
	if rank[b.convergence] > rank[a.convergence] {
		return b
	}

	return a
}

// parentID is a parentRef with its defaults filled in: a status entry may spell out what the spec leaves to the default.
type parentID struct {
	group, kind, namespace, name, section string
	port                                  int32
}

func identify(o *objects.Typed[route], p gatewayv1.ParentReference) parentID {
	return parentID{
		group:     string(deref(p.Group, group)),
		kind:      string(deref(p.Kind, "Gateway")),
		namespace: string(deref(p.Namespace, gatewayv1.Namespace(o.Ref.Namespace))),
		name:      string(p.Name),
		section:   string(deref(p.SectionName, "")),
		port:      deref(p.Port, 0),
	}
}

// describe names a parent for people: `Gateway "infra/public" section "https"`.
func describe(o *objects.Typed[route], p gatewayv1.ParentReference) string {
	id := identify(o, p)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q", id.kind, id.namespace+"/"+id.name)
	if id.section != "" {
		fmt.Fprintf(&b, " section %q", id.section)
	}
	if id.port != 0 {
		fmt.Fprintf(&b, " port %d", id.port)
	}

	return b.String()
}

// sentence is what the gateway itself says, on one line and bounded.
func sentence(c metav1.Condition) string {
	text := c.Reason
	if c.Message != "" {
		text = c.Reason + ": " + strings.Join(strings.Fields(c.Message), " ")
	}
	if len(text) > maxSentence {
		text = strings.ToValidUTF8(text[:maxSentence], "") + "…"
	}

	return text
}
