package controller

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what the controller does to the API server and to itself.
type Metrics struct {
	requests   *prometheus.CounterVec
	violations *prometheus.CounterVec
}

// NewMetrics registers the controller's own metrics. Those of another controller
// in the same registry are shared.
func NewMetrics(into prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_api_requests_total",
			Help: "Requests this process made to the API server, by verb, resource and HTTP status code.",
		}, []string{"verb", "resource", "code"}),
		violations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_invariant_violations_total",
			Help: "Plans refused because they would break a safety invariant; each is a bug.",
		}, []string{"rule"}),
	}
	for _, c := range []**prometheus.CounterVec{&m.requests, &m.violations} {
		var known prometheus.AlreadyRegisteredError
		if err := into.Register(*c); errors.As(err, &known) {
			if there, ok := known.ExistingCollector.(*prometheus.CounterVec); ok {
				*c = there
			}
		} else if err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) violation(rule string) { m.violations.WithLabelValues(rule).Inc() }

// Transport counts requests on their way to the API server. Watches count when
// they are opened.
func (m *Metrics) Transport(next http.RoundTripper) http.RoundTripper {
	return counted{m, next}
}

type counted struct {
	metrics *Metrics
	next    http.RoundTripper
}

func (c counted) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := c.next.RoundTrip(req)
	code := "0"
	if err == nil {
		code = strconv.Itoa(res.StatusCode)
	}
	verb, resource := describe(req)
	c.metrics.requests.WithLabelValues(verb, resource, code).Inc()
	return res, err
}

// describe reads verb and resource off a request path, e.g.
// /apis/apps/v1/namespaces/x/replicasets/y/scale → replicasets/scale. Unknown
// paths are "other", so that labels stay bounded.
func describe(req *http.Request) (verb, resource string) {
	verb = strings.ToLower(req.Method)
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		return verb, "other"
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	resource = parts[0]
	if len(parts) > 2 {
		resource += "/" + parts[2]
	}
	if verb == "get" {
		switch {
		case req.URL.Query().Get("watch") != "":
			verb = "watch"
		case len(parts) == 1:
			verb = "list"
		}
	}
	return verb, resource
}
