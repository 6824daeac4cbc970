// Package quiet counts what goes on while nothing should: the controller's
// calls of plugins and its API requests, by its own counters, and all writes by
// the API server's audit log.
package quiet

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Names of the controller's counters.
const (
	callsCounter   = "sluice_plugin_calls_total"
	healthCounter  = "sluice_plugin_health_checks_total"
	requestCounter = "sluice_api_requests_total"
)

// leases are renewed for ever; every other write says that something is not at
// rest.
const leases = "leases"

// writes are the verbs that change something, as Kubernetes and HTTP call them.
var writes = []string{"create", "update", "patch", "delete", "deletecollection", "post", "put"}

// Counts maps what was counted to how often, for example "patch rollouts" to 3.
type Counts map[string]int

// Total is the sum of all counts.
func (c Counts) Total() int {
	total := 0
	for n := range maps.Values(c) {
		total += n
	}
	return total
}

// Since returns what was added since an earlier reading.
func (c Counts) Since(earlier Counts) Counts {
	added := Counts{}
	for what, n := range c {
		if more := n - earlier[what]; more != 0 {
			added[what] = more
		}
	}
	return added
}

// String lists the counts, "none" when there are none.
func (c Counts) String() string {
	if len(c) == 0 {
		return "none"
	}
	var texts []string
	for _, what := range slices.Sorted(maps.Keys(c)) {
		texts = append(texts, fmt.Sprintf("%d %s", c[what], what))
	}
	return strings.Join(texts, ", ")
}

// Controller is one reading of the controller's counters.
type Controller struct {
	// Calls are calls of plugins that are no health checks, by "plugin method".
	Calls Counts
	// HealthChecks are by plugin.
	HealthChecks Counts
	// Writes are API requests that write something other than a lease, by "verb
	// resource"; Leases are those that write one.
	Writes, Leases Counts
}

// Since returns what was added since an earlier reading.
func (c Controller) Since(earlier Controller) Controller {
	return Controller{
		Calls:        c.Calls.Since(earlier.Calls),
		HealthChecks: c.HealthChecks.Since(earlier.HealthChecks),
		Writes:       c.Writes.Since(earlier.Writes),
		Leases:       c.Leases.Since(earlier.Leases),
	}
}

// ReadController reads the controller's metrics in Prometheus's text format. A
// counter that is missing is an error: what is not counted is not 0.
func ReadController(r io.Reader) (Controller, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return Controller{}, fmt.Errorf("reading the controller's metrics: %w", err)
	}
	for _, name := range []string{callsCounter, healthCounter, requestCounter} {
		if families[name] == nil {
			return Controller{}, fmt.Errorf("the controller's metrics have no %s", name)
		}
	}
	out := Controller{
		Calls:        count(families[callsCounter], "plugin", "method"),
		HealthChecks: count(families[healthCounter], "plugin"),
		Writes:       Counts{}, Leases: Counts{},
	}
	for what, n := range count(families[requestCounter], "verb", "resource") {
		verb, resource, _ := strings.Cut(what, " ")
		switch {
		case !slices.Contains(writes, strings.ToLower(verb)):
		case resource == leases:
			out.Leases[what] = n
		default:
			out.Writes[what] = n
		}
	}
	return out, nil
}

// count sums a counter up by labels.
func count(family *dto.MetricFamily, labels ...string) Counts {
	counts := Counts{}
	for _, m := range family.GetMetric() {
		values := make([]string, len(labels))
		for _, pair := range m.GetLabel() {
			if i := slices.Index(labels, pair.GetName()); i >= 0 {
				values[i] = pair.GetValue()
			}
		}
		counts[strings.Join(values, " ")] += int(m.GetCounter().GetValue())
	}
	return counts
}
