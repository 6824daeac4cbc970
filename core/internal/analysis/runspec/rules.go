package runspec

import (
	"fmt"
	"regexp"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// maxPattern bounds the regular expressions of rules: long ones with repeats
// compile to programs of many megabytes.
const maxPattern = 256

// DryRunMetrics tells which of the metrics only run dry. A rule is an
// unanchored regular expression; one that is malformed or matches no metric is
// an error.
func DryRunMetrics(spec v1alpha1.AnalysisRunSpec, metrics map[string]bool) (map[string]bool, error) {
	dry := map[string]bool{}
	ruled := map[string]bool{}
	for i, rule := range spec.DryRun {
		if ruled[rule.MetricName] {
			return nil, fmt.Errorf("dryRun[%d]: the rule %q is there twice: remove one", i, rule.MetricName)
		}
		ruled[rule.MetricName] = true
		err := match(rule.MetricName, metrics, func(metric string) { dry[metric] = true })
		if err != nil {
			return nil, fmt.Errorf("dryRun[%d]: %w", i, err)
		}
	}
	return dry, nil
}

// RetentionLimits tells how many measurements of a metric are kept, for those
// a rule names; a limit of 0 or less leaves the default. The last rule that
// matches wins. Rules are as those of DryRunMetrics.
func RetentionLimits(spec v1alpha1.AnalysisRunSpec, metrics map[string]bool) (map[string]int32, error) {
	limits := map[string]int32{}
	ruled := map[string]bool{}
	for i, rule := range spec.MeasurementRetention {
		if ruled[rule.MetricName] {
			return nil, fmt.Errorf("measurementRetention[%d]: the rule %q is there twice: remove one", i, rule.MetricName)
		}
		ruled[rule.MetricName] = true
		err := match(rule.MetricName, metrics, func(metric string) {
			if rule.Limit > 0 {
				limits[metric] = rule.Limit
			}
		})
		if err != nil {
			return nil, fmt.Errorf("measurementRetention[%d]: %w", i, err)
		}
	}
	return limits, nil
}

func match(pattern string, metrics map[string]bool, found func(string)) error {
	if len(pattern) > maxPattern {
		return fmt.Errorf("the rule is longer than %d bytes", maxPattern)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("Rule didn't match any metric name(s): %q is not a regular expression (for all metrics write \".*\")", pattern) //nolint:staticcheck // Argo's wording
	}
	matched := false
	for metric := range metrics {
		if re.MatchString(metric) {
			matched = true
			found(metric)
		}
	}
	if !matched {
		return fmt.Errorf("Rule didn't match any metric name(s): %q", pattern) //nolint:staticcheck // Argo's wording
	}
	return nil
}

// Rules are those of a caller that are about the metrics of this spec. One
// that matches nothing here may be meant for another run of the same caller.
func Rules(spec v1alpha1.AnalysisRunSpec, dryRun []v1alpha1.DryRun, retention []v1alpha1.MeasurementRetention) ([]v1alpha1.DryRun, []v1alpha1.MeasurementRetention) {
	metrics := map[string]bool{}
	for _, metric := range spec.Metrics {
		if resolved, err := WithoutSecrets(metric, spec.Args); err == nil {
			metrics[resolved.Name] = true
		}
	}
	var dry []v1alpha1.DryRun
	for _, rule := range dryRun {
		if match(rule.MetricName, metrics, func(string) {}) == nil {
			dry = append(dry, rule)
		}
	}
	var kept []v1alpha1.MeasurementRetention
	for _, rule := range retention {
		if match(rule.MetricName, metrics, func(string) {}) == nil {
			kept = append(kept, rule)
		}
	}
	return dry, kept
}
