package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

var (
	target = plugin.Target{Namespace: "shop", Name: "web", UID: "u", StableService: "web-stable", CanaryService: "web-canary"}
	update = flag.Bool("update", false, "rewrite the golden files")
)

const (
	byHost   = `{"virtualService":{"name":"web","routes":["main","beside-others"],"tlsRoutes":[{"port":443,"sniHosts":["a.example.com","b.example.com"]}]}}`
	bySubset = `{"virtualService":{"name":"web"},"destinationRule":{"name":"web","canarySubsetName":"canary","stableSubsetName":"stable","additionalSubsetNames":["legacy"]}}`
)

func manifest(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)

	return raw
}

// inputs shows each object under the need that names it.
func inputs(t *testing.T, manifests ...[]byte) *objects.Inputs {
	t.Helper()
	var all []*typesv1.NeedResult
	for _, raw := range manifests {
		o, err := objects.Parse(raw)
		require.NoError(t, err)
		need := objects.Need{Group: group, Kind: o.Ref.Kind, Versions: versions, Namespace: o.Ref.Namespace, Name: o.Ref.Name}
		all = append(all, &typesv1.NeedResult{
			Need: need.Proto(), State: typesv1.NeedResult_STATE_SYNCED, ApiVersion: o.APIVersion,
			Objects: []*typesv1.Object{{ApiVersion: o.APIVersion, ResourceVersion: o.ResourceVersion, Json: raw}},
		})
	}
	in, err := objects.NewInputs(all)
	require.NoError(t, err)

	return in
}

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

func observe(t *testing.T, config string, manifests ...[]byte) *trafficrouter.Observation {
	t.Helper()
	seen, err := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{
		Target: target, Config: []byte(config), TotalWeight: 100, Inputs: inputs(t, manifests...),
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

// between is a traffic between two revisions.
func between(stable, canary string, weight int32) trafficrouter.Traffic {
	t := traffic(weight)
	t.Destinations[0].PodTemplateHash, t.Destinations[1].PodTemplateHash = stable, canary

	return t
}

func with(t trafficrouter.Traffic, names string, routes ...trafficrouter.ManagedRoute) trafficrouter.Traffic {
	t.ManagedNames, t.ManagedRoutes = strings.Fields(names), routes

	return t
}

// send asks for one stage and returns all objects after it, and the names of the kinds written.
func send(t *testing.T, config string, want trafficrouter.Traffic, manifests ...[]byte) ([][]byte, string) {
	t.Helper()
	stage, err := router{}.Route(t.Context(), &trafficrouter.RouteRequest{Target: target, Config: []byte(config), Traffic: want, Inputs: inputs(t, manifests...)})
	require.NoError(t, err)
	after, written := append([][]byte{}, manifests...), []string{}
	for _, w := range stage.Writes {
		wrote, err := objects.Parse(w.JSON)
		require.NoError(t, err)
		written = append(written, wrote.Ref.Kind)
		for i, raw := range after {
			if o, err := objects.Parse(raw); err == nil && o.Ref == wrote.Ref {
				after[i] = w.JSON
			}
		}
	}

	return after, strings.Join(written, " ")
}

// at is one object after a stage.
func at(t *testing.T, config string, want trafficrouter.Traffic, raw []byte) []byte {
	t.Helper()
	after, _ := send(t, config, want, raw)

	return after[0]
}

func section(t *testing.T, raw []byte, protocol string) []map[string]any {
	t.Helper()
	var o struct {
		Spec map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal(raw, &o))
	var routes []map[string]any
	require.NoError(t, json.Unmarshal(o.Spec[protocol], &routes))

	return routes
}

// weightsOf are the weights of a route's destinations in their order.
func weightsOf(route map[string]any) []int {
	var all []int
	list, _ := route["route"].([]any)
	for _, d := range list {
		w, _ := d.(map[string]any)["weight"].(float64)
		all = append(all, int(w))
	}

	return all
}
