package main

import (
	"testing"

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
	conformance.TestKept(t, "conformance.yaml", *update, report, err)
}

func TestConformanceOfTheBinary(t *testing.T) {
	conformance.TestTrafficRouter(t, conformance.Built(t, "."), fixture(t))
}
