package stage

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// Counters are what a controller has done since it started.
type Counters struct {
	// Writes to the API server by "verb resource", without leases and events.
	Writes map[string]float64
	// Reads are single gets and lists past the caches, by "verb resource".
	Reads map[string]float64
	// Calls to plugins by "plugin method".
	Calls map[string]float64
	// Violations of invariants by rule: plans that were refused.
	Violations map[string]float64
	// Passes over objects, by "controller".
	Passes map[string]float64
	// Events are the requests that wrote events.
	Events float64
	// CPU is the processor time of the process, in seconds; Memory what it
	// occupies now, in bytes. Neither counts its plugins.
	CPU, Memory float64
}

// MetricsURL is where the controller shows its metrics.
func (c *Controller) MetricsURL() string { return "http://" + c.metrics + "/metrics" }

// Counters reads the controller's metrics.
func (c *Controller) Counters(t testing.TB) Counters {
	t.Helper()
	out, err := c.counters(t.Context())
	require.NoError(t, err, "read the controller's metrics")
	return out
}

// Families are all metrics of the controller, by name.
func (c *Controller) Families(t testing.TB) map[string]*dto.MetricFamily {
	t.Helper()
	out, err := c.families(t.Context())
	require.NoError(t, err, "read the controller's metrics")
	return out
}

func (c *Controller) families(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.metrics+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(res.Body)
}

func (c *Controller) counters(ctx context.Context) (Counters, error) {
	families, err := c.families(ctx)
	if err != nil {
		return Counters{}, err
	}
	out := Counters{
		Reads:      map[string]float64{},
		Writes:     sum(families["sluice_api_requests_total"], "verb", "resource"),
		Calls:      sum(families["sluice_plugin_calls_total"], "plugin", "method"),
		Violations: sum(families["sluice_invariant_violations_total"], "rule"),
		Passes:     sum(families["controller_runtime_reconcile_total"], "controller"),
	}
	for _, m := range families["process_cpu_seconds_total"].GetMetric() {
		out.CPU = m.GetCounter().GetValue()
	}
	for _, m := range families["process_resident_memory_bytes"].GetMetric() {
		out.Memory = m.GetGauge().GetValue()
	}
	if c.reference != "" {
		out.Writes = c.reference.requests(families)
	}
	for what, n := range out.Writes {
		if strings.HasSuffix(what, " events") {
			out.Events += n
		}
		verb, resource, _ := strings.Cut(what, " ")
		read := verb == "get" || verb == "list"
		if read && resource != "other" && resource != "leases" {
			out.Reads[what] = n
		}
		if read || verb == "watch" || resource == "leases" || resource == "events" || resource == "other" {
			delete(out.Writes, what)
		}
	}
	return out, nil
}

// sum adds up a counter by the values of some labels.
func sum(family *dto.MetricFamily, labels ...string) map[string]float64 {
	out := map[string]float64{}
	for _, m := range family.GetMetric() {
		values := make([]string, len(labels))
		for _, l := range m.GetLabel() {
			if i := slices.Index(labels, l.GetName()); i >= 0 {
				values[i] = l.GetValue()
			}
		}
		if n := m.GetCounter().GetValue(); n != 0 {
			out[strings.Join(values, " ")] += n
		}
	}
	return out
}

// Since is what was counted after the earlier reading; what did not move is
// left out. Memory stays what it is now.
func (c Counters) Since(before Counters) Counters {
	return Counters{
		Writes:     less(c.Writes, before.Writes),
		Reads:      less(c.Reads, before.Reads),
		Calls:      less(c.Calls, before.Calls),
		Violations: less(c.Violations, before.Violations),
		Passes:     less(c.Passes, before.Passes),
		Events:     c.Events - before.Events,
		CPU:        c.CPU - before.CPU,
		Memory:     c.Memory,
	}
}

func less(a, b map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for k, v := range a {
		if d := v - b[k]; d != 0 {
			out[k] = d
		}
	}
	return out
}

// String lists the counters, for failures.
func (c Counters) String() string {
	return fmt.Sprintf("writes %v, reads %v, plugin calls %v, violations %v, passes %v", c.Writes, c.Reads, c.Calls, c.Violations, c.Passes)
}
