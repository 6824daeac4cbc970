package main

import (
	"testing"

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
	conformance.TestKept(t, "conformance.yaml", *update, report, err)
}

func TestConformanceOfTheBinary(t *testing.T) {
	conformance.TestTrafficRouter(t, conformance.Built(t, "."), fixture())
}
