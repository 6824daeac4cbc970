package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// The examples of Argo Rollouts that use Istio, unchanged: their blocks and objects are understood, and routed.
func TestUpstreamExamples(t *testing.T) {
	examples := os.Getenv("SLUICE_UPSTREAM_EXAMPLES")
	if examples == "" {
		t.Skip("needs the examples of Argo Rollouts: set SLUICE_UPSTREAM_EXAMPLES to their folder")
	}
	var files []string
	for _, pattern := range []string{"istio/*.yaml", "traffic-routing-experiment-step/istio-*.yaml"} {
		found, err := filepath.Glob(filepath.Join(examples, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, found, pattern)
		files = append(files, found...)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			config, of, objects := example(t, file)
			in := inputs(t, objects...)
			require.NoError(t, router{}.Validate(t.Context(), &trafficrouter.ValidateRequest{
				Target: of, Config: config, Inputs: in, Envelope: trafficrouter.Envelope{TotalWeight: 100, MaxExperiments: 1},
			}))
			want := trafficrouter.Traffic{TotalWeight: 100, Destinations: []trafficrouter.Destination{
				{Role: trafficrouter.RoleStable, Service: of.StableService, Weight: 70},
				{Role: trafficrouter.RoleCanary, Service: of.CanaryService, Weight: 10},
				{Role: trafficrouter.RoleExperiment, Service: "experiment", Weight: 20},
			}}
			stage, err := router{}.Route(t.Context(), &trafficrouter.RouteRequest{Target: of, Config: config, Traffic: want, Inputs: inputs(t, objects...)})
			require.NoError(t, err)
			require.Len(t, stage.Writes, 1)
			objects[0] = stage.Writes[0].JSON
			seen, err := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{Target: of, Config: config, TotalWeight: 100, Inputs: inputs(t, objects...)})
			require.NoError(t, err)
			assert.Equal(t, want.Destinations, seen.Observed[0].Traffic.Destinations)
		})
	}
}

// example reads a file: the Rollout's block, what it says about itself, and the objects the plugin sees, the
// VirtualService first.
func example(t *testing.T, file string) (config []byte, of plugin.Target, found [][]byte) {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
	for {
		var o struct {
			Kind string
			Spec struct {
				Strategy struct {
					Canary struct {
						StableService, CanaryService string
						TrafficRouting               struct{ Istio json.RawMessage }
					}
				}
			}
		}
		var one json.RawMessage
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			return config, of, found
		}
		require.NoError(t, err)
		if len(one) == 0 || strings.TrimSpace(string(one)) == "null" {
			continue
		}
		require.NoError(t, json.Unmarshal(one, &o))
		switch canary := o.Spec.Strategy.Canary; o.Kind {
		case "Rollout":
			config = canary.TrafficRouting.Istio
			of = plugin.Target{Namespace: "shop", Name: "web", StableService: canary.StableService, CanaryService: canary.CanaryService}
		case "VirtualService":
			found = append([][]byte{edited(t, one, "shop", "metadata", "namespace")}, found...)
		case "DestinationRule":
			found = append(found, edited(t, one, "shop", "metadata", "namespace"))
		}
	}
}
