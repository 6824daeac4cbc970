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

// maxExperiments is more than anybody has asked for; Traefik has no limit.
const maxExperiments = 32

//go:embed schema.json
var schema []byte

// info introduces the plugin. It reads and updates TraefikServices, reads the Services of experiments for their ports, and
// creates nothing.
func info() plugin.Info {
	return plugin.Info{Name: "traefik", Version: "0.1.0", Kinds: []plugin.Kind{
		{Group: group, Kind: "TraefikService", Verbs: []plugin.Verb{plugin.Read, plugin.Update}},
		{Kind: "Service", Verbs: []plugin.Verb{plugin.Read}},
	}}
}

func service() plugin.Service { return trafficrouter.Service(router{}).WithConfigSchema(schema) }

// router splits traffic by the weights of one TraefikService. It keeps nothing between calls.
type router struct{}

var (
	_ trafficrouter.Router       = router{}
	_ trafficrouter.Observer     = router{}
	_ trafficrouter.Experimenter = router{}
)

// MaxExperiments is how many destinations of experiments a TraefikService takes.
func (router) MaxExperiments() int { return maxExperiments }

// Validate checks that the TraefikService is there and splits between the two Services.
func (router) Validate(_ context.Context, req *trafficrouter.ValidateRequest) error {
	c, err := read(req.Inputs, req.Config, req.Target, ends{req.Target.StableService, req.Target.CanaryService})
	if err != nil {
		return err
	}

	return c.check()
}

// Observe reports what the TraefikService does. Traefik does not say what it has taken over, so the answer settles after a
// time.
func (router) Observe(_ context.Context, req *trafficrouter.ObserveRequest) (*trafficrouter.Observation, error) {
	c, err := read(req.Inputs, req.Config, req.Target, ends{req.Target.StableService, req.Target.CanaryService})
	if err != nil {
		return nil, err
	}
	residue, err := c.residue()
	if err != nil {
		return nil, err
	}

	return &trafficrouter.Observation{
		Observed:    []trafficrouter.Observed{{Place: c.place(), Traffic: c.traffic(), Residue: residue}},
		Convergence: trafficrouter.Unknown,
		Settle:      c.drain,
		Claims:      c.claims(),
	}, nil
}

// Route writes the weights, and the entries of experiments.
func (router) Route(_ context.Context, req *trafficrouter.RouteRequest) (*trafficrouter.Stage, error) {
	stable, _ := req.Traffic.Destination(trafficrouter.RoleStable)
	canary, _ := req.Traffic.Destination(trafficrouter.RoleCanary)
	c, err := read(req.Inputs, req.Config, req.Target, ends{
		cmp.Or(stable.Service, req.Target.StableService), cmp.Or(canary.Service, req.Target.CanaryService),
	})
	if err != nil {
		return nil, err
	}
	want := weights{stable: stable.Weight, canary: canary.Weight}
	for _, d := range req.Traffic.Destinations {
		if d.Role == trafficrouter.RoleExperiment {
			want.experiments = append(want.experiments, share{service: d.Service, weight: d.Weight})
		}
	}
	ports, err := c.ports(req.Inputs, want.experiments)
	if err != nil {
		return nil, err
	}
	if err := c.reach(want, ports); err != nil {
		return nil, err
	}
	writes, err := objects.Changed(c.object.Object)
	if err != nil {
		return nil, fmt.Errorf("editing: %w", err)
	}

	return &trafficrouter.Stage{Writes: writes}, nil
}
