package runspec_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
)

func TestLimitsAreValidated(t *testing.T) {
	n := func(v int32) *intstr.IntOrString { i := intstr.FromInt32(v); return &i }
	for _, c := range []struct {
		want   string
		change func(*v1alpha1.Metric)
	}{
		{"", func(*v1alpha1.Metric) {}},
		{"", func(m *v1alpha1.Metric) { m.FailureLimit = n(3) }},
		{"", func(m *v1alpha1.Metric) { m.Interval, m.FailureLimit = "1m", n(3) }},
		{"", func(m *v1alpha1.Metric) { m.FailureLimit, m.ConsecutiveSuccessLimit, m.Interval = n(-1), n(2), "1m" }},
		{"interval must be specified when count > 1", func(m *v1alpha1.Metric) { m.Count = n(2) }},
		{"count (1) must be >= failureLimit (2) + consecutiveSuccessLimit (0)", func(m *v1alpha1.Metric) { m.Count, m.FailureLimit = n(1), n(2) }},
		{"count (4) must be >= failureLimit (2) + consecutiveSuccessLimit (3)", func(m *v1alpha1.Metric) {
			m.Count, m.FailureLimit, m.ConsecutiveSuccessLimit, m.Interval = n(4), n(2), n(3), "1m"
		}},
		{"count (2) must be >= consecutiveSuccessLimit (3)", func(m *v1alpha1.Metric) {
			m.Count, m.FailureLimit, m.ConsecutiveSuccessLimit, m.Interval = n(2), n(-1), n(3), "1m"
		}},
		{"count (1) must be >= inconclusiveLimit (2)", func(m *v1alpha1.Metric) { m.Count, m.InconclusiveLimit = n(1), n(2) }},
		{"count must be >= 0", func(m *v1alpha1.Metric) { m.Count = n(-1) }},
		{"failureLimit must be >= -1", func(m *v1alpha1.Metric) { m.FailureLimit = n(-2) }},
		{"both failureLimit and consecutiveSuccessLimit are disabled, at least one must be enabled", func(m *v1alpha1.Metric) { m.FailureLimit = n(-1) }},
		{"consecutiveSuccessLimit must be >= 0", func(m *v1alpha1.Metric) { m.ConsecutiveSuccessLimit = n(-1) }},
		{"inconclusiveLimit must be >= 0", func(m *v1alpha1.Metric) { m.InconclusiveLimit = n(-1) }},
		{"consecutiveErrorLimit must be >= 0", func(m *v1alpha1.Metric) { m.ConsecutiveErrorLimit = n(-1) }},
		{`invalid interval string: time: missing unit in duration "10"`, func(m *v1alpha1.Metric) { m.Interval = "10" }},
		{`invalid startDelay string: time: invalid duration "soon"`, func(m *v1alpha1.Metric) { m.InitialDelay = "soon" }},
		{"no provider specified", func(m *v1alpha1.Metric) { m.Provider = v1alpha1.MetricProvider{} }},
		{"multiple providers specified", func(m *v1alpha1.Metric) { m.Provider.Web = &v1alpha1.WebMetric{} }},
		{"multiple providers specified", func(m *v1alpha1.Metric) {
			m.Provider = v1alpha1.MetricProvider{Plugin: map[string]jsonRaw{"a/b": jsonRaw("{}"), "c/d": jsonRaw("{}")}}
		}},
		{`successCondition "result <": unexpected token EOF`, func(m *v1alpha1.Metric) { m.SuccessCondition = "result <" }},
	} {
		err := runspec.Validate(v1alpha1.AnalysisRunSpec{Metrics: []v1alpha1.Metric{metric("m", c.change)}})
		if c.want == "" {
			assert.NoError(t, err)
			continue
		}
		assert.EqualError(t, err, "metrics[0]: "+c.want)
	}
	assert.EqualError(t, runspec.Validate(v1alpha1.AnalysisRunSpec{}), "no metrics specified")
	assert.EqualError(t, runspec.Validate(v1alpha1.AnalysisRunSpec{Metrics: []v1alpha1.Metric{metric("m"), metric("m")}}), "metrics[1]: duplicate name 'm'")
}

func TestRulesAreRegularExpressions(t *testing.T) {
	all := map[string]bool{"error-rate": true, "errors": true, "latency": true}
	dry := func(rules ...string) (map[string]bool, error) {
		var spec v1alpha1.AnalysisRunSpec
		for _, r := range rules {
			spec.DryRun = append(spec.DryRun, v1alpha1.DryRun{MetricName: r})
		}
		return runspec.DryRunMetrics(spec, all)
	}
	got, err := dry("error", "^lat.*y$")
	require.NoError(t, err)
	assert.Equal(t, all, got, "unanchored")
	_, err = dry("error", "nothing")
	assert.EqualError(t, err, `dryRun[1]: Rule didn't match any metric name(s): "nothing"`)
	_, err = dry("*")
	assert.EqualError(t, err, `dryRun[0]: Rule didn't match any metric name(s): "*" is not a regular expression (for all metrics write ".*")`)
	_, err = dry("error", "error")
	assert.Error(t, err)

	limits, err := runspec.RetentionLimits(v1alpha1.AnalysisRunSpec{MeasurementRetention: []v1alpha1.MeasurementRetention{
		{MetricName: "error.*", Limit: 3}, {MetricName: "rate", Limit: 0},
	}}, all)
	require.NoError(t, err)
	assert.Equal(t, map[string]int32{"error-rate": 3, "errors": 3}, limits)
}

func TestProvidersByName(t *testing.T) {
	name, config, err := runspec.Provider(v1alpha1.MetricProvider{Web: &v1alpha1.WebMetric{URL: "http://x"}})
	require.NoError(t, err)
	assert.Equal(t, "web", name)
	assert.JSONEq(t, `{"url":"http://x"}`, string(config))
	name, config, err = runspec.Provider(v1alpha1.MetricProvider{Plugin: map[string]jsonRaw{"acme/sampler": jsonRaw(`{"n": 1.0}`)}})
	require.NoError(t, err)
	assert.Equal(t, "acme/sampler", name)
	assert.Equal(t, `{"n": 1.0}`, string(config))
}
