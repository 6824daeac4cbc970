package plugins

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of all plugins. The label plugin holds ids of the catalog only;
// series of a plugin that leaves it are dropped.
type metrics struct {
	calls    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	health   *prometheus.CounterVec
	restarts *prometheus.CounterVec
	state    *prometheus.GaugeVec
	info     *prometheus.GaugeVec
}

func newMetrics() *metrics {
	return &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_plugin_calls_total",
			Help: "Calls of plugins that were answered or given up, without health checks.",
		}, []string{"plugin", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_plugin_call_duration_seconds",
			Help: "How long calls of plugins took, without health checks.",
			// From a local round trip to the longest deadline.
			Buckets: []float64{.001, .005, .025, .1, .5, 2, 5, 10, 60},
		}, []string{"plugin", "method"}),
		health: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_plugin_health_checks_total",
			Help: "Health checks of plugin processes.",
		}, []string{"plugin", "code"}),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_plugin_restarts_total",
			Help: "Starts of plugin processes after the first one, whether or not they succeeded.",
		}, []string{"plugin"}),
		state: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_plugin_state",
			Help: "1 for the state a plugin is in, 0 for the others.",
		}, []string{"plugin", "state"}),
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_plugin_info",
			Help: "1, with the version that a plugin was last ready with.",
		}, []string{"plugin", "version"}),
	}
}

// register adds the metrics to a registry. Those of another host in the same
// registry (a second controller in one process, as in tests) are shared.
func (m *metrics) register(into prometheus.Registerer) error {
	return errors.Join(
		share(into, &m.calls), share(into, &m.duration), share(into, &m.health),
		share(into, &m.restarts), share(into, &m.state), share(into, &m.info),
	)
}

func share[C prometheus.Collector](into prometheus.Registerer, c *C) error {
	err := into.Register(*c)
	var known prometheus.AlreadyRegisteredError
	if !errors.As(err, &known) {
		return err
	}
	other, ok := known.ExistingCollector.(C)
	if !ok {
		return err
	}
	*c = other
	return nil
}

func (m *metrics) called(plugin, method string, err error, took time.Duration) {
	m.calls.WithLabelValues(plugin, method, codeLabel(err)).Inc()
	m.duration.WithLabelValues(plugin, method).Observe(took.Seconds())
}

func (m *metrics) is(plugin string, now State) {
	for _, s := range States {
		value := 0.0
		if s == now {
			value = 1
		}
		m.state.WithLabelValues(plugin, string(s)).Set(value)
	}
}

// introduced notes the version of a plugin, instead of the one before.
func (m *metrics) introduced(plugin, version string) {
	m.info.DeletePartialMatch(prometheus.Labels{"plugin": plugin})
	m.info.WithLabelValues(plugin, version).Set(1)
}

func (m *metrics) forget(plugin string) {
	of := prometheus.Labels{"plugin": plugin}
	m.calls.DeletePartialMatch(of)
	m.duration.DeletePartialMatch(of)
	m.health.DeletePartialMatch(of)
	m.restarts.DeletePartialMatch(of)
	m.state.DeletePartialMatch(of)
	m.info.DeletePartialMatch(of)
}
