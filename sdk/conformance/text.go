package conformance

import (
	"fmt"
	"io"
	"strings"
)

// Text writes the reports for people: each case with its result, and for one that failed what was found and the cure.
// Cases that were skipped for the same reason are listed together.
func (r Reports) Text(w io.Writer) error {
	var b strings.Builder
	count := map[Status]int{}
	for i, report := range r {
		if i == 0 {
			fmt.Fprintf(&b, "%s %s\n", report.Plugin, report.Version)
		}
		fmt.Fprintf(&b, "\n%s", kindOf(report.Service))
		if len(report.Capabilities) > 0 {
			fmt.Fprintf(&b, " (%s)", strings.Join(spoken(report.Capabilities), ", "))
		}
		b.WriteString("\n")
		last := ""
		for _, result := range report.Results {
			count[result.Status]++
			switch result.Status {
			case Passed:
				fmt.Fprintf(&b, "  ok    %s\n", result.Case)
			case Skipped:
				fmt.Fprintf(&b, "  -     %s\n", result.Case)
				if result.Detail != last {
					fmt.Fprintf(&b, "          skipped: %s\n", indented(result.Detail))
				}
				last = result.Detail
			case Failed:
				fmt.Fprintf(&b, "  FAIL  %s\n          found: %s\n          cure:  %s\n", result.Case, indented(result.Detail), indented(result.Cure))
			}
		}
	}
	fmt.Fprintf(&b, "\n%d passed, %d failed, %d skipped\n", count[Passed], count[Failed], count[Skipped])
	_, err := io.WriteString(w, b.String())

	return err
}

func indented(text string) string { return strings.ReplaceAll(text, "\n", "\n                 ") }

// kindOf names a service for people.
func kindOf(service string) string {
	known := map[string]string{
		"sluice.plugin.lifecycle.v1.Lifecycle":           "any plugin",
		"sluice.plugin.trafficrouter.v1.TrafficRouter":   "traffic router",
		"sluice.plugin.metricprovider.v1.MetricProvider": "metric provider",
		"sluice.plugin.step.v1.Step":                     "step",
	}
	if kind, ok := known[service]; ok {
		return kind
	}

	return service
}

// spoken are capabilities without their prefix.
func spoken(capabilities []string) []string {
	said := make([]string, len(capabilities))
	for i, c := range capabilities {
		said[i] = strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(c, "CAPABILITY_")), "_", " ")
	}

	return said
}
