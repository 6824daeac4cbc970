// Command trafficrouter splits traffic with the Split objects of an imaginary mesh. It is a start for a router of your own:
// what is about Splits is in split.go, what is about the contract is here.
package main

import (
	"context"

	"github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

func main() { trafficrouter.Serve(info(), router{}) }

// info introduces the plugin. It sees and changes no kinds but those listed here, and of those only what the administrator
// grants.
func info() plugin.Info {
	return plugin.Info{
		Name: "mesh-router", Version: "0.1.0",
		Kinds: []plugin.Kind{{Group: group, Kind: kind, Verbs: []plugin.Verb{plugin.Read, plugin.Update}}},
	}
}

// block is what users write in their Rollout.
type block struct {
	// Split is the name of the object to steer with. Required.
	Split string `json:"split"`
}

// router remembers nothing: what it has to know is in the objects it is shown.
type router struct{}

// Validate is asked before the first weight moves. It refuses what Observe and Route could not do.
func (router) Validate(_ context.Context, req *trafficrouter.ValidateRequest) error {
	_, err := find(req.Target, req.Config, req.Inputs)

	return err
}

// Observe says what the Split routes now, whoever wrote it.
func (router) Observe(_ context.Context, req *trafficrouter.ObserveRequest) (*trafficrouter.Observation, error) {
	s, err := find(req.Target, req.Config, req.Inputs)
	if err != nil {
		return nil, err
	}
	weights := trafficrouter.Normalize(req.TotalWeight, s.weight(s.stable), s.weight(s.canary))

	return &trafficrouter.Observation{
		Observed: []trafficrouter.Observed{{
			Place: s.Ref.String(),
			Traffic: trafficrouter.Traffic{
				TotalWeight: req.TotalWeight,
				Destinations: []trafficrouter.Destination{
					{Role: trafficrouter.RoleStable, Service: req.Target.StableService, Weight: weights[0]},
					{Role: trafficrouter.RoleCanary, Service: req.Target.CanaryService, Weight: weights[1]},
				},
			},
		}},
		Convergence: s.convergence(),
		// Two rollouts must not steer the same backend.
		Claims: []trafficrouter.Claim{{Object: s.Ref, Key: "backend=" + req.Target.CanaryService}},
	}, nil
}

// Route changes the two weights. A release is the same: everything on stable, and nothing of ours is left.
func (router) Route(_ context.Context, req *trafficrouter.RouteRequest) (*trafficrouter.Stage, error) {
	s, err := find(req.Target, req.Config, req.Inputs)
	if err != nil {
		return nil, err
	}
	s.Set(req.Traffic.Weight(trafficrouter.RoleStable), "spec", "backends", s.stable, "weight")
	s.Set(req.Traffic.Weight(trafficrouter.RoleCanary), "spec", "backends", s.canary, "weight")
	writes, err := objects.Changed(s.Object) // none if the weights are there already

	return &trafficrouter.Stage{Writes: writes}, err
}

// find returns the Split a block names. Its errors say where the user has to look; one for an object that the host has not
// shown yet makes it show it and ask again.
func find(target plugin.Target, raw []byte, in *objects.Inputs) (*split, error) {
	b, err := config.Decode[block](raw)
	if err != nil {
		return nil, err
	}
	if b.Split == "" {
		return nil, plugin.InvalidConfig("split", "is required")
	}
	found, err := objects.Get[object](in, objects.Need{
		Group: group, Kind: kind, Versions: []string{"v1"}, Namespace: target.Namespace, Name: b.Split,
	})
	if err != nil {
		return nil, err
	}

	return read(found, target)
}
