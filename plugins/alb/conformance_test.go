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

// experimentService is reached under another port than the rollout's Services, as Services of experiments are.
const experimentService = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web-exp","namespace":"shop","resourceVersion":"5"},
	"spec":{"ports":[{"name":"metrics","port":9000},{"name":"http","port":8080}]}}`

func fixture(t *testing.T) conformance.RouterFixture {
	t.Helper()
	shop := manifest(t, "shop.json")

	return conformance.RouterFixture{
		Config: two, Shorter: `{"ingress":"web","servicePort":80,"rootService":"web-root"}`, Target: target, Objects: []string{string(shop), string(edited(t, shop, "internal", "metadata", "name")), experimentService},

		ExperimentService: "web-exp",
		UnknownField:      `{"ingress":"web","servicePort":80,"stickinessConfig":{"enabeld":true}}`,
		UnknownPath:       "stickinessConfig.enabeld",
		Missing:           `{"ingresses":["web","nowhere"],"servicePort":80,"rootService":"web-root"}`,
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
	binary := filepath.Join(t.TempDir(), "alb")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, string(out))

	conformance.TestTrafficRouter(t, conformance.Binary(binary), fixture(t))
}
