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
	for name, fixture := range map[string]conformance.RouterFixture{
		"conformance.yaml": ingressFixture(t), "conformance-virtualserver.yaml": serverFixture(t),
	} {
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
	binary := filepath.Join(t.TempDir(), "nginx")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, string(out))

	conformance.TestTrafficRouter(t, conformance.Binary(binary), ingressFixture(t))
}

// ingressFixture is two Ingresses of ingress-nginx, with weights of 250.
func ingressFixture(t *testing.T) conformance.RouterFixture {
	t.Helper()

	return conformance.RouterFixture{
		Config:           `{"stableIngresses":["shop","second"],"canaryIngressAnnotations":{"example.com/team":"checkout"}}`,
		Shorter:          `{"stableIngresses":["second"],"canaryIngressAnnotations":{"example.com/team":"checkout"}}`,
		Objects:          []string{string(manifest(t, "ingress.json")), string(manifest(t, "second.json"))},
		TotalWeight:      250,
		MaxManagedRoutes: 1,
		Missing:          `{"stableIngresses":["shop","nowhere"]}`,
	}
}

// serverFixture is a VirtualServer and a VirtualServerRoute, beside routes, matches and splits of others.
func serverFixture(t *testing.T) conformance.RouterFixture {
	t.Helper()

	return conformance.RouterFixture{
		Config:       byServer,
		Shorter:      `{"virtualServer":{"name":"shop","routes":["/beta"]}}`,
		Objects:      []string{string(manifest(t, "server.json")), string(manifest(t, "serverroute.json"))},
		UnknownField: `{"virtualServer":{"name":"shop","pathes":["/"]}}`,
		UnknownPath:  "virtualServer.pathes",
		Missing:      `{"virtualServer":{"name":"shop"},"virtualServers":[]  ,"virtualServerRoutes":[{"name":"nowhere"}]}`,
	}
}
