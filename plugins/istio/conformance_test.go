package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
)

// The reports of the suite are kept, so that what a version promises can be read without running it.
func TestConformanceReport(t *testing.T) {
	for name, fixture := range map[string]conformance.RouterFixture{"conformance.yaml": hosts(t), "conformance-subsets.yaml": subsetsFixture(t)} {
		t.Run(name, func(t *testing.T) {
			report, err := conformance.TrafficRouter(t.Context(), conformance.InProcess(info(), service()), fixture)
			require.NoError(t, err)
			assert.Empty(t, report.Failures())
			raw, err := report.YAML()
			require.NoError(t, err)
			if *update {
				require.NoError(t, os.WriteFile(name, raw, 0o600))
			}
			kept, err := os.ReadFile(name)
			require.NoError(t, err)
			assert.Equal(t, string(kept), string(raw), "go test -run ConformanceReport -update renews it")
		})
	}
}

func TestConformanceOfTheBinary(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "istio")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, string(out))

	conformance.TestTrafficRouter(t, conformance.Binary(binary), hosts(t))
}

// hosts is a split between Services in routes of all protocols, beside routes and destinations of others.
func hosts(t *testing.T) conformance.RouterFixture {
	t.Helper()

	return conformance.RouterFixture{
		Config:  byHost,
		Shorter: `{"virtualService":{"name":"web","routes":["beside-others"]}}`,
		Target:  target,
		Objects: []string{string(manifest(t, "shop.json"))},

		ExperimentService: "web-exp",
		UnknownField:      `{"virtualService":{"name":"web","routs":["main"]}}`,
		UnknownPath:       "virtualService.routs",
		Missing:           `{"virtualServices":[{"name":"web","routes":["main"]},{"name":"nowhere"}]}`,
	}
}

// subsetsFixture is a split between subsets that point at no revision yet.
func subsetsFixture(t *testing.T) conformance.RouterFixture {
	t.Helper()

	return conformance.RouterFixture{
		Config:  bySubset,
		Target:  target,
		Objects: []string{string(manifest(t, "split.json")), string(fresh(t))},
		Missing: `{"virtualService":{"name":"web"},"destinationRule":{"name":"nowhere","canarySubsetName":"canary","stableSubsetName":"stable"}}`,

		ExperimentService: "web-exp",
	}
}
