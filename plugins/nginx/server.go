package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// serverSelection is an object the configuration names.
type serverSelection struct {
	serverConfig

	kind string
}

// servers are the VirtualServers and VirtualServerRoutes of one rollout, for F5's controller.
type servers struct {
	settings
	of       subject
	selected []steered
	// left are objects held from an earlier configuration. They go back to stable.
	left []steered
	// wrong is what the user has to repair in those that are not selected although they are named.
	wrong error
}

// steered is an object with the lists of splits the rollout steers.
type steered struct {
	object *objects.Typed[server]
	own    serverRecord
	splits []split
	path   string
	// shared: the rollout goes on steering other routes of the object. What it has recorded there is theirs.
	shared bool
}

func (c *servers) rollout() string { return c.of.Namespace + "/" + c.of.Name }

func (s serverSelection) need(namespace string) objects.Need {
	return objects.Need{Group: serverGroup, Kind: s.kind, Versions: []string{"v1"}, Namespace: cmp.Or(s.Namespace, namespace), Name: s.Name}
}

func openServers(in *objects.Inputs, s settings, of subject) (product, error) {
	c := &servers{settings: s, of: of}
	for _, one := range s.servers {
		in.Want(one.value.need(of.Namespace))
	}
	if err := in.Missing(); err != nil {
		return nil, err
	}
	known := map[objects.Ref]bool{}
	for _, one := range s.servers {
		object, err := objects.Get[server](in, one.value.need(of.Namespace))
		if plugin.IsReferenceNotFound(err) {
			c.wrong = cmp.Or(c.wrong, fmt.Errorf("%s.name: %w: create it or correct the name", one.path, err))

			continue
		}
		if err != nil {
			return nil, err
		}
		found := c.steer(object, one.path)
		found.splits, err = findSplits(object, one.value.Routes, of.StableService, of.CanaryService)
		known[object.Ref] = true
		if err != nil {
			c.wrong = cmp.Or(c.wrong, plugin.InvalidConfig(one.path, "%v", err))
			if len(found.own.Routes) > 0 {
				c.left = append(c.left, found)
			}

			continue
		}
		c.selected = append(c.selected, found)
	}
	for _, kind := range []string{"VirtualServer", "VirtualServerRoute"} {
		held, err := objects.Held[server](in, serverGroup, kind)
		if err != nil {
			return nil, err
		}
		for _, object := range held {
			if known[object.Ref] {
				continue
			}
			one := c.steer(object, "")
			// What no longer splits is its author's again.
			one.splits, _ = findSplits(object, nil, of.StableService, of.CanaryService)
			c.left = append(c.left, one)
		}
	}
	c.selected, c.left = c.givenBack(c.selected), c.givenBack(c.left)

	return c, nil
}

// givenBack leaves out what is kept in a release.
func (c *servers) givenBack(all []steered) []steered {
	var out []steered
	for _, s := range all {
		if s.shared = c.of.kept.On(s.object.Ref); s.shared {
			s.splits = slices.DeleteFunc(s.splits, func(one split) bool { return c.of.kept.Has(s.object.Ref, one.key()) })
			s.own.Routes = nil
		}
		if !s.shared || len(s.splits) > 0 {
			out = append(out, s)
		}
	}

	return out
}

func (c *servers) steer(object *objects.Typed[server], path string) steered {
	return steered{object: object, own: readRecord(object, c.rollout()), path: path}
}

func (c *servers) check(e trafficrouter.Envelope) error {
	if c.wrong != nil {
		return c.wrong
	}
	if e.TotalWeight != hundred {
		return plugin.InvalidConfig("", "maxTrafficWeight is %d, and the splits of a VirtualServer add up to 100: leave it out", e.TotalWeight)
	}
	for _, m := range e.ManagedRoutes {
		if _, err := headerMatch(nil, "", m); err != nil {
			return plugin.InvalidConfig("", "%v", err)
		}
	}

	return nil
}

func (c *servers) observe(total int32, _ bool) (*trafficrouter.Observation, error) {
	seen := &trafficrouter.Observation{Convergence: trafficrouter.Unknown, Settle: c.drain}
	for _, s := range c.selected {
		for i, one := range s.splits {
			seen.Observed = append(seen.Observed, c.observed(s, one, total, i == 0 && s.differs(c.rollout(), wanted{keep: true, routes: s.own.Routes})))
			seen.Claims = append(seen.Claims, trafficrouter.Claim{Object: s.object.Ref, Key: one.key()})
		}
		s.converged(seen)
	}
	for _, s := range c.left {
		if !s.differs(c.rollout(), wanted{}) {
			continue
		}
		for _, one := range s.splits {
			seen.Observed = append(seen.Observed, c.observed(s, one, total, true))
		}
		if len(s.splits) == 0 {
			seen.Observed = append(seen.Observed, c.observed(s, split{match: -1, stable: hundred}, total, true))
		}
	}
	if len(seen.Observed) == 0 && c.wrong != nil {
		return nil, c.wrong
	}
	if c.wrong != nil {
		seen.Message = cmp.Or(seen.Message, c.wrong.Error())
	}

	return seen, nil
}

// converged takes in what F5's controller says. It does not say of which generation, except in versions that do; but what
// it refuses is not served, however long one waits.
func (s steered) converged(seen *trafficrouter.Observation) {
	status := s.object.View.Status
	switch {
	case status.State == "Invalid":
		seen.Convergence = trafficrouter.Pending
		seen.Message = fmt.Sprintf("%v is refused by its controller: %s", s.object.Ref, status.Message)
	case status.ObservedGeneration != 0 && status.ObservedGeneration < s.object.View.Metadata.Generation:
		seen.Convergence = trafficrouter.Pending
		seen.Message = fmt.Sprintf("%v is at generation %d, and its controller has taken over %d", s.object.Ref, s.object.View.Metadata.Generation, status.ObservedGeneration)
	}
}

func (c *servers) observed(s steered, one split, total int32, residue bool) trafficrouter.Observed {
	shares := trafficrouter.Normalize(total, one.stable, one.canary)
	if one.stable+one.canary == 0 {
		shares[0] = total // Nothing leads to the canary, which is what counts.
	}

	return trafficrouter.Observed{
		Place: fmt.Sprintf("%s/%s/%s %s", s.object.Ref.Kind, s.object.Ref.Namespace, s.object.Ref.Name, one.key()),
		Traffic: trafficrouter.Traffic{TotalWeight: total, ManagedRoutes: s.own.Routes, Destinations: []trafficrouter.Destination{
			{Role: trafficrouter.RoleStable, Service: c.of.StableService, Weight: shares[0]},
			{Role: trafficrouter.RoleCanary, Service: c.of.CanaryService, Weight: shares[1]},
		}},
		Residue: residue,
	}
}

// key names a list of splits for people and claims. A match has no name.
func (s split) key() string {
	if s.match < 0 {
		return fmt.Sprintf("route=%s", s.path)
	}

	return fmt.Sprintf("route=%s/match=%d", s.path, s.nth)
}

func (c *servers) route(want trafficrouter.Traffic, _ bool) (*trafficrouter.Stage, error) {
	stage := &trafficrouter.Stage{}
	asked := wanted{canary: want.Weight(trafficrouter.RoleCanary), routes: want.ManagedRoutes}
	if want.TotalWeight != hundred {
		asked.canary = trafficrouter.Normalize(hundred, want.TotalWeight-asked.canary, asked.canary)[1]
	}
	write := func(s steered, asked wanted) error {
		w, err := s.reach(c.rollout(), asked)
		if err != nil {
			return plugin.Blocked("%v: %v", s.object.Ref, err)
		}
		if w != nil {
			stage.Writes = append(stage.Writes, *w)
		}

		return nil
	}
	for _, s := range c.selected {
		if err := write(s, asked); err != nil {
			return nil, err
		}
	}
	for _, s := range c.left {
		if err := write(s, wanted{}); err != nil {
			return nil, err
		}
	}
	if len(stage.Writes) == 0 && c.wrong != nil {
		return nil, c.wrong
	}

	return stage, nil
}

// differs says whether an object does not look as wanted yet. What cannot be made is no difference.
func (s steered) differs(rollout string, want wanted) bool {
	write, err := s.reach(rollout, want)

	return err == nil && write != nil
}
