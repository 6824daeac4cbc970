package main

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// maxExperiments is more than anybody has asked for; SMI has no limit.
const maxExperiments = 32

//go:embed schema.json
var schema []byte

// info introduces the plugin. It makes a TrafficSplit per rollout, and looks whether the root Service is there.
func info() plugin.Info {
	return plugin.Info{Name: "smi", Version: "0.1.0", Kinds: []plugin.Kind{
		{Group: group, Kind: "TrafficSplit", Verbs: []plugin.Verb{plugin.Read, plugin.Create, plugin.Update, plugin.Delete}},
		{Kind: "Service", Verbs: []plugin.Verb{plugin.Read}},
	}}
}

func service() plugin.Service { return trafficrouter.Service(router{}).WithConfigSchema(schema) }

// router splits traffic by a TrafficSplit of its own. It keeps nothing between calls.
type router struct{}

var (
	_ trafficrouter.Router       = router{}
	_ trafficrouter.Observer     = router{}
	_ trafficrouter.Experimenter = router{}
)

// MaxExperiments is how many destinations of experiments a TrafficSplit takes.
func (router) MaxExperiments() int { return maxExperiments }

// Validate checks that the root Service is there, and that the name of the TrafficSplit is free.
func (router) Validate(_ context.Context, req *trafficrouter.ValidateRequest) error {
	c, err := read(req.Inputs, req.Config, req.Target)
	if err != nil {
		return err
	}
	if req.Envelope.PingPong && c.settings.root == "" {
		return plugin.InvalidConfig("rootService", "is empty: with pingPong the stable Service changes, so name the Service clients use")
	}
	need := objects.Need{Kind: "Service", Versions: []string{"v1"}, Namespace: req.Target.Namespace, Name: c.root}
	if _, err := objects.Get[struct{}](req.Inputs, need); err != nil {
		return fmt.Errorf("rootService: %w: create it or correct the name", err)
	}

	return nil
}

// Observe reports what the TrafficSplit does. Without one, what clients of the root Service get is its own selector's: with
// the stable Service as root that is stable; with another it is everything, so the object has to be there first.
func (router) Observe(_ context.Context, req *trafficrouter.ObserveRequest) (*trafficrouter.Observation, error) {
	c, err := read(req.Inputs, req.Config, req.Target)
	if err != nil {
		return nil, err
	}
	seen := &trafficrouter.Observation{Convergence: trafficrouter.Unknown, Settle: c.drain, Claims: c.claims()}
	one := trafficrouter.Observed{Place: fmt.Sprintf("TrafficSplit/%s/%s", c.need.Namespace, c.need.Name), Traffic: c.traffic()}
	switch {
	case req.Releasing:
		one.Residue = c.split != nil
	case c.split == nil:
		one.Residue = c.root != c.stable
	default:
		if one.Residue, err = c.residue(); err != nil {
			return nil, err
		}
	}
	seen.Observed = append(seen.Observed, one)

	return seen, nil
}

// Route makes the TrafficSplit or edits it. A release gives everything to stable first, and then removes it.
func (router) Route(_ context.Context, req *trafficrouter.RouteRequest) (*trafficrouter.Stage, error) {
	c, err := read(req.Inputs, req.Config, req.Target)
	if err != nil {
		return nil, err
	}
	want := wanted(req.Traffic)
	switch {
	case c.split == nil && req.Release, c.split == nil && c.root == c.stable && only(want, c.stable):
		return &trafficrouter.Stage{}, nil
	case c.split == nil:
		write, err := c.create(req.Inputs, want)
		if err != nil {
			return nil, err
		}

		return &trafficrouter.Stage{Writes: []objects.Write{write}}, nil
	}
	c.reach(c.split.Object, want)
	writes, err := objects.Changed(c.split.Object)
	if err != nil {
		return nil, fmt.Errorf("editing: %w", err)
	}
	if len(writes) == 0 && req.Release {
		remove, err := objects.NewDelete(c.split.Object)
		if err != nil {
			return nil, err
		}
		writes = append(writes, remove)
	}

	return &trafficrouter.Stage{Writes: writes}, nil
}
