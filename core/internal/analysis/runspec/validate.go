package runspec

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/condition"
)

// Limits are the numbers of a resolved metric with their defaults.
type Limits struct {
	// Count is how many measurements are made; nil means without end.
	Count *int32
	// FailureLimit is −1 when failures do not count.
	FailureLimit            int32
	InconclusiveLimit       int32
	ConsecutiveErrorLimit   int32
	ConsecutiveSuccessLimit int32
	// Interval is 0 when there is none.
	Interval     time.Duration
	InitialDelay time.Duration
}

// LimitsOf reads the numbers of a metric that was resolved.
func LimitsOf(metric v1alpha1.Metric) (Limits, error) {
	l := Limits{
		FailureLimit:            number(metric.FailureLimit, v1alpha1.DefaultFailureLimit),
		InconclusiveLimit:       number(metric.InconclusiveLimit, v1alpha1.DefaultInconclusiveLimit),
		ConsecutiveErrorLimit:   number(metric.ConsecutiveErrorLimit, v1alpha1.DefaultConsecutiveErrorLimit),
		ConsecutiveSuccessLimit: number(metric.ConsecutiveSuccessLimit, v1alpha1.DefaultConsecutiveSuccessLimit),
	}
	var err error
	if l.Interval, err = duration(metric.Interval); err != nil {
		return l, fmt.Errorf("invalid interval string: %w", err)
	}
	if l.InitialDelay, err = duration(metric.InitialDelay); err != nil {
		return l, fmt.Errorf("invalid startDelay string: %w", err)
	}
	count := number(metric.Count, 0)
	if count == 0 && metric.Interval == "" {
		count = 1
	}
	if count != 0 {
		l.Count = &count
	}
	return l, nil
}

func number(n *intstr.IntOrString, absent int32) int32 {
	if n == nil {
		return absent
	}
	return int32(n.IntValue())
}

func duration(d v1alpha1.DurationString) (time.Duration, error) {
	if d == "" {
		return 0, nil
	}
	parsed, err := d.Duration()
	if err == nil && parsed < 0 {
		return 0, fmt.Errorf("%q is negative", d)
	}
	return parsed, err
}

// Bounds of a run: what is kept of each metric in its status, even at the least,
// has to fit into one object.
const (
	maxMetrics = 128
	maxName    = 253
)

// Validate reports the first thing that keeps a run from being measured: its
// arguments, metrics, limits, conditions, providers and rules. Secrets are not
// looked at. The wording of limits is Argo's, which clients know.
func Validate(spec v1alpha1.AnalysisRunSpec) error {
	if len(spec.Metrics) == 0 {
		return errors.New("no metrics specified")
	}
	if n := len(spec.Metrics); n > maxMetrics {
		return fmt.Errorf("%d metrics specified, at most %d are measured in one run: divide them among several analyses", n, maxMetrics)
	}
	names := map[string]bool{}
	for i, stored := range spec.Metrics {
		metric, err := Resolve(stored, spec.Args, placeholderSecret)
		if err != nil {
			return fmt.Errorf("metrics[%d]: %w", i, err)
		}
		if names[metric.Name] {
			return fmt.Errorf("metrics[%d]: duplicate name '%s'", i, metric.Name)
		}
		names[metric.Name] = true
		if err := validateMetric(metric); err != nil {
			return fmt.Errorf("metrics[%d]: %w", i, err)
		}
	}
	if _, err := DryRunMetrics(spec, names); err != nil {
		return err
	}
	_, err := RetentionLimits(spec, names)
	return err
}

func validateMetric(metric v1alpha1.Metric) error {
	if metric.Name == "" {
		return errors.New("name must be set")
	}
	if n := len(metric.Name); n > maxName {
		return fmt.Errorf("name has %d bytes, at most %d are allowed", n, maxName)
	}
	limits, err := LimitsOf(metric)
	if err != nil {
		return err
	}
	if err := validateLimits(metric, limits); err != nil {
		return err
	}
	if err := condition.Check(metric.SuccessCondition); err != nil {
		return fmt.Errorf("successCondition %q: %w", metric.SuccessCondition, err)
	}
	if err := condition.Check(metric.FailureCondition); err != nil {
		return fmt.Errorf("failureCondition %q: %w", metric.FailureCondition, err)
	}
	_, _, err = Provider(metric.Provider)
	return err
}

func validateLimits(metric v1alpha1.Metric, l Limits) error {
	unlimited := l.FailureLimit == -1
	count := int64(number(metric.Count, 0))
	switch {
	case count < 0:
		return errors.New("count must be >= 0")
	case l.ConsecutiveSuccessLimit < 0:
		return errors.New("consecutiveSuccessLimit must be >= 0")
	case l.FailureLimit < -1:
		return errors.New("failureLimit must be >= -1")
	case unlimited && l.ConsecutiveSuccessLimit == 0:
		return errors.New("both failureLimit and consecutiveSuccessLimit are disabled, at least one must be enabled")
	case l.InconclusiveLimit < 0:
		return errors.New("inconclusiveLimit must be >= 0")
	case l.ConsecutiveErrorLimit < 0:
		return errors.New("consecutiveErrorLimit must be >= 0")
	}
	if count == 0 { // the count that follows from it needs no room for limits
		return nil
	}
	failures, successes := int64(l.FailureLimit), int64(l.ConsecutiveSuccessLimit)
	switch {
	case unlimited && count < successes:
		return fmt.Errorf("count (%d) must be >= consecutiveSuccessLimit (%d)", count, successes)
	case !unlimited && count < failures+successes:
		return fmt.Errorf("count (%d) must be >= failureLimit (%d) + consecutiveSuccessLimit (%d)", count, failures, successes)
	case count < int64(l.InconclusiveLimit):
		return fmt.Errorf("count (%d) must be >= inconclusiveLimit (%d)", count, l.InconclusiveLimit)
	case count > 1 && metric.Interval == "":
		return errors.New("interval must be specified when count > 1")
	}
	return nil
}
