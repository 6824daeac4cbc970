package analysis

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Provider measures for one plugin. Every method may be called concurrently,
// repeatedly for the same measurement, and again after a restart; none may
// outlive its context.
type Provider interface {
	// Measure takes, starts or resumes the measurement. An error means that
	// there is no answer: no measurement is recorded, the run says that it is
	// waiting for the plugin, and the same measurement is asked for again
	// (after Problem.Retry when the error is a *rollout.Problem that sets it).
	// A provider that was asked and failed answers with Answer.Err instead.
	Measure(ctx context.Context, req Request) (Answer, error)
	// Cancel ends a pending measurement; nil also for one never heard of. An
	// error means: not done yet, call again.
	Cancel(ctx context.Context, req Request) error
	// Collect removes what measurements of this run and metric left, except
	// those whose ids are in keep. An error means: not done yet, call again.
	Collect(ctx context.Context, req Request, keep []string) error
}

// Providers finds the provider of a plugin. A problem means that it cannot be
// asked now: nothing is measured and nothing is judged.
type Providers interface {
	Provider(name string) (Provider, *rollout.Problem)
}

// Request is what a provider learns about one measurement.
type Request struct {
	// Run as stored: its arguments hold references to secrets, never their
	// values. Shared with the cache; nobody modifies it.
	Run *v1alpha1.AnalysisRun
	// Metric with every argument filled in, secrets included.
	Metric v1alpha1.Metric
	// Plugin and Config are what ProviderName made of Metric.Provider.
	Plugin string
	Config json.RawMessage
	// MeasurementID is unique over all runs, made of [A-Za-z0-9.-], at most
	// 253 characters, and the same each time the measurement is asked for.
	// Empty in Collect.
	MeasurementID string
	// State of the last Pending answer; nil when the measurement starts.
	State []byte
	// Leaks reports whether a text holds the value of a Secret that Metric was
	// filled in with: it may be asked for with, but never be stored. Nil: there
	// is none.
	Leaks func(text []byte) bool
	// Inputs answer the needs last listed; empty in the first call.
	Inputs []rollout.NeedResult
}

// Answer is an answer about a measurement: exactly one of Value, Verdict,
// Pending and Err is set.
type Answer struct {
	// Value was measured; the conditions of the metric judge it.
	Value *Value
	// Verdict comes from providers that run something that judges by itself.
	Verdict *Verdict
	// Pending measurements are asked for again.
	Pending *Pending
	// Err says that the system was asked and could not tell (HTTP 500, bad
	// query): an Error measurement.
	Err error
	// Metadata is shown with the measurement, ResultMetadata with the result
	// of the metric. At most 4 KiB each; more is cut off.
	Metadata       map[string]string
	ResultMetadata map[string]string
	// Message for people; "" when there is nothing to say.
	Message string
	// Warning is what the provider remarks on a configuration that is right; ""
	// is nothing. It is shown with the metric and told once.
	Warning string
	// Needs lists all objects the answer depends on and Writes what should be
	// changed. A Provider that can serve them (the plugin host with a broker)
	// has done so and leaves them empty; an answer that still carries them is
	// treated as no answer.
	Needs  []rollout.Need
	Writes []rollout.Write
}

// Value is a measured value: exactly one field is set. An empty vector is an
// answer too, and is set by a non-nil slice of length 0.
type Value struct {
	// Scalar may be NaN or ±Inf.
	Scalar *float64
	Vector []float64
	Text   *string
	// JSON is one document.
	JSON json.RawMessage
}

// Verdict is a judgement made elsewhere. Phase is Successful, Failed or
// Inconclusive; Value is shown as the measurement's value.
type Verdict struct {
	Phase v1alpha1.AnalysisPhase
	Value string
}

// Pending means that the measurement goes on.
type Pending struct {
	// State is handed back in the next call; at most 1 KiB.
	State []byte
	// ResumeAfter is when to ask again; 0 means after the default of 10 s.
	ResumeAfter time.Duration
}

// ProviderName maps a provider block to the plugin that serves it and the
// block to send; see runspec.Provider.
func ProviderName(provider v1alpha1.MetricProvider) (plugin string, config json.RawMessage, err error) {
	return runspec.Provider(provider)
}
