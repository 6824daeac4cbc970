package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

var (
	target = plugin.Target{Namespace: "shop", Name: "web", UID: "u", StableService: "web-stable", CanaryService: "web-canary"}
	svc    = subjectOf(target, nil).services
)

// manifest reads a route of testdata.
func manifest(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)

	return raw
}

// edited returns an object with values set at paths.
func edited(t *testing.T, raw []byte, edits ...edit) []byte {
	t.Helper()
	o, err := objects.Parse(raw)
	require.NoError(t, err)
	for _, e := range edits {
		if e.value == nil {
			o.Delete(e.path...)
		} else {
			o.Set(e.value, e.path...)
		}
	}
	out, err := o.JSON()
	require.NoError(t, err)

	return out
}

// edit sets a value, or removes what is there if the value is nil.
type edit struct {
	value any
	path  []any
}

func set(value any, path ...any) edit { return edit{value, path} }

func weight(rule, ref int, w int) edit {
	return set(w, "spec", "rules", rule, "backendRefs", ref, "weight")
}

// typed is an object as the plugin sees it.
func typed(t *testing.T, raw []byte) *objects.Typed[route] {
	t.Helper()
	o, err := objects.Parse(raw)
	require.NoError(t, err)
	in := inputs(t, raw)
	found, err := objects.Get[route](in, needOf(o.Ref))
	require.NoError(t, err)

	return found
}

func needOf(ref objects.Ref) objects.Need {
	return objects.Need{Group: ref.Group, Kind: ref.Kind, Versions: []string{"v1"}, Namespace: ref.Namespace, Name: ref.Name}
}

// inputs shows each object under the need that names it.
func inputs(t *testing.T, manifests ...[]byte) *objects.Inputs {
	t.Helper()

	return wireInputs(t, results(t, false, manifests...)...)
}

func wireInputs(t *testing.T, results ...*typesv1.NeedResult) *objects.Inputs {
	t.Helper()
	in, err := objects.NewInputs(results)
	require.NoError(t, err)

	return in
}

func results(t *testing.T, held bool, manifests ...[]byte) []*typesv1.NeedResult {
	t.Helper()
	var all []*typesv1.NeedResult
	for _, raw := range manifests {
		o, err := objects.Parse(raw)
		require.NoError(t, err)
		all = append(all, &typesv1.NeedResult{
			Need: needOf(o.Ref).Proto(), State: typesv1.NeedResult_STATE_SYNCED, ApiVersion: o.APIVersion,
			Objects: []*typesv1.Object{{ApiVersion: o.APIVersion, ResourceVersion: o.ResourceVersion, Json: raw, Held: held}},
		})
	}

	return all
}

// absent shows that a route is not there.
func absent(kind, namespace, name string) *typesv1.NeedResult {
	need := objects.Need{Group: group, Kind: kind, Versions: []string{"v1"}, Namespace: namespace, Name: name}

	return &typesv1.NeedResult{Need: need.Proto(), State: typesv1.NeedResult_STATE_SYNCED}
}

func observe(t *testing.T, config string, in *objects.Inputs) *trafficrouter.Observation {
	t.Helper()
	seen, err := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{
		Target: target, Config: []byte(config), TotalWeight: 100, Inputs: in,
	})
	require.NoError(t, err)

	return seen
}

func traffic(total, canary int32) trafficrouter.Traffic {
	return trafficrouter.Traffic{TotalWeight: total, Destinations: []trafficrouter.Destination{
		{Role: trafficrouter.RoleStable, Service: "web-stable", Weight: total - canary},
		{Role: trafficrouter.RoleCanary, Service: "web-canary", Weight: canary},
	}}
}

// send asks for a state and returns the objects written.
func send(t *testing.T, config string, in *objects.Inputs, want trafficrouter.Traffic) [][]byte {
	t.Helper()
	stage, err := router{}.Route(t.Context(), &trafficrouter.RouteRequest{Target: target, Config: []byte(config), Traffic: want, Inputs: in})
	require.NoError(t, err)

	return written(t, stage)
}

func release(t *testing.T, config string, in *objects.Inputs) [][]byte {
	t.Helper()
	stage, err := router{}.Route(t.Context(), &trafficrouter.RouteRequest{
		Target: target, Config: []byte(config), Traffic: traffic(100, 0), Release: true, Inputs: in,
	})
	require.NoError(t, err)

	return written(t, stage)
}

func written(t *testing.T, stage *trafficrouter.Stage) [][]byte {
	t.Helper()
	var all [][]byte
	for _, w := range stage.Writes {
		require.Equal(t, objects.Update, w.Operation)
		all = append(all, w.JSON)
	}

	return all
}

// pretty lays JSON out a value a line; it changes no number and no text.
func pretty(t *testing.T, raw []byte) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, json.Indent(&b, raw, "", "  "))

	return strings.TrimSpace(b.String()) + "\n"
}

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden compares JSON with a file in testdata.
func golden(t *testing.T, name string, raw []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(filepath.Join("testdata", name), []byte(pretty(t, raw)), 0o600))
	}
	assert.Equal(t, string(manifest(t, name)), pretty(t, raw))
}

// tree is JSON as objects hold it.
func tree(t *testing.T, text string) any {
	t.Helper()
	var out any
	require.NoError(t, json.Unmarshal([]byte(text), &out))

	return out
}

func encoded(t *testing.T, value any) string {
	t.Helper()
	raw, err := json.Marshal(value)
	require.NoError(t, err)

	return string(raw)
}
