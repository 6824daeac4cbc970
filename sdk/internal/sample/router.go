// Package sample is a traffic router and a metric provider for a made-up data plane, small enough to be read at one go. The
// SDK's own tests run against it, and its faults show that the conformance suite finds them.
package sample

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// Group and Kind of the objects the router writes.
const (
	Group = "sample.sluice.dev"
	Kind  = "Route"
)

// Fault is a mistake the router makes on purpose.
type Fault string

// The faults.
const (
	None             Fault = ""
	DropsForeign     Fault = "drops fields it does not know"
	NeverDone        Fault = "writes although nothing changed"
	LeavesRoutes     Fault = "leaves managed routes behind on release"
	LenientConfig    Fault = "accepts unknown fields of the configuration"
	IgnoresMissing   Fault = "accepts a reference to nothing"
	RemembersWeights Fault = "observes what it was told, not what is there"
	WritesTwice      Fault = "writes one object twice in an answer"
	TouchesStatus    Fault = "writes the status"
	Panics           Fault = "panics"
	Ends             Fault = "ends its process in Observe"
)

// Info introduces the sample plugin.
func Info() plugin.Info {
	return plugin.Info{
		Name: "sample", Version: "0.1.0",
		Kinds: []plugin.Kind{
			{Group: Group, Kind: Kind, Verbs: []plugin.Verb{plugin.Read, plugin.Update}},
			{Kind: "ConfigMap", Verbs: []plugin.Verb{plugin.Read}},
		},
	}
}

// Router steers by the weights of a Route's rule `main`, and puts managed routes in front of it.
type Router struct {
	// Fault is the mistake to make.
	Fault Fault

	last atomic.Pointer[trafficrouter.Traffic] // of RemembersWeights
}

type routerConfig struct {
	Route string `json:"route"`
}

// Route is the made-up object.
type Route struct {
	Metadata struct {
		Generation int64 `json:"generation"`
	} `json:"metadata"`
	Spec struct {
		Rules []Rule `json:"rules"`
	} `json:"spec"`
	Status struct {
		ObservedGeneration int64 `json:"observedGeneration"`
	} `json:"status"`
}

// Rule is one rule of a Route.
type Rule struct {
	Name     string                     `json:"name"`
	Header   *trafficrouter.HeaderRoute `json:"header,omitempty"`
	Backends []Backend                  `json:"backends"`
}

// Backend is one destination of a Rule.
type Backend struct {
	Service string `json:"service"`
	Weight  int32  `json:"weight"`
}

// CheckHeaderRoute refuses regular expressions.
func (*Router) CheckHeaderRoute(route trafficrouter.HeaderRoute) error {
	for i, match := range route.Match {
		if match.Value.Kind == trafficrouter.MatchRegex {
			return plugin.InvalidConfig(config.Path("match", i, "headerValue", "regex"), "not supported")
		}
	}

	return nil
}

// Validate checks the configuration, and that the route has the rule and its backends.
func (r *Router) Validate(_ context.Context, req *trafficrouter.ValidateRequest) error {
	if r.Fault == Panics {
		panic("on purpose")
	}
	_, _, _, err := r.find(req.Target, req.Config, req.Inputs)

	return err
}

// Observe reads the weights of the rule.
func (r *Router) Observe(_ context.Context, req *trafficrouter.ObserveRequest) (*trafficrouter.Observation, error) {
	if r.Fault == Ends {
		go panic("goodbye") // in a goroutine of its own, where nobody recovers it
		select {}
	}
	route, main, canary, err := r.find(req.Target, req.Config, req.Inputs)
	if err != nil {
		return nil, err
	}
	rule := route.View.Spec.Rules[main]
	weights := trafficrouter.Normalize(req.TotalWeight, rule.Backends[1-canary].Weight, rule.Backends[canary].Weight)
	traffic := trafficrouter.Traffic{
		TotalWeight: req.TotalWeight,
		Destinations: []trafficrouter.Destination{
			{Role: trafficrouter.RoleStable, Service: req.Target.StableService, Weight: weights[0]},
			{Role: trafficrouter.RoleCanary, Service: req.Target.CanaryService, Weight: weights[1]},
		},
	}
	for _, rule := range route.View.Spec.Rules {
		if slices.Contains(req.ManagedNames, rule.Name) {
			traffic.ManagedRoutes = append(traffic.ManagedRoutes, trafficrouter.ManagedRoute{Name: rule.Name, Header: rule.Header})
		}
	}
	if last := r.last.Load(); last != nil {
		traffic = *last
		traffic.ManagedNames = nil
	}
	convergence := trafficrouter.Pending
	if route.View.Status.ObservedGeneration == route.View.Metadata.Generation {
		convergence = trafficrouter.Done
	}

	return &trafficrouter.Observation{
		Observed:    []trafficrouter.Observed{{Place: route.Ref.String() + " rule=main", Traffic: traffic}},
		Convergence: convergence,
		Claims:      []trafficrouter.Claim{{Object: route.Ref, Key: "rule=main/backend=" + req.Target.CanaryService}},
	}, nil
}

// Route brings the managed routes in order, and then the weights: one stage each.
func (r *Router) Route(_ context.Context, req *trafficrouter.RouteRequest) (*trafficrouter.Stage, error) {
	route, main, canary, err := r.find(req.Target, req.Config, req.Inputs)
	if err != nil {
		return nil, err
	}
	r.remember(req.Traffic)
	if r.misbehave(route, req) {
		return r.faultyStage(route)
	}

	keep := r.Fault == LeavesRoutes && req.Release
	if current := managed(route.View.Spec.Rules, req.Traffic); !keep && !same(current, wanted(req)) {
		for i := len(route.View.Spec.Rules) - 1; i >= 0; i-- {
			if req.Traffic.IsManaged(route.View.Spec.Rules[i].Name) {
				route.Delete("spec", "rules", i)
			}
		}
		for i, rule := range wanted(req) {
			route.Insert(i, rule, "spec", "rules")
		}
		writes, err := objects.Changed(route.Object)

		return &trafficrouter.Stage{Writes: writes, Message: "weights follow"}, err
	}

	route.Set(req.Traffic.Weight(trafficrouter.RoleStable), "spec", "rules", main, "backends", 1-canary, "weight")
	route.Set(req.Traffic.Weight(trafficrouter.RoleCanary), "spec", "rules", main, "backends", canary, "weight")
	writes, err := objects.Changed(route.Object)

	return &trafficrouter.Stage{Writes: writes}, err
}

func managed(rules []Rule, traffic trafficrouter.Traffic) []Rule {
	return slices.DeleteFunc(slices.Clone(rules), func(rule Rule) bool { return !traffic.IsManaged(rule.Name) })
}

func wanted(req *trafficrouter.RouteRequest) []Rule {
	rules := []Rule{}
	for _, route := range req.Traffic.ManagedRoutes {
		rules = append(rules, Rule{
			Name: route.Name, Header: route.Header,
			Backends: []Backend{{Service: req.Target.CanaryService, Weight: 1}},
		})
	}

	return rules
}

func same(a, b []Rule) bool { return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b)) }

// find returns the route, the index of its rule `main`, and that of the canary among the rule's two backends.
func (r *Router) find(target plugin.Target, raw []byte, in *objects.Inputs) (_ *objects.Typed[Route], main, canary int, _ error) {
	block, err := config.Decode[routerConfig](raw)
	if err != nil && r.Fault == LenientConfig {
		err = json.Unmarshal(raw, &block)
	}
	if err != nil {
		return nil, 0, 0, err
	}
	if block.Route == "" {
		return nil, 0, 0, plugin.InvalidConfig("route", "is required")
	}
	route, err := objects.Get[Route](in, objects.Need{
		Group: Group, Kind: Kind, Versions: []string{"v1"}, Namespace: target.Namespace, Name: block.Route,
	})
	if err != nil {
		if plugin.IsReferenceNotFound(err) && r.Fault == IgnoresMissing {
			err = &objects.NotReadyError{}
		}

		return nil, 0, 0, err
	}
	main = slices.IndexFunc(route.View.Spec.Rules, func(rule Rule) bool { return rule.Name == "main" })
	if main < 0 {
		return nil, 0, 0, plugin.InvalidConfig("route", "%v has no rule %q", route.Ref, "main")
	}
	backends := route.View.Spec.Rules[main].Backends
	canary = slices.IndexFunc(backends, func(b Backend) bool { return b.Service == target.CanaryService })
	if canary < 0 || len(backends) != 2 || backends[1-canary].Service != target.StableService {
		return nil, 0, 0, plugin.InvalidConfig("route", "rule %q of %v: want backends %s and %s",
			"main", route.Ref, target.StableService, target.CanaryService)
	}

	return route, main, canary, nil
}

func (r *Router) remember(traffic trafficrouter.Traffic) {
	if r.Fault == RemembersWeights {
		r.last.Store(&traffic)
	}
}

func (r *Router) misbehave(route *objects.Typed[Route], req *trafficrouter.RouteRequest) bool {
	switch r.Fault {
	case DropsForeign:
		route.Delete("spec", "conformanceForeign")
	case TouchesStatus:
		route.Set("x", "status", "touched")
	case NeverDone:
		route.Set(fmt.Sprint(route.ResourceVersion), "metadata", "annotations", "sample.sluice.dev/written")

		return !req.Release
	case WritesTwice:
		return true
	case None, LeavesRoutes, LenientConfig, IgnoresMissing, RemembersWeights, Panics, Ends:
	}

	return false
}

func (r *Router) faultyStage(route *objects.Typed[Route]) (*trafficrouter.Stage, error) {
	write, _, err := route.Update()
	writes := []objects.Write{write}
	if r.Fault == WritesTwice {
		writes = append(writes, write)
	}

	return &trafficrouter.Stage{Writes: writes}, err
}
