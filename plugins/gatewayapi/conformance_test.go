package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/objects"
)

func TestConformance(t *testing.T) {
	for name, total := range map[string]int32{"hundredths": 100, "thousandths": 1000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conformance.TestTrafficRouter(t, conformance.InProcess(info(), service()), fixture(t, total))
		})
	}
}

func TestConformanceOfTheBinary(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "gatewayapi")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, string(out))

	conformance.TestTrafficRouter(t, conformance.Binary(binary), fixture(t, 100))
}

// fixture is two routes of different kinds, with rules and backends of others in them.
func fixture(t *testing.T, total int32) conformance.RouterFixture {
	t.Helper()
	released := []edit{weight(1, 1, int(total)), weight(2, 0, int(total))} // As a release spells them out.
	shop := edited(t, manifest(t, "shop.json"), released...)
	grpc := edited(t, shop, set("GRPCRoute", "kind"), set("rpc", "metadata", "name"), edit{nil, []any{"metadata", "labels"}})

	return conformance.RouterFixture{
		Config:       `{"httpRoute":"web","grpcRoutes":[{"name":"rpc","useHeaderRoutes":true}]}`,
		Target:       target,
		Objects:      []string{string(shop), string(grpc)},
		Converge:     acceptRoute,
		TotalWeight:  total,
		UnknownField: `{"httpRoute":"web","grpcRoutes":[{"nmae":"rpc"}]}`,
		UnknownPath:  "grpcRoutes[0].nmae",
		Missing:      `{"httpRoute":"web","grpcRoute":"nowhere"}`,
	}
}

// acceptRoute stands in for a gateway: it writes what one writes into status.parents once it serves a route.
func acceptRoute(o *objects.Object) {
	generation, _ := o.Value("metadata", "generation")
	for i := range 2 {
		o.Set(generation, "status", "parents", 0, "conditions", i, "observedGeneration")
	}
}
