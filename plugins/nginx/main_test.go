package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

var (
	target = plugin.Target{Namespace: "shop", Name: "web", UID: "rollout-uid", StableService: "web-stable", CanaryService: "web-canary"}
	update = flag.Bool("update", false, "rewrite the golden files")
)

const (
	byIngress = `{"stableIngress":"shop"}`
	byServer  = `{"virtualServer":{"name":"shop"},"virtualServerRoutes":[{"name":"sub","routes":["/sub"]}]}`
)

func manifest(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)

	return raw
}

// stage is a cluster that applies what the plugin writes.
type stage struct {
	t       *testing.T
	config  string
	target  plugin.Target
	objects map[string][]byte // by kind and name
	held    map[string]bool
	wrote   []string
}

func newStage(t *testing.T, config string, manifests ...[]byte) *stage {
	s := &stage{t: t, config: config, target: target, objects: map[string][]byte{}, held: map[string]bool{}}
	for _, raw := range manifests {
		s.put(raw)
	}

	return s
}

func (s *stage) put(raw []byte) {
	s.t.Helper()
	o, err := objects.Parse(raw)
	require.NoError(s.t, err)
	s.objects[o.Ref.Kind+"/"+o.Ref.Name] = raw
}

// edit changes an object as a person does. A nil value deletes.
func (s *stage) edit(key string, value any, path ...any) {
	s.t.Helper()
	o, err := objects.Parse(s.objects[key])
	require.NoError(s.t, err)
	if value == nil {
		o.Delete(path...)
	} else {
		o.Set(value, path...)
	}
	raw, err := o.JSON()
	require.NoError(s.t, err)
	s.objects[key] = raw
}

// inputs answers the needs that ask finds out about.
func (s *stage) ask(call func(*objects.Inputs) error) error {
	var needs []*typesv1.Need
	for range 4 {
		in := s.inputs(needs)
		err := call(in)
		next := in.Needs(err != nil)
		if len(next) == len(needs) || !objects.IsNotReady(err) {
			return err
		}
		needs = next
	}
	s.t.Fatal("never has enough")

	return nil
}

func (s *stage) inputs(needs []*typesv1.Need) *objects.Inputs {
	s.t.Helper()
	var all []*typesv1.NeedResult
	for key := range s.held {
		o, err := objects.Parse(s.objects[key])
		require.NoError(s.t, err)
		needs = append(needs, objects.Need{Group: o.Ref.Group, Kind: o.Ref.Kind, Versions: []string{"v1"}, Namespace: o.Ref.Namespace, Name: o.Ref.Name}.Proto())
	}
	for _, need := range needs {
		r := &typesv1.NeedResult{Need: need, State: typesv1.NeedResult_STATE_SYNCED, ApiVersion: need.GetGroup() + "/v1"}
		key := need.GetKind() + "/" + need.GetName()
		if raw, ok := s.objects[key]; ok {
			r.Objects = []*typesv1.Object{{ApiVersion: r.GetApiVersion(), Json: raw, Held: s.held[key]}}
		}
		all = append(all, r)
	}
	in, err := objects.NewInputs(all)
	require.NoError(s.t, err)

	return in
}

func (s *stage) validate(e trafficrouter.Envelope) error {
	s.t.Helper()
	if e.TotalWeight == 0 {
		e.TotalWeight = 100
	}

	return s.ask(func(in *objects.Inputs) error {
		return router{}.Validate(s.t.Context(), &trafficrouter.ValidateRequest{Target: s.target, Config: []byte(s.config), Envelope: e, Inputs: in})
	})
}

func (s *stage) observe(total int32, releasing bool) (seen *trafficrouter.Observation, err error) {
	s.t.Helper()
	err = s.ask(func(in *objects.Inputs) (err error) {
		seen, err = router{}.Observe(s.t.Context(), &trafficrouter.ObserveRequest{
			Target: s.target, Config: []byte(s.config), TotalWeight: total, Releasing: releasing, Inputs: in})

		return err
	})

	return seen, err
}

// see is an observation that has to work, at a total of 100.
func (s *stage) see() *trafficrouter.Observation {
	s.t.Helper()
	seen, err := s.observe(100, false)
	require.NoError(s.t, err)

	return seen
}

// route asks for one stage and applies it. wrote says what it did.
func (s *stage) route(want trafficrouter.Traffic, release bool) error {
	s.t.Helper()
	var next *trafficrouter.Stage
	err := s.ask(func(in *objects.Inputs) (err error) {
		next, err = router{}.Route(s.t.Context(), &trafficrouter.RouteRequest{Target: s.target, Config: []byte(s.config), Traffic: want, Release: release, Inputs: in})

		return err
	})
	s.wrote = nil
	if err != nil {
		return err
	}
	for _, w := range next.Writes {
		o, err := objects.Parse(w.JSON)
		require.NoError(s.t, err)
		key := o.Ref.Kind + "/" + o.Ref.Name
		s.wrote = append(s.wrote, map[objects.Operation]string{objects.Create: "create ", objects.Update: "update ", objects.Delete: "delete "}[w.Operation]+key)
		switch w.Operation {
		case objects.Create:
			o.Set([]any{map[string]any{"uid": s.target.UID, "controller": true}}, "metadata", "ownerReferences")
			raw, err := o.JSON()
			require.NoError(s.t, err)
			s.objects[key] = raw
		case objects.Update:
			s.objects[key] = w.JSON
		case objects.Delete:
			delete(s.objects, key)
		}
	}

	return nil
}

// send is route that has to work.
func (s *stage) send(want trafficrouter.Traffic) []string {
	s.t.Helper()
	require.NoError(s.t, s.route(want, false))

	return s.wrote
}

func (s *stage) value(key string, path ...any) any {
	s.t.Helper()
	o, err := objects.Parse(s.objects[key])
	require.NoError(s.t, err)
	value, _ := o.Value(path...)

	return value
}

func traffic(canary int32, routes ...trafficrouter.ManagedRoute) trafficrouter.Traffic {
	t := trafficrouter.Traffic{TotalWeight: 100, ManagedRoutes: routes, Destinations: []trafficrouter.Destination{
		{Role: trafficrouter.RoleStable, Service: "web-stable", Weight: 100 - canary},
		{Role: trafficrouter.RoleCanary, Service: "web-canary", Weight: canary},
	}}
	for _, m := range routes {
		t.ManagedNames = append(t.ManagedNames, m.Name)
	}

	return t
}

func header(name, field string, kind trafficrouter.MatchKind, value string) trafficrouter.ManagedRoute {
	return trafficrouter.ManagedRoute{Name: name, Header: &trafficrouter.HeaderRoute{Match: []trafficrouter.HeaderMatch{
		{Name: field, Value: trafficrouter.StringMatch{Kind: kind, Value: value}},
	}}}
}
