package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/egress"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
)

// success is an answer of Prometheus's API.
func success(kind, result string) string {
	return fmt.Sprintf(`{"status":"success","data":{"resultType":%q,"result":%s}}`, kind, result)
}

// serve answers every request with a status and a body.
func serve(t *testing.T, status int, body string) string {
	t.Helper()

	return listen(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

func listen(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)

	return server.URL
}

// block is a metric's configuration.
func block(t *testing.T, c map[string]any) []byte {
	t.Helper()
	if c["query"] == nil {
		c["query"] = "up"
	}
	raw, err := json.Marshal(c)
	require.NoError(t, err)

	return raw
}

// permitted is a provider that may ask the servers of these tests, as an administrator would have to allow it.
func permitted(t *testing.T) *provider {
	t.Helper()
	rules, err := egress.Parse([]string{"127.0.0.0/8", "10.244.0.0/16"}, nil)
	require.NoError(t, err)
	p := newProvider()
	p.guard.Set(rules)

	return p
}

func measure(t *testing.T, c map[string]any) *metricprovider.Measurement {
	t.Helper()
	m, err := permitted(t).Measure(t.Context(), &metricprovider.MeasureRequest{Config: block(t, c)})
	require.NoError(t, err)

	return m
}

func TestMeasure(t *testing.T) {
	for name, tc := range map[string]struct {
		answer string
		want   metricprovider.Outcome
	}{
		"a scalar":        {success("scalar", `[1700000000,"0.95"]`), metricprovider.Scalar(0.95)},
		"an infinity":     {success("scalar", `[1700000000,"-Inf"]`), metricprovider.Scalar(math.Inf(-1))},
		"a vector":        {success("vector", `[{"metric":{"a":"1"},"value":[1,"2"]},{"metric":{"a":"2"},"value":[1,"1.5"]}]`), metricprovider.Vector{2, 1.5}},
		"an empty vector": {success("vector", `[]`), metricprovider.Vector{}},
		"a range of samples": {
			success("matrix", `[{"metric":{"a":"1"},"values":[[1,"1"],[2,"2"]]},{"metric":{"a":"2"},"values":[[1,"3"]]}]`),
			metricprovider.Vector{1, 2, 3},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := measure(t, map[string]any{"address": serve(t, http.StatusOK, tc.answer)})
			assert.Equal(t, tc.want, m.Outcome)
			assert.Equal(t, map[string]string{"ResolvedPrometheusQuery": "up"}, m.ResultMetadata)
			assert.Empty(t, m.Metadata)
		})
	}
}

func TestMeasureNaN(t *testing.T) {
	m := measure(t, map[string]any{"address": serve(t, http.StatusOK, success("vector", `[{"metric":{},"value":[1,"NaN"]},{"metric":{},"value":[1,"+Inf"]}]`))})
	values, ok := m.Outcome.(metricprovider.Vector)
	require.True(t, ok)
	require.Len(t, values, 2)
	assert.True(t, math.IsNaN(values[0]))
	assert.True(t, math.IsInf(values[1], 1))
}

func TestMeasureFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		want   string // after the address
	}{
		"a bad query": {
			http.StatusBadRequest, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:3: parse error"}`,
			`bad_data: invalid parameter "query": 1:3: parse error`,
		},
		"a query that fails":     {http.StatusUnprocessableEntity, `{"status":"error","errorType":"execution","error":"too many samples"}`, "execution: too many samples"},
		"HTTP 500":               {http.StatusInternalServerError, "on\nfire", "server_error: server error: 500: on fire"},
		"HTTP 404":               {http.StatusNotFound, "", "client_error: client error: 404"},
		"not Prometheus":         {http.StatusOK, "<html>", "bad_response: "},
		"half an answer":         {http.StatusOK, `{"status":"success","data":{"resultType":"vector","result":[`, "bad_response: "},
		"no data":                {http.StatusOK, `{"status":"success"}`, "cannot read the answer: "},
		"a text":                 {http.StatusOK, success("string", `[1,"hello"]`), "cannot read the answer: unmarshalerDecoder: unexpected value type \"string\""},
		"an unknown type":        {http.StatusOK, success("tensor", `[]`), "unknown value type \"tensor\""},
		"a number out of range":  {http.StatusOK, success("scalar", `[1,"1e400"]`), "value out of range"},
		"native histograms":      {http.StatusOK, success("vector", `[{"metric":{},"histogram":[1,{"count":"1","sum":"1","buckets":[]}]}]`), "native histograms"},
		"ranges of native ones":  {http.StatusOK, success("matrix", `[{"metric":{},"histograms":[[1,{"count":"1","sum":"1","buckets":[]}]]}]`), "native histograms"},
		"more than it may":       {http.StatusOK, success("string", `"`+strings.Repeat("x", egress.DefaultMaxBody)+`"`), "larger than 1 MiB"},
		"an essay about a fault": {http.StatusBadGateway, strings.Repeat("é", 100_000), "server_error: server error: 502: éé"},
	} {
		t.Run(name, func(t *testing.T) {
			address := serve(t, tc.status, tc.body)
			m := measure(t, map[string]any{"address": address})
			failure, ok := m.Outcome.(metricprovider.Failure)
			require.True(t, ok, "%v", m.Outcome)
			assert.True(t, strings.HasPrefix(failure.Message, address+": "), failure.Message)
			assert.Contains(t, failure.Message, tc.want)
			assert.LessOrEqual(t, len(failure.Message), maxMessage)
			assert.NotContains(t, failure.Message, "\n")
			assert.NotContains(t, failure.Message, "bigger context")
			assert.Equal(t, "up", m.ResultMetadata["ResolvedPrometheusQuery"])
		})
	}
}

func TestMeasureDecompressesWithinBounds(t *testing.T) {
	body := success("scalar", `[1,"7"]`)
	address := listen(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte(body))
		if r.URL.Path == "/bomb/api/v1/query" {
			for range 64 {
				_, _ = z.Write(make([]byte, 1<<20))
			}
		}
		_ = z.Close()
	})
	assert.Equal(t, metricprovider.Scalar(7), measure(t, map[string]any{"address": address}).Outcome)
	failure, ok := measure(t, map[string]any{"address": address + "/bomb"}).Outcome.(metricprovider.Failure)
	require.True(t, ok)
	assert.Contains(t, failure.Message, "larger than 1 MiB")
}

func TestMeasureKeepsWarnings(t *testing.T) {
	m := measure(t, map[string]any{"address": serve(t, http.StatusOK,
		`{"status":"success","warnings":["one","two"],"data":{"resultType":"scalar","result":[1,"1"]}}`)})
	assert.Equal(t, metricprovider.Scalar(1), m.Outcome)
	assert.Equal(t, map[string]string{"warnings": `"one", "two"`}, m.Metadata)
}

func TestMetadataIsBounded(t *testing.T) {
	warnings, err := json.Marshal([]string{strings.Repeat("w", 10_000)})
	require.NoError(t, err)
	m := measure(t, map[string]any{
		"query": strings.Repeat("é", 10_000),
		"address": serve(t, http.StatusOK,
			`{"status":"success","warnings":`+string(warnings)+`,"data":{"resultType":"scalar","result":[1,"1"]}}`),
	})
	for _, metadata := range []map[string]string{m.Metadata, m.ResultMetadata} {
		size := 0
		for key, value := range metadata {
			size += len(key) + len(value)
			assert.True(t, strings.HasSuffix(value, "…"))
		}
		assert.Less(t, size, 4<<10)
	}
}

func TestMeasureSendsQueryAndHeaders(t *testing.T) {
	address := listen(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/prefix/api/v1/query", r.URL.Path)
		assert.Equal(t, `rate(x{a="b"}[5m])`, r.FormValue("query"))
		assert.Empty(t, r.FormValue("time"), "Prometheus's own now")
		assert.Equal(t, "Bearer s3cret", r.Header.Get("Authorization"))
		assert.Equal(t, "b", r.Header.Get("X-A"), "the last of two wins")
		_, _ = w.Write([]byte(success("scalar", `[1,"1"]`)))
	})
	m := measure(t, map[string]any{"address": address + "/prefix/", "query": `rate(x{a="b"}[5m])`, "headers": []map[string]string{
		{"key": "Authorization", "value": "Bearer s3cret"}, {"key": "x-a", "value": "a"}, {"key": "X-A", "value": "b"},
	}})
	assert.Equal(t, metricprovider.Scalar(1), m.Outcome)
}

func TestMeasureFallsBackToGet(t *testing.T) {
	address := listen(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)

			return
		}
		_, _ = w.Write([]byte(success("scalar", `[1,"1"]`)))
	})
	assert.Equal(t, metricprovider.Scalar(1), measure(t, map[string]any{"address": address}).Outcome)
}

func TestHeadersDoNotFollowRedirectsElsewhere(t *testing.T) {
	headers := []map[string]string{{"key": "X-Token", "value": "s3cret"}}
	target := func(want string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, want, r.Header.Get("X-Token"))
			_, _ = w.Write([]byte(success("scalar", `[1,"1"]`)))
		}
	}
	// The servers listen on 127.0.0.1; the same server under another name is another host.
	other := strings.Replace(listen(t, target("")), "127.0.0.1", "localhost", 1)
	same := listen(t, target("s3cret"))

	for _, to := range []string{other, same} {
		address := listen(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
		})
		assert.Equal(t, metricprovider.Scalar(1), measure(t, map[string]any{"address": address, "headers": headers}).Outcome)
	}
}

func TestRedirectsEnd(t *testing.T) {
	requests := 0
	address := listen(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
	})
	failure, ok := measure(t, map[string]any{"address": address}).Outcome.(metricprovider.Failure)
	require.True(t, ok)
	assert.Contains(t, failure.Message, "stopped after 3 redirects")
	assert.Equal(t, 4, requests)
}

func TestInsecure(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(success("scalar", `[1,"1"]`)))
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // Of the handshake that is refused.
	server.StartTLS()
	t.Cleanup(server.Close)

	assert.Equal(t, metricprovider.Scalar(1), measure(t, map[string]any{"address": server.URL, "insecure": true}).Outcome)
	failure, ok := measure(t, map[string]any{"address": server.URL}).Outcome.(metricprovider.Failure)
	require.True(t, ok)
	assert.Contains(t, failure.Message, "certificate")
}

func TestNobodyThereIsAnAnswer(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	address := strings.Replace(gone.URL, "http://", "http://user:hunter2@", 1) + "/path?token=hunter2"
	failure, ok := measure(t, map[string]any{"address": address}).Outcome.(metricprovider.Failure)
	require.True(t, ok)
	assert.Contains(t, failure.Message, "connection refused")
	assert.True(t, strings.HasPrefix(failure.Message, gone.URL+": "), failure.Message)
	assert.NotContains(t, failure.Message, "hunter2")
}

// hang accepts requests and answers none, until the test ends.
func hang(t *testing.T) string {
	t.Helper()
	ended := make(chan struct{})
	address := listen(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-ended:
		}
	})
	t.Cleanup(func() { close(ended) }) // Before the server closes, which waits for its handlers.

	return address
}

func TestSilenceIsAnAnswer(t *testing.T) {
	address := hang(t)
	m := measure(t, map[string]any{"address": address, "timeout": 1})
	assert.Equal(t, metricprovider.Failure{Message: address + " gave no answer within 1s"}, m.Outcome)
}

func TestNoAnswerWhenTheHostGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := permitted(t).Measure(ctx, &metricprovider.MeasureRequest{Config: block(t, map[string]any{"address": hang(t)})})
	assert.ErrorIs(t, err, context.Canceled)
}

func TestInvalidConfigIsNoMeasurement(t *testing.T) {
	_, err := newProvider().Measure(t.Context(), &metricprovider.MeasureRequest{Config: []byte(`{}`)})
	assert.Error(t, err)
	assert.Error(t, newProvider().Validate(t.Context(), &metricprovider.ValidateRequest{Config: []byte(`{}`)}))
}

func TestDefaultAddress(t *testing.T) {
	p := permitted(t)
	require.NoError(t, p.configure(t.Context(), fmt.Appendf(nil, `{"address":%q}`, serve(t, http.StatusOK, success("scalar", `[1,"3"]`)))))
	m, err := p.Measure(t.Context(), &metricprovider.MeasureRequest{Config: []byte(`{"query":"up"}`)})
	require.NoError(t, err)
	assert.Equal(t, metricprovider.Scalar(3), m.Outcome)
}
