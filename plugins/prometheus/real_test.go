package main

import (
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httputil"
	"net/url"
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

	many, ok := ask(`vector(1)[10m:1ms]`).Outcome.(metricprovider.Failure)
	require.True(t, ok, "600,000 samples")
	assert.Contains(t, many.Message, "larger than 1 MiB: aggregate in the query")

	behindAProxy(t, "http://"+server.Outside)
}

// behindAProxy asks through what often stands in front of a Prometheus: a proxy
// that wants a login, and one that takes longer than the metric has time.
func behindAProxy(t *testing.T, prometheus string) {
	t.Helper()
	target, err := url.Parse(prometheus)
	require.NoError(t, err)
	through := httputil.NewSingleHostReverseProxy(target)
	closed := listen(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "hunter2" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		through.ServeHTTP(w, r)
	})
	login := func(password string) map[string]any {
		return map[string]any{"basicAuth": map[string]any{"username": "me", "password": password}}
	}
	assert.Equal(t, metricprovider.Vector{0.95},
		measure(t, map[string]any{"address": closed, "query": "vector(0.95)", "authentication": login("hunter2")}).Outcome)
	refused, ok := measure(t, map[string]any{"address": closed, "query": "vector(0.95)", "authentication": login("wrong")}).Outcome.(metricprovider.Failure)
	require.True(t, ok)
	assert.Contains(t, refused.Message, "client error: 401")

	slow := listen(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the client has gone
		<-r.Context().Done()
	})
	late, ok := measure(t, map[string]any{"address": slow, "query": "vector(0.95)", "timeout": 1}).Outcome.(metricprovider.Failure)
	require.True(t, ok)
	assert.Equal(t, slow+" gave no answer within 1s", late.Message)

	ranged := measure(t, map[string]any{"address": prometheus, "query": "vector(7)",
		"rangeQuery": map[string]any{"start": `now() - duration("10s")`, "end": "now()", "step": "5s"}})
	assert.Equal(t, metricprovider.Vector{7, 7, 7}, ranged.Outcome)
}
