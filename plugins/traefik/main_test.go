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

const block = `{"weightedTraefikServiceName":"web"}`

func manifest(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)

	return raw
}

// inputs shows each object under the need that names it, and answers the need of the configuration in any case.
func inputs(t *testing.T, manifests ...[]byte) *objects.Inputs {
	t.Helper()
	checked, err := parseConfig([]byte(block), target.Namespace)
	require.NoError(t, err)
	all := []*typesv1.NeedResult{{Need: checked.need.Proto(), State: typesv1.NeedResult_STATE_SYNCED}}
	for _, raw := range manifests {
		o, err := objects.Parse(raw)
		require.NoError(t, err)
		need := objects.Need{Group: o.Ref.Group, Kind: o.Ref.Kind, Versions: []string{"v1"}, Namespace: o.Ref.Namespace, Name: o.Ref.Name}
		all = append(all, &typesv1.NeedResult{Need: need.Proto(), State: typesv1.NeedResult_STATE_SYNCED, ApiVersion: o.APIVersion,
			Objects: []*typesv1.Object{{ApiVersion: o.APIVersion, ResourceVersion: o.ResourceVersion, Json: raw}}})
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

func validate(t *testing.T, manifests ...[]byte) error {
	t.Helper()

	return router{}.Validate(t.Context(), &trafficrouter.ValidateRequest{Target: target, Config: []byte(block),
		Envelope: trafficrouter.Envelope{TotalWeight: 100}, Inputs: inputs(t, manifests...)})
}

func observe(t *testing.T, manifests ...[]byte) *trafficrouter.Observation {
	t.Helper()
	seen, err := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{
		Target: target, Config: []byte(block), TotalWeight: 100, Inputs: inputs(t, manifests...),
	})
	require.NoError(t, err)

	return seen
}

func traffic(canary int32) trafficrouter.Traffic {
	return trafficrouter.Traffic{TotalWeight: 100, Destinations: []trafficrouter.Destination{
		{Role: trafficrouter.RoleStable, Service: "web-stable", Weight: 100 - canary},
		{Role: trafficrouter.RoleCanary, Service: "web-canary", Weight: canary},
	}}
}

func route(t *testing.T, want trafficrouter.Traffic, manifests ...[]byte) (*trafficrouter.Stage, error) {
	t.Helper()

	return router{}.Route(t.Context(), &trafficrouter.RouteRequest{Target: target, Config: []byte(block), Traffic: want, Inputs: inputs(t, manifests...)})
}

// after is the object after one stage, which has to change it.
func after(t *testing.T, want trafficrouter.Traffic, manifests ...[]byte) []byte {
	t.Helper()
	stage, err := route(t, want, manifests...)
	require.NoError(t, err)
	require.Len(t, stage.Writes, 1)

	return stage.Writes[0].JSON
}
