package main

import (
	"context"
	_ "embed"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// maxTotal is the largest total of weights; nginx's Lua draws among as many numbers.
const maxTotal = 1_000_000_000

//go:embed schema.json
var schema []byte

// info introduces the plugin. Ingresses it creates and deletes are the rollout's own canary Ingresses.
func info() plugin.Info {
	edit := []plugin.Verb{plugin.Read, plugin.Update}

	return plugin.Info{Name: "nginx", Version: "0.1.0", Kinds: []plugin.Kind{
		{Group: ingressGroup, Kind: "Ingress", Verbs: []plugin.Verb{plugin.Read, plugin.Create, plugin.Update, plugin.Delete}},
		{Group: serverGroup, Kind: "VirtualServer", Verbs: edit},
		{Group: serverGroup, Kind: "VirtualServerRoute", Verbs: edit},
	}}
}

func service() plugin.Service { return trafficrouter.Service(router{}).WithConfigSchema(schema) }

// router splits traffic in one of the two products, as the block says. It keeps nothing between calls.
type router struct{}

var (
	_ trafficrouter.Router       = router{}
	_ trafficrouter.Observer     = router{}
	_ trafficrouter.HeaderRouter = router{}
	_ trafficrouter.WeightScaler = router{}
)

// MaxTotalWeight is ingress-nginx's; VirtualServers take 100 only, which Validate says.
func (router) MaxTotalWeight() int32 { return maxTotal }

// CheckHeaderRoute leaves it to Validate, which knows the product.
func (router) CheckHeaderRoute(trafficrouter.HeaderRoute) error { return nil }

// subject is on whose behalf a call is made.
type subject struct {
	plugin.Target

	// names are those of managed routes.
	names []string
	// kept is, in a release, what the rollout goes on steering.
	kept trafficrouter.Claims
}

// product is what a block steers, with the objects as they are.
type product interface {
	// check says what of the steps, the references and the objects does not fit. Nil: nothing.
	check(e trafficrouter.Envelope) error
	// observe says what is there, in weights of total. Releasing: what would be kept otherwise is residue.
	observe(total int32, releasing bool) (*trafficrouter.Observation, error)
	// route makes the next stage.
	route(want trafficrouter.Traffic, release bool) (*trafficrouter.Stage, error)
}

// open reads a block and its objects. Its errors are those of the contract.
func open(in *objects.Inputs, raw []byte, of subject) (product, error) {
	s, err := parseConfig(raw)
	if err != nil {
		return nil, err
	}
	switch {
	case of.StableService == "" || of.CanaryService == "":
		return nil, plugin.InvalidConfig("", "the rollout names no two Services to split traffic between: "+
			"set spec.strategy.canary.stableService and canaryService")
	case of.StableService == of.CanaryService:
		return nil, plugin.InvalidConfig("", "stable and canary Service are both %q: traffic cannot be split between a Service and itself", of.StableService)
	case len(s.servers) > 0:
		return openServers(in, s, of)
	default:
		return openIngresses(in, s, of)
	}
}

// Validate checks that everything the configuration names is there and splits, and that all steps can be made.
func (router) Validate(_ context.Context, req *trafficrouter.ValidateRequest) error {
	of := subject{Target: req.Target}
	for _, m := range req.Envelope.ManagedRoutes {
		of.names = append(of.names, m.Name)
	}
	p, err := open(req.Inputs, req.Config, of)
	if err != nil {
		return err
	}

	return p.check(req.Envelope)
}

// Observe reports each place that splits. Neither product says what nginx serves already, so the answer settles after a
// time.
func (router) Observe(_ context.Context, req *trafficrouter.ObserveRequest) (*trafficrouter.Observation, error) {
	p, err := open(req.Inputs, req.Config, subject{req.Target, req.ManagedNames, req.Kept})
	if err != nil {
		return nil, err
	}

	return p.observe(req.TotalWeight, req.Releasing)
}

// Route writes weights and header routes in one stage: neither product lets a name be re-pointed.
func (router) Route(_ context.Context, req *trafficrouter.RouteRequest) (*trafficrouter.Stage, error) {
	of := subject{req.Target, req.Traffic.ManagedNames, req.Kept}
	if d, ok := req.Traffic.Destination(trafficrouter.RoleStable); ok && d.Service != "" {
		of.StableService = d.Service
	}
	if d, ok := req.Traffic.Destination(trafficrouter.RoleCanary); ok && d.Service != "" {
		of.CanaryService = d.Service
	}
	p, err := open(req.Inputs, req.Config, of)
	if err != nil {
		return nil, err
	}

	return p.route(req.Traffic, req.Release)
}
