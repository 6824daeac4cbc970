package analysis

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
)

// Snapshot is everything Decide may know about one run at one moment.
type Snapshot struct {
	Now time.Time
	// Run is shared with the cache: nobody modifies it.
	Run *v1alpha1.AnalysisRun
	// Calls to providers that are under way or answered, by metric name; at
	// most one a metric.
	Calls map[string]Call
}

// Verb is what a provider is asked for.
type Verb string

// Verbs.
const (
	VerbMeasure Verb = "Measure"
	VerbCancel  Verb = "Cancel"
	VerbCollect Verb = "Collect"
)

// Call is one call to a provider, as the next pass over its run sees it.
type Call struct {
	Verb          Verb
	MeasurementID string
	// Result is nil while the call is under way.
	Result *Result
	// Waited is what the attempt before the one under way was waiting for, ""
	// for a first attempt: what a person reads does not flicker with retries.
	Waited string
}

// waiting says what the call waits for, "" when it was answered or is asked
// for the first time.
func (c Call) waiting() string {
	if c.Result != nil {
		return c.Result.Waiting
	}
	return c.Waited
}

// Result is what came of a call. Exactly one of Measurement, Waiting and Fatal
// is set; a Cancel that is done has none.
type Result struct {
	// Measurement is finished, or Running with ResumeAt set.
	Measurement *v1alpha1.Measurement
	// Evidence is why a finished measurement was not successful.
	Evidence Evidence
	// ResultMetadata is shown with the metric.
	ResultMetadata map[string]string
	// Warning is what the provider remarks on the configuration; "" is nothing.
	Warning string
	// Waiting says that there was no answer: "waiting for plugin x: …". The
	// call is made again at RetryAt, which is RetryAfter later; 0 means after a
	// delay that grows with each attempt.
	Waiting    string
	RetryAt    time.Time
	RetryAfter time.Duration
	// Fatal ends the run with phase Error: a Secret does not exist, or an
	// argument does not fit where it is used.
	Fatal string
}

// subject is one metric of a run with all that is known about it.
type subject struct {
	metric v1alpha1.Metric // arguments filled in, but for secrets
	index  int             // in spec.metrics
	limits runspec.Limits
	dryRun bool
	keep   int
}

// subjects resolves the metrics of a run. An error is about the spec.
func subjects(run *v1alpha1.AnalysisRun) ([]subject, error) {
	if len(run.Malformed) > 0 {
		m := run.Malformed[0]
		return nil, fmt.Errorf("%s cannot be read: %s", m.Path, m.Problem)
	}
	if err := runspec.Validate(run.Spec); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	list := make([]subject, len(run.Spec.Metrics))
	for i, stored := range run.Spec.Metrics {
		metric, err := runspec.WithoutSecrets(stored, run.Spec.Args)
		if err != nil {
			return nil, err
		}
		limits, err := runspec.LimitsOf(metric)
		if err != nil {
			return nil, err
		}
		names[metric.Name] = true
		list[i] = subject{metric: metric, index: i, limits: limits, keep: int(v1alpha1.DefaultMeasurementRetention)}
	}
	dry, err := runspec.DryRunMetrics(run.Spec, names)
	if err != nil {
		return nil, err
	}
	retention, err := runspec.RetentionLimits(run.Spec, names)
	if err != nil {
		return nil, err
	}
	for i := range list {
		name := list[i].metric.Name
		list[i].dryRun = dry[name]
		if limit, ok := retention[name]; ok {
			list[i].keep = int(limit)
		}
	}
	return list, nil
}

// measurementID names the n-th measurement of a metric, counted from 1. It is
// the same whenever the measurement is asked for: the number follows from the
// counters in status, which only a recorded measurement moves.
func measurementID(run *v1alpha1.AnalysisRun, metric string, n int32) string {
	return fmt.Sprintf("%s.%s.%d", run.UID, idPart(metric), n)
}

// idPart makes a metric name usable in ids; names that had to be changed or
// shortened get a hash, so that two of them never meet.
func idPart(metric string) string {
	const longest = 100
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			return r
		}
		return '-'
	}, metric)
	if safe == metric && len(safe) <= longest {
		return safe
	}
	sum := sha256.Sum256([]byte(metric))
	return safe[:min(len(safe), longest)] + "-" + hex.EncodeToString(sum[:4])
}

// resultOf finds the result of a metric in a status, nil when there is none.
func resultOf(status *v1alpha1.AnalysisRunStatus, metric string) *v1alpha1.MetricResult {
	for i := range status.MetricResults {
		if status.MetricResults[i].Name == metric {
			return &status.MetricResults[i]
		}
	}
	return nil
}

// lastOf is the latest measurement, nil when there is none.
func lastOf(result *v1alpha1.MetricResult) *v1alpha1.Measurement {
	if result == nil || len(result.Measurements) == 0 {
		return nil
	}
	return &result.Measurements[len(result.Measurements)-1]
}

// nextID is the id of the measurement that is in flight or comes next.
func nextID(run *v1alpha1.AnalysisRun, result *v1alpha1.MetricResult, metric string) string {
	finished := int32(0)
	if result != nil {
		finished = result.Count + result.Error
	}
	return measurementID(run, metric, finished+1)
}
