package stage

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
)

// PrometheusStandIn answers instant queries of Prometheus' HTTP API. A query is
// only a name here: it has the value it was given, or no series.
type PrometheusStandIn struct {
	server *httptest.Server

	mu      sync.Mutex
	values  map[string]float64
	queries map[string]int
}

func newPrometheusStandIn() *PrometheusStandIn {
	p := &PrometheusStandIn{values: map[string]float64{}, queries: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/query", p.query)
	p.server = httptest.NewServer(mux)
	return p
}

// URL is the address for a metric's provider.
func (p *PrometheusStandIn) URL() string { return p.server.URL }

// Set gives a query its value from now on.
func (p *PrometheusStandIn) Set(query string, value float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.values[query] = value
}

// Asked is how often the query came.
func (p *PrometheusStandIn) Asked(query string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queries[query]
}

func (p *PrometheusStandIn) query(w http.ResponseWriter, r *http.Request) {
	query := r.FormValue("query")
	p.mu.Lock()
	value, known := p.values[query]
	p.queries[query]++
	p.mu.Unlock()
	result := []any{}
	if known {
		result = append(result, map[string]any{"metric": map[string]any{}, "value": []any{1700000000, fmt.Sprint(value)}})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"status": "success", "data": map[string]any{"resultType": "vector", "result": result},
	})
}
