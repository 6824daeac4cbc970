package main

import (
	"testing"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
)

// The reports of the suite are kept, so that what a version promises can be read without running it.
func TestConformanceReport(t *testing.T) {
	for name, fixture := range map[string]conformance.RouterFixture{"conformance.yaml": hosts(t), "conformance-subsets.yaml": subsetsFixture(t)} {
		t.Run(name, func(t *testing.T) {
			report, err := conformance.TrafficRouter(t.Context(), conformance.InProcess(info(), service()), fixture)
			conformance.TestKept(t, name, *update, report, err)
		})
	}
}

func TestConformanceOfTheBinary(t *testing.T) {
	conformance.TestTrafficRouter(t, conformance.Built(t, "."), hosts(t))
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
