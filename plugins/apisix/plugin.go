package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

//go:embed schema.json
var schema []byte

// info introduces the plugin. It updates the ApisixRoute of the user, and makes one per header route.
func info() plugin.Info {
	return plugin.Info{Name: "apisix", Version: "0.1.0", Kinds: []plugin.Kind{
		{Group: group, Kind: "ApisixRoute", Verbs: []plugin.Verb{plugin.Read, plugin.Create, plugin.Update, plugin.Delete}},
	}}
}

func service() plugin.Service { return trafficrouter.Service(router{}).WithConfigSchema(schema) }

// router splits traffic by the weights of rules of one ApisixRoute. It keeps nothing between calls.
type router struct{}

var (
	_ trafficrouter.Router       = router{}
	_ trafficrouter.Observer     = router{}
	_ trafficrouter.HeaderRouter = router{}
)

// Validate checks that the rules are there and split, and that header routes can be made.
func (router) Validate(_ context.Context, req *trafficrouter.ValidateRequest) error {
	var names []string
	for _, m := range req.Envelope.ManagedRoutes {
		names = append(names, m.Name)
	}
	c, err := read(req.Inputs, req.Config, req.Target, ends{req.Target.StableService, req.Target.CanaryService}, names, nil)
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}

	return c.checkNames()
}

// Observe reports what each rule does. What the gateway has taken over it does not say in a way all versions share, so the
// answer settles after a time.
func (router) Observe(_ context.Context, req *trafficrouter.ObserveRequest) (*trafficrouter.Observation, error) {
	c, err := read(req.Inputs, req.Config, req.Target, ends{req.Target.StableService, req.Target.CanaryService}, req.ManagedNames, req.Kept)
	if err != nil {
		return nil, err
	}
	seen := &trafficrouter.Observation{Convergence: trafficrouter.Unknown, Settle: c.drain, Claims: c.claims()}
	managed, residue, err := c.managed()
	if err != nil {
		return nil, err
	}
	for i, r := range c.splits {
		w := c.found(r)
		seen.Observed = append(seen.Observed, trafficrouter.Observed{
			Place:   fmt.Sprintf("ApisixRoute/%s/%s http=%s", c.object.Ref.Namespace, c.object.Ref.Name, r.name),
			Residue: residue && i == 0,
			Traffic: trafficrouter.Traffic{TotalWeight: total, ManagedRoutes: managed, Destinations: []trafficrouter.Destination{
				{Role: trafficrouter.RoleStable, Service: c.stable, Weight: w.stable},
				{Role: trafficrouter.RoleCanary, Service: c.canary, Weight: w.canary},
			}},
		})
	}

	return seen, nil
}

// Route writes the weights, and makes, edits and removes the ApisixRoutes of header routes.
func (router) Route(_ context.Context, req *trafficrouter.RouteRequest) (*trafficrouter.Stage, error) {
	stable, _ := req.Traffic.Destination(trafficrouter.RoleStable)
	canary, _ := req.Traffic.Destination(trafficrouter.RoleCanary)
	c, err := read(req.Inputs, req.Config, req.Target, ends{
		cmp.Or(stable.Service, req.Target.StableService), cmp.Or(canary.Service, req.Target.CanaryService),
	}, req.Traffic.ManagedNames, req.Kept)
	if err != nil {
		return nil, err
	}
	if err := c.reach(weights{stable.Weight, canary.Weight}); err != nil {
		return nil, err
	}
	writes, err := objects.Changed(c.object.Object)
	if err != nil {
		return nil, fmt.Errorf("editing: %w", err)
	}
	own, err := c.route(req.Inputs, req.Traffic.ManagedRoutes)
	if err != nil {
		return nil, err
	}

	return &trafficrouter.Stage{Writes: append(writes, own...)}, nil
}
