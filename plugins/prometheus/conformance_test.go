package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
	metricv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
)

func TestConformance(t *testing.T) {
	p := newProvider()
	conformance.TestMetricProvider(t, conformance.InProcess(p.info(), p.service()), fixture(t))
}

func TestConformanceOfTheBinary(t *testing.T) {
	conformance.TestMetricProvider(t, conformance.Built(t, "."), fixture(t))
}

// fixture has no Unreachable: a Prometheus that cannot be reached is an Error measurement, as it is with Argo. A run that
// waited instead would let a bad canary advance for as long as its metrics are down.
func fixture(t *testing.T) conformance.ProviderFixture {
	t.Helper()
	good := serve(t, http.StatusOK, success("vector", `[{"metric":{},"value":[1,"0.95"]}]`))
	bad := serve(t, http.StatusInternalServerError, "")

	return conformance.ProviderFixture{
		Process: fmt.Sprintf(`{"address":%q}`, good),
		Egress:  []string{"127.0.0.0/8"},
		Config:  `{"query":"up"}`,
		Check: func(answer *metricv1.MeasureResponse) error {
			if got := answer.GetValue().GetVector().GetValues(); len(got) != 1 || got[0] != 0.95 {
				return fmt.Errorf("want [0.95], got %v", answer)
			}

			return nil
		},
		Failing:      fmt.Sprintf(`{"query":"up","address":%q}`, bad),
		Hanging:      fmt.Sprintf(`{"query":"up","address":%q}`, hang(t)),
		UnknownField: `{"query":"up","headers":[{"key":"a","valeu":"b"}]}`,
		UnknownPath:  "headers[0].valeu",
	}
}
