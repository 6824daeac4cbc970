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

const (
	block = `{"ingress":"web","servicePort":80,"rootService":"web-root"}`
	two   = `{"ingresses":["web","internal"],"servicePort":80,"rootService":"web-root"}`
)

func manifest(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)

	return raw
}

// inputs shows each object under the need that names it, and that the other names of the tests are nobody's.
func inputs(t *testing.T, manifests ...[]byte) *objects.Inputs {
	t.Helper()
	var all []*typesv1.NeedResult
	shown := map[string]bool{}
	for _, raw := range manifests {
		o, err := objects.Parse(raw)
		require.NoError(t, err)
		shown[o.Ref.Name] = true
		need := objects.Need{Group: o.Ref.Group, Kind: o.Ref.Kind, Versions: []string{"v1"}, Namespace: o.Ref.Namespace, Name: o.Ref.Name}
		all = append(all, &typesv1.NeedResult{Need: need.Proto(), State: typesv1.NeedResult_STATE_SYNCED, ApiVersion: o.APIVersion,
			Objects: []*typesv1.Object{{ApiVersion: o.APIVersion, ResourceVersion: o.ResourceVersion, Json: raw, Held: o.Ref.Name == held}}})
	}
	for _, name := range []string{"web", "internal"} {
		if need := (objects.Need{Group: group, Kind: "Ingress", Versions: []string{"v1"}, Namespace: "shop", Name: name}); !shown[name] {
			all = append(all, &typesv1.NeedResult{Need: need.Proto(), State: typesv1.NeedResult_STATE_SYNCED})
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

func validate(t *testing.T, config string, envelope trafficrouter.Envelope, manifests ...[]byte) error {
	t.Helper()
	envelope.TotalWeight = 100

	return router{}.Validate(t.Context(), &trafficrouter.ValidateRequest{Target: target, Config: []byte(config), Envelope: envelope, Inputs: inputs(t, manifests...)})
}

func observe(t *testing.T, config string, releasing bool, manifests ...[]byte) *trafficrouter.Observation {
	t.Helper()
	seen, err := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{
		Target: target, Config: []byte(config), TotalWeight: 100, ManagedNames: names, Inputs: inputs(t, manifests...), Releasing: releasing,
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

// send asks for a stage and returns the writes.
func send(t *testing.T, config string, want trafficrouter.Traffic, release bool, manifests ...[]byte) ([]objects.Write, error) {
	t.Helper()
	stage, err := router{}.Route(t.Context(), &trafficrouter.RouteRequest{
		Target: target, Config: []byte(config), Traffic: want, Release: release, Inputs: inputs(t, manifests...),
	})
	if err != nil {
		return nil, err
	}

	return stage.Writes, nil
}

// after is the Ingress after one stage, which has to change it and nothing else.
func after(t *testing.T, config string, want trafficrouter.Traffic, manifests ...[]byte) []byte {
	t.Helper()
	writes, err := send(t, config, want, false, manifests...)
	require.NoError(t, err)
	require.Len(t, writes, 1)

	return writes[0].JSON
}

// names of the managed routes, highest precedence first; held is the Ingress the router holds from earlier.
var (
	names = []string{"testers", "staff"}
	held  string
)

func header(name, of, value string) trafficrouter.ManagedRoute {
	return trafficrouter.ManagedRoute{Name: name, Header: &trafficrouter.HeaderRoute{Match: []trafficrouter.HeaderMatch{
		{Name: of, Value: trafficrouter.StringMatch{Kind: trafficrouter.MatchExact, Value: value}},
	}}}
}

// annotation of an object under the usual prefix; empty if it has none.
func annotation(t *testing.T, raw []byte, key string) string {
	t.Helper()
	o, err := objects.Parse(raw)
	require.NoError(t, err)
	text, _ := o.Value("metadata", "annotations", defaultPrefix+"/"+key)
	value, _ := text.(string)

	return value
}
