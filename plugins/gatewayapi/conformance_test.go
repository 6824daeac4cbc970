package main

import (
	"testing"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/objects"
)

func TestConformanceInThousandths(t *testing.T) {
	conformance.TestTrafficRouter(t, conformance.InProcess(info(), service()), alone(t, 1000))
}

// The report of the suite is kept, so that what a version promises can be read without running it.
func TestConformanceReport(t *testing.T) {
	report, err := conformance.TrafficRouter(t.Context(), conformance.InProcess(info(), service()), fixture(t, 100))
	conformance.TestKept(t, "conformance.yaml", *update, report, err)
}

func TestConformanceOfTheBinary(t *testing.T) {
	conformance.TestTrafficRouter(t, conformance.Built(t, "."), alone(t, 100))
}

// alone is one route only: what several add is in the report.
func alone(t *testing.T, total int32) conformance.RouterFixture {
	t.Helper()
	f := fixture(t, total)
	f.Config, f.Shorter, f.Missing, f.UnknownField, f.UnknownPath = web, "", "", "", ""
	f.Objects = []string{f.Objects[0], experimentService}

	return f
}

// experimentService is reached under another port than the rollout's Services, as Services of experiments are.
const experimentService = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web-exp","namespace":"shop","resourceVersion":"5"},
	"spec":{"ports":[{"name":"metrics","port":9000},{"name":"http","port":8080}]}}`

// fixture is three routes of different kinds, with rules and backends of others in them.
func fixture(t *testing.T, total int32) conformance.RouterFixture {
	t.Helper()
	released := []edit{weight(1, 1, int(total)), weight(2, 0, int(total))} // As a release spells them out.
	shop := edited(t, manifest(t, "shop.json"), released...)
	grpc := edited(t, shop, set("GRPCRoute", "kind"), set("rpc", "metadata", "name"), edit{nil, []any{"metadata", "labels"}})
	tcp := edited(t, shop, set("TCPRoute", "kind"), set("raw", "metadata", "name"), edit{nil, []any{"metadata", "labels"}})

	return conformance.RouterFixture{
		Config:      `{"httpRouteSelector":{"matchLabels":{"app":"shop"}},"httpRoute":"web","grpcRoutes":[{"name":"rpc","useHeaderRoutes":true}],"tcpRoute":"raw"}`,
		Shorter:     `{"httpRoute":"web","grpcRoutes":[{"name":"rpc","useHeaderRoutes":true}]}`,
		Target:      target,
		Objects:     []string{string(shop), string(grpc), string(tcp), experimentService},
		Converge:    acceptRoute,
		TotalWeight: total,

		ExperimentService: "web-exp",
		UnknownField:      `{"httpRoute":"web","grpcRoutes":[{"nmae":"rpc"}]}`,
		UnknownPath:       "grpcRoutes[0].nmae",
		Missing:           `{"httpRoute":"web","grpcRoute":"nowhere"}`,
	}
}

// acceptRoute stands in for a gateway: it writes what one writes into status.parents once it serves a route.
func acceptRoute(o *objects.Object) {
	generation, _ := o.Value("metadata", "generation")
	for i := range 2 {
		o.Set(generation, "status", "parents", 0, "conditions", i, "observedGeneration")
	}
}
