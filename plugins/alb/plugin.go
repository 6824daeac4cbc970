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

// maxExperiments is what a forward action has room for beside stable and canary: AWS takes five target groups.
const maxExperiments = 3

//go:embed schema.json
var schema []byte

// info introduces the plugin. It updates Ingresses, reads the Services of experiments for their ports, and creates nothing.
func info() plugin.Info {
	return plugin.Info{Name: "alb", Version: "0.1.0", Kinds: []plugin.Kind{
		{Group: group, Kind: "Ingress", Verbs: []plugin.Verb{plugin.Read, plugin.Update}},
		{Kind: "Service", Verbs: []plugin.Verb{plugin.Read}},
	}}
}

func service() plugin.Service { return trafficrouter.Service(router{}).WithConfigSchema(schema) }

// router splits traffic by forward actions in annotations of Ingresses. It keeps nothing between calls.
type router struct{}

var (
	_ trafficrouter.Router       = router{}
	_ trafficrouter.Observer     = router{}
	_ trafficrouter.HeaderRouter = router{}
	_ trafficrouter.Experimenter = router{}
)

// MaxExperiments is how many destinations of experiments fit into one action.
func (router) MaxExperiments() int { return maxExperiments }

// Validate checks that the Ingresses are there and lead to the action, and that header routes can be made.
func (router) Validate(_ context.Context, req *trafficrouter.ValidateRequest) error {
	var names []string
	for _, m := range req.Envelope.ManagedRoutes {
		names = append(names, m.Name)
	}
	c, err := read(req.Inputs, req.Config, subject{req.Target, req.Target.StableService, req.Target.CanaryService, names, nil}, true)
	if err != nil {
		return err
	}
	if req.Envelope.PingPong && c.settings.root == "" {
		return plugin.InvalidConfig("rootService", "is empty: with pingPong the stable Service changes, so name the one the Ingress names")
	}
	for _, s := range c.selected {
		if err := c.check(s); err != nil {
			return err
		}
		for _, m := range req.Envelope.ManagedRoutes {
			if err := c.fits(s, m); err != nil {
				return err
			}
		}
	}

	return nil
}

// Observe reports each Ingress. Neither it nor AWS says when a change has arrived, so the answer settles after a time.
func (router) Observe(_ context.Context, req *trafficrouter.ObserveRequest) (*trafficrouter.Observation, error) {
	c, err := read(req.Inputs, req.Config, subject{req.Target, req.Target.StableService, req.Target.CanaryService, req.ManagedNames, req.Kept}, false)
	if err != nil {
		return nil, err
	}
	seen := &trafficrouter.Observation{Convergence: trafficrouter.Unknown, Settle: c.drain}
	for _, s := range c.toRoute(req.Releasing) {
		residue, err := c.residue(s, req.Releasing)
		if err != nil {
			return nil, err
		}
		w := s.found()
		t := trafficrouter.Traffic{TotalWeight: total, ManagedRoutes: s.routes(), Destinations: []trafficrouter.Destination{
			{Role: trafficrouter.RoleStable, Service: c.stable, Weight: w.stable},
			{Role: trafficrouter.RoleCanary, Service: c.canary, Weight: w.canary},
		}}
		for _, e := range w.experiments {
			t.Destinations = append(t.Destinations, trafficrouter.Destination{Role: trafficrouter.RoleExperiment, Service: e.service, Weight: e.weight})
		}
		seen.Observed = append(seen.Observed, trafficrouter.Observed{Place: c.place(s), Traffic: t, Residue: residue})
		seen.Claims = append(seen.Claims, c.claims(s)...)
		if err := s.takenError(); err != nil {
			seen.Message = cmp.Or(seen.Message, err.Error())
		}
	}

	return seen, nil
}

// Route writes the actions, and the paths and annotations of header routes, of all Ingresses.
func (router) Route(_ context.Context, req *trafficrouter.RouteRequest) (*trafficrouter.Stage, error) {
	stable, _ := req.Traffic.Destination(trafficrouter.RoleStable)
	canary, _ := req.Traffic.Destination(trafficrouter.RoleCanary)
	c, err := read(req.Inputs, req.Config, subject{req.Target,
		cmp.Or(stable.Service, req.Target.StableService), cmp.Or(canary.Service, req.Target.CanaryService), req.Traffic.ManagedNames, req.Kept}, false)
	if err != nil {
		return nil, err
	}
	want := state{weights: weights{stable: stable.Weight, canary: canary.Weight}, routes: req.Traffic.ManagedRoutes, release: req.Release}
	for _, d := range req.Traffic.Destinations {
		if d.Role == trafficrouter.RoleExperiment {
			want.experiments = append(want.experiments, share{d.Service, d.Weight})
		}
	}
	if want.ports, err = c.ports(req.Inputs, want.experiments); err != nil {
		return nil, err
	}
	var (
		edited []*objects.Object
		taken  error
	)
	for _, s := range c.toRoute(req.Release) {
		taken = cmp.Or(taken, s.takenError())
		one := want
		one.routes = slices.DeleteFunc(slices.Clone(want.routes), func(m trafficrouter.ManagedRoute) bool { return slices.Contains(s.taken, m.Name) })
		if err := c.reach(s.object.Object, s, one); err != nil {
			return nil, err
		}
		edited = append(edited, s.object.Object)
	}
	writes, err := objects.Changed(edited...)
	if err != nil {
		return nil, fmt.Errorf("editing: %w", err)
	}
	if len(writes) == 0 && taken != nil {
		return nil, taken
	}

	return &trafficrouter.Stage{Writes: writes}, nil
}
