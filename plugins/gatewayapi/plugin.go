package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// maxWeight is the largest weight Gateway API allows for a backendRef.
const maxWeight = 1_000_000

//go:embed schema.json
var schema []byte

// info introduces the plugin. It reads and updates routes, reads the Services of experiments, and creates nothing.
func info() plugin.Info {
	verbs := []plugin.Verb{plugin.Read, plugin.Update}
	in := plugin.Info{Name: "gatewayapi", Version: "0.2.0"}
	for _, k := range (config{}).kinds() {
		in.Kinds = append(in.Kinds, plugin.Kind{Group: group, Kind: k.kind, Verbs: verbs})
	}
	in.Kinds = append(in.Kinds, plugin.Kind{Kind: "Service", Verbs: []plugin.Verb{plugin.Read}})

	return in
}

func service() plugin.Service { return trafficrouter.Service(router{}).WithConfigSchema(schema) }

// router splits traffic by the weights of Gateway API routes. It keeps nothing between calls.
type router struct{}

var (
	_ trafficrouter.Router       = router{}
	_ trafficrouter.Observer     = router{}
	_ trafficrouter.WeightScaler = router{}
	_ trafficrouter.HeaderRouter = router{}
	_ trafficrouter.MirrorRouter = router{}
	_ trafficrouter.Experimenter = router{}
)

// MaxTotalWeight is Gateway API's limit for one weight.
func (router) MaxTotalWeight() int32 { return maxWeight }

// Validate checks that each route is there, has a rule that sends to both Services, and has room for all steps.
func (router) Validate(_ context.Context, req *trafficrouter.ValidateRequest) error {
	var names []string
	for _, m := range req.Envelope.ManagedRoutes {
		names = append(names, m.Name)
	}
	c, err := read(req.Inputs, req.Config, subjectOf(req.Target, names), strict)
	if err != nil {
		return err
	}
	if len(names) > 0 && !slices.ContainsFunc(c.selected, func(r steered) bool { return r.headers }) {
		return plugin.InvalidConfig("", "steps set managed route %q, and no route takes any: name an httpRoute or grpcRoute, "+
			"or set useHeaderRoutes in httpRoutes or grpcRoutes", names[0])
	}
	for _, r := range c.selected {
		if err := c.checkSession(r); err != nil {
			return err
		}
		if err := c.checkEnvelope(r, r.path, req.Envelope); err != nil {
			return err
		}
		if remark := c.remarks(r); remark != "" {
			req.Warnf("%s", remark)
		}
	}

	return nil
}

// Observe reports each rule that splits, and what the gateways say about the routes.
func (router) Observe(_ context.Context, req *trafficrouter.ObserveRequest) (*trafficrouter.Observation, error) {
	subject := subjectOf(req.Target, req.ManagedNames)
	subject.kept = req.Kept
	c, err := read(req.Inputs, req.Config, subject, partial)
	if err != nil {
		return nil, err
	}
	var (
		seen    = &trafficrouter.Observation{Settle: c.drain}
		worst   = progress{convergence: trafficrouter.Done}
		remarks string
	)
	for _, r := range c.selected {
		worst = worse(worst, converged(r.object))
		seen.Observed = append(seen.Observed, c.observe(r, req.TotalWeight)...)
		seen.Claims = append(seen.Claims, c.claims(r)...)
		remarks = cmp.Or(remarks, c.remarks(r))
	}
	for _, r := range c.left {
		worst = worse(worst, converged(r.object))
		seen.Observed = append(seen.Observed, c.observeLeft(r, req.TotalWeight)...)
	}
	seen.Convergence, seen.Message = worst.convergence, cmp.Or(worst.message, remarks)

	return seen, nil
}

// Route brings all routes to the state in one stage: nothing in a route re-points or removes a Service, so no order between
// routes matters.
func (router) Route(_ context.Context, req *trafficrouter.RouteRequest) (*trafficrouter.Stage, error) {
	mode := partial
	if req.Release {
		mode = lenient
	}
	stable, _ := req.Traffic.Destination(trafficrouter.RoleStable)
	canary, _ := req.Traffic.Destination(trafficrouter.RoleCanary)
	subject := subjectOf(req.Target, req.Traffic.ManagedNames).named(stable.Service, canary.Service)
	subject.kept = req.Kept
	c, err := read(req.Inputs, req.Config, subject, mode)
	if err != nil {
		return nil, err
	}
	ports, err := c.ports(req.Inputs, req.Traffic)
	if err != nil {
		return nil, err
	}
	want := c.desired(req.Traffic, ports)
	var (
		edited []*objects.Object
		taken  error
	)
	for _, r := range c.toRoute(req.Release) {
		if len(r.own.taken) > 0 {
			taken = cmp.Or(taken, plugin.Blocked("%s", c.remarks(r)))
		}
		if err := c.route(r, want); err != nil {
			return nil, err
		}
		edited = append(edited, r.object.Object)
	}
	for _, r := range c.left {
		if err := c.reach(r, state{weights: weights{stable: req.Traffic.TotalWeight}}); err != nil {
			return nil, err
		}
		edited = append(edited, r.object.Object)
	}
	writes, err := objects.Changed(edited...)
	if err != nil {
		return nil, fmt.Errorf("editing routes: %w", err)
	}
	if len(writes) == 0 && taken != nil {
		return nil, taken
	}

	return &trafficrouter.Stage{Writes: writes}, nil
}

// route brings one route to a state. Managed routes whose name is somebody else's rule are left out, so that weights still
// move, and so are those the route has no room for.
func (c *call) route(r steered, want state) error {
	want.routes = slices.DeleteFunc(slices.Clone(want.routes), func(m trafficrouter.ManagedRoute) bool {
		return slices.Contains(r.own.taken, m.Name)
	})
	if err := c.reach(r, want); err != nil {
		return plugin.Blocked("%v", err)
	}
	if !want.inProgress() {
		return nil
	}
	rules, _ := r.object.Value("spec", "rules")
	made, _ := rules.([]any)
	if err := checkLimits(made); err != nil {
		return plugin.Blocked("%v has no room for what the rollout adds: %v", r.object.Ref, err)
	}

	return nil
}
