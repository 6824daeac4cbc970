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

func fixture(t *testing.T) conformance.RouterFixture {
	t.Helper()

	return conformance.RouterFixture{
		Config: block, Shorter: `{"route":{"name":"web","rules":["main"]}}`, Target: target, Objects: []string{string(manifest(t, "shop.json"))},

		UnknownField: `{"route":{"name":"web","ruels":["main"]}}`,
		UnknownPath:  "route.ruels",
		Missing:      `{"route":{"name":"nowhere"}}`,
	}
}

// The report of the suite is kept, so that what a version promises can be read without running it.
func TestConformanceReport(t *testing.T) {
	report, err := conformance.TrafficRouter(t.Context(), conformance.InProcess(info(), service()), fixture(t))
	require.NoError(t, err)
	assert.Empty(t, report.Failures())
	raw, err := report.YAML()
	require.NoError(t, err)
	const name = "conformance.yaml"
	if *update {
		require.NoError(t, os.WriteFile(name, raw, 0o600))
	}
	kept, err := os.ReadFile(name)
	require.NoError(t, err)
	assert.Equal(t, string(kept), string(raw), "go test -run ConformanceReport -update renews it")
}

func TestConformanceOfTheBinary(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "apisix")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, string(out))

	conformance.TestTrafficRouter(t, conformance.Binary(binary), fixture(t))
}
