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

// rootService is what clients use when nothing else is said: the stable Service.
const rootService = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web-stable","namespace":"shop","resourceVersion":"5"},"spec":{}}`

func fixture() conformance.RouterFixture {
	return conformance.RouterFixture{
		Config: `{"trafficSplitName":"web-split"}`, Target: target, Objects: []string{rootService},

		ExperimentService: "web-exp",
		Missing:           `{"rootService":"nowhere"}`,
	}
}

// The report of the suite is kept, so that what a version promises can be read without running it.
func TestConformanceReport(t *testing.T) {
	report, err := conformance.TrafficRouter(t.Context(), conformance.InProcess(info(), service()), fixture())
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
	binary := filepath.Join(t.TempDir(), "smi")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, string(out))

	conformance.TestTrafficRouter(t, conformance.Binary(binary), fixture())
}
