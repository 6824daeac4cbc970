package main

import (
	"testing"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
)

// experimentService is reached under another port than the rollout's Services, as Services of experiments are.
const experimentService = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web-exp","namespace":"shop","resourceVersion":"5"},
	"spec":{"ports":[{"name":"metrics","port":9000},{"name":"http","port":8080}]}}`

func fixture(t *testing.T) conformance.RouterFixture {
	t.Helper()

	return conformance.RouterFixture{
		Config: block, Target: target, Objects: []string{string(manifest(t, "shop.json")), experimentService},

		ExperimentService: "web-exp",
		Missing:           `{"weightedTraefikServiceName":"nowhere"}`,
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
