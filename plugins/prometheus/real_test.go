package main

import (
	"errors"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/test/devcluster"
)

// TestRealPrometheus asks a real one what the other tests imitate.
func TestRealPrometheus(t *testing.T) {
	if os.Getenv("SLUICE_E2E") == "" {
		t.Skip("needs a real Prometheus, which takes minutes to build: make e2e runs this")
	}
	cluster, err := devcluster.StartNet(t.Context(), devcluster.Options{APIServerOnly: true})
	if errors.Is(err, devcluster.ErrNoNamespace) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cluster.Stop()) })
	server, err := cluster.StartPrometheus(t.Context(), "global: {}\n")
	require.NoError(t, err)

	ask := func(query string) *metricprovider.Measurement {
		return measure(t, map[string]any{"address": "http://" + server.Outside, "query": query})
	}
	for query, want := range map[string]metricprovider.Outcome{
		`scalar(vector(42))`: metricprovider.Scalar(42),
		`vector(0.95)`:       metricprovider.Vector{0.95},
		`vector(1) == 2`:     metricprovider.Vector{},
		`vector(-1) / 0`:     metricprovider.Vector{math.Inf(-1)},
		`label_replace(vector(1), "a", "1", "", "") or label_replace(vector(2), "a", "2", "", "")`: metricprovider.Vector{1, 2},
	} {
		assert.Equal(t, want, ask(query).Outcome, query)
	}

	nan, ok := ask(`scalar(vector(0) / 0)`).Outcome.(metricprovider.Scalar)
	require.True(t, ok)
	assert.True(t, math.IsNaN(float64(nan)))

	ranged, ok := ask(`vector(1)[3s:1s]`).Outcome.(metricprovider.Vector)
	require.True(t, ok)
	assert.Contains(t, ranged, 1.0)

	warned := ask(`quantile(2, vector(1))`)
	assert.Equal(t, metricprovider.Vector{math.Inf(1)}, warned.Outcome)
	assert.Contains(t, warned.Metadata["warnings"], "quantile value should be between 0 and 1")

	for query, want := range map[string]string{
		`sum(`:   "bad_data: ",
		`"text"`: "cannot read the answer: ",
		`label_replace(vector(1), "a", "x", "", "") + on() (label_replace(vector(1), "a", "1", "", "") or label_replace(vector(1), "a", "2", "", ""))`: "execution: ",
	} {
		failure, ok := ask(query).Outcome.(metricprovider.Failure)
		require.True(t, ok, query)
		assert.Contains(t, failure.Message, want, query)
	}
}
