package main

import (
	"testing"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
)

// The reports of the suite are kept, so that what a version promises can be read without running it.
func TestConformanceReport(t *testing.T) {
	for name, fixture := range map[string]conformance.RouterFixture{
		"conformance.yaml": ingressFixture(t), "conformance-virtualserver.yaml": serverFixture(t),
	} {
		t.Run(name, func(t *testing.T) {
			report, err := conformance.TrafficRouter(t.Context(), conformance.InProcess(info(), service()), fixture)
			conformance.TestKept(t, name, *update, report, err)
		})
	}
}

func TestConformanceOfTheBinary(t *testing.T) {
	conformance.TestTrafficRouter(t, conformance.Built(t, "."), ingressFixture(t))
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
