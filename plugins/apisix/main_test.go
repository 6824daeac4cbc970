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
	target = plugin.Target{Namespace: "shop", Name: "web", UID: "u", StableService: "web-stable", CanaryService: "web-canary"}
	update = flag.Bool("update", false, "rewrite the conformance report")
)

const block = `{"route":{"name":"web","rules":["main","api"]}}`

func manifest(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)

	return raw
}

// inputs shows each object under the need that names it, and that the other names of the tests are free.
func inputs(t *testing.T, manifests ...[]byte) *objects.Inputs {
	t.Helper()
	var all []*typesv1.NeedResult
	shown := map[string]bool{}
	for _, raw := range manifests {
		o, err := objects.Parse(raw)
		require.NoError(t, err)
		shown[o.Ref.Name] = true
		all = append(all, &typesv1.NeedResult{Need: needOf(o.Ref.Namespace, o.Ref.Name).Proto(), State: typesv1.NeedResult_STATE_SYNCED, ApiVersion: o.APIVersion,
			Objects: []*typesv1.Object{{ApiVersion: o.APIVersion, ResourceVersion: o.ResourceVersion, Json: raw}}})
	}
	for _, name := range []string{"web", "testers", "staff"} {
		if !shown[name] {
			all = append(all, &typesv1.NeedResult{Need: needOf("shop", name).Proto(), State: typesv1.NeedResult_STATE_SYNCED, ApiVersion: group + "/v2"})
		}
	}
	in, err := objects.NewInputs(all)
	require.NoError(t, err)

	return in
}

// edited is an object with a value at a path; nil deletes what is there.
func edited(t *testing.T, raw []byte, value any, path ...any) []byte {
	t.Helper()
	o, err := objects.Parse(raw)
	require.NoError(t, err)
	if value == nil {
		o.Delete(path...)
	} else {
		o.Set(value, path...)
	}
	out, err := o.JSON()
	require.NoError(t, err)

	return out
}

func validate(t *testing.T, config string, routes []trafficrouter.ManagedRoute, manifests ...[]byte) error {
	t.Helper()

	return router{}.Validate(t.Context(), &trafficrouter.ValidateRequest{Target: target, Config: []byte(config),
		Envelope: trafficrouter.Envelope{TotalWeight: 100, ManagedRoutes: routes}, Inputs: inputs(t, manifests...)})
}

func observe(t *testing.T, manifests ...[]byte) *trafficrouter.Observation {
	t.Helper()
	seen, err := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{
		Target: target, Config: []byte(block), TotalWeight: 100, ManagedNames: names, Inputs: inputs(t, manifests...),
	})
	require.NoError(t, err)

	return seen
}

func traffic(canary int32) trafficrouter.Traffic {
	return trafficrouter.Traffic{TotalWeight: 100, ManagedNames: names, Destinations: []trafficrouter.Destination{
		{Role: trafficrouter.RoleStable, Service: "web-stable", Weight: 100 - canary},
		{Role: trafficrouter.RoleCanary, Service: "web-canary", Weight: canary},
	}}
}

func route(t *testing.T, want trafficrouter.Traffic, manifests ...[]byte) (*trafficrouter.Stage, error) {
	t.Helper()

	return router{}.Route(t.Context(), &trafficrouter.RouteRequest{Target: target, Config: []byte(block), Traffic: want, Inputs: inputs(t, manifests...)})
}

// names of the managed routes, highest precedence first.
var names = []string{"testers", "staff"}

func header(name, of string, value trafficrouter.StringMatch) trafficrouter.ManagedRoute {
	return trafficrouter.ManagedRoute{Name: name, Header: &trafficrouter.HeaderRoute{Match: []trafficrouter.HeaderMatch{{Name: of, Value: value}}}}
}

// owned is what the API server keeps of an object that the plugin creates.
func owned(t *testing.T, raw []byte) []byte {
	t.Helper()

	return edited(t, raw, []any{map[string]any{"uid": target.UID, "controller": true}}, "metadata", "ownerReferences")
}
