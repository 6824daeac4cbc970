package main

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// maxWeight is the largest weight Gateway API allows for a backendRef.
const maxWeight = 1_000_000

//go:embed schema.json
var schema []byte

// info introduces the plugin. It reads and updates routes, and creates nothing.
func info() plugin.Info {
	verbs := []plugin.Verb{plugin.Read, plugin.Update}
	in := plugin.Info{Name: "gatewayapi", Version: "0.1.0"}
	for _, k := range (config{}).kinds() {
		in.Kinds = append(in.Kinds, plugin.Kind{Group: group, Kind: k.kind, Verbs: verbs})
	}

	return in
}

func service() plugin.Service { return trafficrouter.Service(router{}).WithConfigSchema(schema) }

// router splits traffic by the weights of Gateway API routes. It keeps nothing between calls.
type router struct{}

var (
	_ trafficrouter.Router       = router{}
	_ trafficrouter.Observer     = router{}
	_ trafficrouter.WeightScaler = router{}
)

// MaxTotalWeight is Gateway API's limit for one weight.
func (router) MaxTotalWeight() int32 { return maxWeight }

// Validate checks that each route is there and has a rule that sends to both Services.
func (router) Validate(_ context.Context, req *trafficrouter.ValidateRequest) error {
	_, err := read(req.Inputs, req.Config, servicesOf(req.Target), strict)

	return err
}

// Observe reports each rule that splits, and what the gateways say about the routes.
func (router) Observe(_ context.Context, req *trafficrouter.ObserveRequest) (*trafficrouter.Observation, error) {
	call, err := read(req.Inputs, req.Config, servicesOf(req.Target), partial)
	if err != nil {
		return nil, err
	}
	var (
		seen  = &trafficrouter.Observation{Settle: call.drain}
		worst = progress{convergence: trafficrouter.Done}
	)
	for _, r := range call.selected {
		worst = worse(worst, converged(r.object))
		seen.Observed = append(seen.Observed, call.observe(r, req.TotalWeight)...)
		seen.Claims = append(seen.Claims, call.claims(r)...)
	}
	for _, r := range call.left {
		worst = worse(worst, converged(r.object))
		seen.Observed = append(seen.Observed, call.observeLeft(r, req.TotalWeight)...)
	}
	seen.Convergence, seen.Message = worst.convergence, worst.message

	return seen, nil
}

// Route sets all weights in one stage: weights neither re-point nor remove a Service, so no order between routes matters.
func (router) Route(_ context.Context, req *trafficrouter.RouteRequest) (*trafficrouter.Stage, error) {
	if len(req.Traffic.ManagedRoutes) > 0 || req.Traffic.Weight(trafficrouter.RoleExperiment) > 0 {
		return nil, plugin.Unsupported("gatewayapi has no managed routes and no experiments yet")
	}
	mode := partial
	if req.Release {
		mode = lenient
	}
	stable, _ := req.Traffic.Destination(trafficrouter.RoleStable)
	canary, _ := req.Traffic.Destination(trafficrouter.RoleCanary)
	call, err := read(req.Inputs, req.Config, servicesOf(req.Target).named(stable.Service, canary.Service), mode)
	if err != nil {
		return nil, err
	}
	want := weights{stable: stable.Weight, canary: canary.Weight}
	var edited []*objects.Object
	for _, r := range call.toRoute(req.Release) {
		setWeights(r.object, r.splits, want)
		setLabel(r.object, call.label, want.canary != 0)
		edited = append(edited, r.object.Object)
	}
	for _, r := range call.left {
		setWeights(r.object, r.splits, weights{stable: req.Traffic.TotalWeight})
		setLabel(r.object, call.label, false)
		edited = append(edited, r.object.Object)
	}
	writes, err := objects.Changed(edited...)
	if err != nil {
		return nil, fmt.Errorf("editing routes: %w", err)
	}

	return &trafficrouter.Stage{Writes: writes}, nil
}
