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

// maxExperiments is what a route has room for, by Istio's habits; there is no limit in its API.
const maxExperiments = 32

//go:embed schema.json
var schema []byte

//go:embed process.schema.json
var processSchema []byte

// info introduces the plugin. It reads and updates VirtualServices and DestinationRules, and creates nothing.
func info() plugin.Info {
	verbs := []plugin.Verb{plugin.Read, plugin.Update}

	return plugin.Info{Name: "istio", Version: "0.1.0", ConfigSchema: processSchema, Configure: configure, Kinds: []plugin.Kind{
		{Group: group, Kind: "VirtualService", Verbs: verbs},
		{Group: group, Kind: "DestinationRule", Verbs: verbs},
	}}
}

func service() plugin.Service { return trafficrouter.Service(router{}).WithConfigSchema(schema) }

// router splits traffic by the weights of VirtualServices. It keeps nothing between calls but how it is configured.
type router struct{}

var (
	_ trafficrouter.Router       = router{}
	_ trafficrouter.Observer     = router{}
	_ trafficrouter.HeaderRouter = router{}
	_ trafficrouter.MirrorRouter = router{}
	_ trafficrouter.Experimenter = router{}
)

// MaxExperiments is more than anybody has asked for.
func (router) MaxExperiments() int { return maxExperiments }

// Validate checks that everything the configuration names is there and splits, and that all steps can be made.
func (router) Validate(_ context.Context, req *trafficrouter.ValidateRequest) error {
	var names []string
	for _, m := range req.Envelope.ManagedRoutes {
		names = append(names, m.Name)
	}
	c, err := read(req.Inputs, req.Config, subjectOf(req.Target, names, nil), strict)
	if err != nil {
		return err
	}
	for _, s := range c.selected {
		if err := c.checkEnvelope(s, req.Envelope); err != nil {
			return err
		}
	}

	return nil
}

// Observe reports each route that splits. Sidecars do not say what they have taken over, so the answer settles after a
// time.
func (router) Observe(_ context.Context, req *trafficrouter.ObserveRequest) (*trafficrouter.Observation, error) {
	c, err := read(req.Inputs, req.Config, subjectOf(req.Target, req.ManagedNames, req.Kept), partial)
	if err != nil {
		return nil, err
	}
	seen := &trafficrouter.Observation{Convergence: trafficrouter.Unknown, Settle: c.drain, Claims: c.subsets.claims()}
	for _, s := range c.selected {
		seen.Observed = append(seen.Observed, c.observe(s)...)
		seen.Claims = append(seen.Claims, c.claims(s)...)
		if err := s.takenError(); err != nil {
			seen.Message = cmp.Or(seen.Message, err.Error())
		}
	}
	for _, s := range c.left {
		seen.Observed = append(seen.Observed, c.observeLeft(s)...)
	}

	return seen, nil
}

// Route returns the next stage: the weights, or with a DestinationRule first what empties a subset that is to point at
// another revision, then the subset, then the weights.
func (router) Route(_ context.Context, req *trafficrouter.RouteRequest) (*trafficrouter.Stage, error) {
	mode := partial
	if req.Release {
		mode = lenient
	}
	stable, _ := req.Traffic.Destination(trafficrouter.RoleStable)
	canary, _ := req.Traffic.Destination(trafficrouter.RoleCanary)
	subject := subjectOf(req.Target, req.Traffic.ManagedNames, req.Kept)
	subject.stable, subject.canary = cmp.Or(stable.Service, subject.stable), cmp.Or(canary.Service, subject.canary)
	c, err := read(req.Inputs, req.Config, subject, mode)
	if err != nil {
		return nil, err
	}
	want := desired(req.Traffic)
	message := ""
	if c.subsets != nil && !req.Release {
		carried, routes := c.carried()
		next, err := c.subsets.turnTo(stable.PodTemplateHash, canary.PodTemplateHash, carried, routes)
		if err != nil {
			return nil, err
		}
		if next.write {
			c.subsets.point(stable.PodTemplateHash, canary.PodTemplateHash, next.only)

			return stage(nil, "the weights follow once the subsets have settled", c.subsets.object.Object)
		}
		if next.drain != nil {
			want, message = state{weights: *next.drain}, "a subset is emptied before it points at another revision"
		}
	}

	if req.Release && c.mayGiveBack() && c.subsets.hash(c.subsets.stable) != "" {
		c.subsets.release(c.subsets.stable)

		return stage(nil, "the weights follow: whatever is behind the canary by now may be all there is", c.subsets.object.Object)
	}

	next, err := c.stage(req.Release, want, message)
	if err != nil || !req.Release || len(next.Writes) > 0 || !c.mayGiveBack() {
		return next, err
	}
	c.subsets.release(c.subsets.canary)

	return stage(nil, "", c.subsets.object.Object)
}

// stage writes the weights of all VirtualServices.
func (c *call) stage(release bool, want state, message string) (*trafficrouter.Stage, error) {
	var (
		edited []*objects.Object
		taken  error
	)
	for _, s := range c.toRoute(release) {
		taken = cmp.Or(taken, s.takenError())
		if err := c.route(s, want); err != nil {
			return nil, err
		}
		edited = append(edited, s.object.Object)
	}
	for _, s := range c.left {
		if err := c.route(s, state{weights: weights{stable: total}}); err != nil {
			return nil, err
		}
		edited = append(edited, s.object.Object)
	}

	return stage(taken, message, edited...)
}

// stage are the writes of what was edited; if nothing was, the reason why nothing could be.
func stage(otherwise error, message string, edited ...*objects.Object) (*trafficrouter.Stage, error) {
	writes, err := objects.Changed(edited...)
	if err != nil {
		return nil, fmt.Errorf("editing: %w", err)
	}
	if len(writes) == 0 && otherwise != nil {
		return nil, otherwise
	}

	return &trafficrouter.Stage{Writes: writes, Message: message}, nil
}

func desired(want trafficrouter.Traffic) state {
	s := state{routes: want.ManagedRoutes}
	for _, d := range want.Destinations {
		switch d.Role {
		case trafficrouter.RoleStable:
			s.stable = d.Weight
		case trafficrouter.RoleCanary:
			s.canary = d.Weight
		case trafficrouter.RoleExperiment:
			s.experiments = append(s.experiments, share{d.Service, d.Weight})
		case trafficrouter.RoleUnknown:
		}
	}

	return s
}
