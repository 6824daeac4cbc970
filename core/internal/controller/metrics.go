package controller

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/invariant"
)

// Metrics counts what the controller does. Names without the prefix "sluice_"
// are those of Argo Rollouts, for its dashboards; they have fewer labels where
// an object's name would make series without bound, and say the same.
type Metrics struct {
	info                *prometheus.GaugeVec
	requests, clientset *prometheus.CounterVec
	violations          *prometheus.CounterVec
	events              *prometheus.CounterVec
	passes              map[string]*prometheus.HistogramVec // by kind
	failures            map[string]*prometheus.CounterVec
	duration            *prometheus.HistogramVec
	progression         *prometheus.HistogramVec
	manual              *prometheus.HistogramVec
}

// updateBuckets are from a minute to a day.
var updateBuckets = []float64{60, 300, 900, 1800, 3600, 2 * 3600, 6 * 3600, 24 * 3600}

// NewMetrics registers the controller's own metrics. Those of another controller
// in the same registry are shared.
func NewMetrics(into prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argo_rollouts_controller_info", Help: "1, with the version of the controller.",
		}, []string{"version"}),
		requests: counter("sluice_api_requests_total",
			"Requests this process made to the API server, by verb, resource and HTTP status code.", "verb", "resource", "code"),
		clientset: counter("controller_clientset_k8s_request_total",
			"The requests of sluice_api_requests_total, under the name and in the words of Argo Rollouts.", "kind", "verb", "status_code"),
		violations: counter("sluice_invariant_violations_total",
			"Plans refused because they would break a safety invariant; each is a bug.", "rule"),
		events: counter("rollout_events_total",
			"Events about Rollouts, by namespace, type and reason.", "namespace", "type", "reason"),
		passes: map[string]*prometheus.HistogramVec{}, failures: map[string]*prometheus.CounterVec{},
		duration: histogram("rollout_duration_seconds",
			"Time from the start of an update to its end, by how it ended.", updateBuckets, "namespace", "status"),
		progression: histogram("rollout_progression_duration_seconds",
			"Time of an update without the pauses in which a person had to act.", updateBuckets, "namespace", "status"),
		manual: histogram("rollout_manual_pause_duration_seconds",
			"Time of an update in which a person had to act.", updateBuckets, "namespace", "status"),
	}
	problems := []error{
		shared(into, &m.info), shared(into, &m.requests), shared(into, &m.clientset), shared(into, &m.violations), shared(into, &m.events),
		shared(into, &m.duration), shared(into, &m.progression), shared(into, &m.manual),
	}
	for kind, name := range map[string]string{
		v1alpha1.KindRollout: "rollout_reconcile", v1alpha1.KindAnalysisRun: "analysis_run_reconcile", v1alpha1.KindExperiment: "experiment_reconcile",
	} {
		passes := histogram(name, "Seconds of a pass over one "+kind+".", []float64{.01, .15, .25, .5, 1}, "namespace")
		failures := counter(name+"_error", "Passes over a "+kind+" that ended with an error.", "namespace")
		problems = append(problems, shared(into, &passes), shared(into, &failures))
		m.passes[kind], m.failures[kind] = passes, failures
	}
	for _, rule := range invariant.Rules() { // an increase from nothing is not seen
		m.violations.WithLabelValues(rule)
	}
	return m, errors.Join(problems...)
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

// shared registers a collector, or takes the one that is there.
func shared[C prometheus.Collector](into prometheus.Registerer, c *C) error {
	err := into.Register(*c)
	var known prometheus.AlreadyRegisteredError
	if !errors.As(err, &known) {
		return err
	}
	there, ok := known.ExistingCollector.(C)
	if !ok {
		return err
	}
	*c = there
	return nil
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
	c.metrics.clientset.WithLabelValues(resource, clientsetVerb(verb), code).Inc()
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

// clientsetVerb is what a Go client calls the verb.
func clientsetVerb(verb string) string {
	switch verb {
	case "post":
		return "Create"
	case "put":
		return "Update"
	case "get", "list", "watch", "patch", "delete":
		return strings.ToUpper(verb[:1]) + verb[1:]
	}
	return "Unknown"
}
