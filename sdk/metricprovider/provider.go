// Package metricprovider is for plugins that measure. A provider returns values; whether a value is good is decided by the
// core, from the conditions the user wrote.
//
// An author implements Provider; Resumer, Canceller and Collector are for measurements that take time or leave something
// behind. The capabilities the host sees follow from them:
//
//	func main() {
//		metricprovider.Serve(plugin.Info{Name: "mymetrics", Version: "0.1.0"}, provider{})
//	}
package metricprovider

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// Provider is what every metric provider implements. Methods are called concurrently for different measurements.
type Provider interface {
	// Validate checks configuration and references. It has no effects and does not ask the system that is measured. What
	// is wrong is a plugin.InvalidConfig or plugin.ReferenceNotFound error.
	Validate(ctx context.Context, req *ValidateRequest) error
	// Measure takes or starts a measurement. It is idempotent under req.ID.
	//
	// The system was asked and failed (HTTP 500, bad query): that is an answer, a Failure. An error means that there is no
	// answer, and the run waits.
	Measure(ctx context.Context, req *MeasureRequest) (*Measurement, error)
}

// Resumer is implemented by providers whose Measure may return Pending; CAPABILITY_PENDING.
type Resumer interface {
	// Resume looks how a pending measurement is going; req.State is what Pending held.
	Resume(ctx context.Context, req *MeasureRequest) (*Measurement, error)
}

// Canceller is implemented by providers whose pending measurements can be ended; CAPABILITY_CANCEL.
type Canceller interface {
	// Cancel ends a measurement and removes what it left. It is repeated until done; a measurement it never heard of is
	// done.
	Cancel(ctx context.Context, req *CancelRequest) (*Cleanup, error)
}

// Collector is implemented by providers whose measurements leave something behind; CAPABILITY_COLLECT.
type Collector interface {
	// Collect removes what measurements left that are not in req.Keep. It is repeated until done.
	Collect(ctx context.Context, req *CollectRequest) (*Cleanup, error)
}

// External is implemented by providers whose Measure starts something outside Kubernetes, such as a load test;
// CAPABILITY_EXTERNAL_EFFECTS.
type External interface {
	// ExternalSystem names the system for logs. Constant.
	ExternalSystem() string
}

// ValidateRequest is everything that can be checked in advance.
type ValidateRequest struct {
	// Target is the run.
	Target plugin.Target
	// Config is the provider's block of the metric, arguments filled in; see config.Decode.
	Config []byte
	Inputs *objects.Inputs

	warning string
}

// Warnf leaves a remark for the user that stops nothing. The last one stays.
func (r *ValidateRequest) Warnf(format string, args ...any) { r.warning = fmt.Sprintf(format, args...) }

// MeasureRequest starts or resumes a measurement.
type MeasureRequest struct {
	// Target is the run.
	Target plugin.Target
	// Metric is its name in the run.
	Metric string
	// ID identifies the measurement over all runs; names of objects a provider creates derive from it.
	ID string
	// Config is the provider's block of the metric, arguments filled in.
	Config []byte
	// State is what the last Pending held. Empty: the measurement starts now.
	State  []byte
	Inputs *objects.Inputs
}

// CancelRequest ends a measurement; its fields are those of MeasureRequest.
type CancelRequest MeasureRequest

// CollectRequest removes what old measurements left.
type CollectRequest struct {
	// Target is the run.
	Target plugin.Target
	// Metric is its name in the run.
	Metric string
	// Config is the provider's block of the metric, arguments filled in.
	Config []byte
	// Keep are the IDs of the measurements whose things stay.
	Keep   []string
	Inputs *objects.Inputs
}

// Cleanup is how Cancel or Collect is going.
type Cleanup struct {
	// Done: nothing is left.
	Done   bool
	Writes []objects.Write
	// RetryAfter is when to call again if not done. Zero: when an object changes that was asked for.
	RetryAfter time.Duration
	// Message is for people.
	Message string
}

// Measurement is an answer about a measurement.
type Measurement struct {
	// Outcome is required.
	Outcome Outcome
	Writes  []objects.Write
	// Metadata is shown with the measurement; at most 4 KiB.
	Metadata map[string]string
	// ResultMetadata is shown with the metric's result, such as the query after arguments were filled in; at most 4 KiB.
	ResultMetadata map[string]string
	// Message is for people.
	Message string
}

// Outcome is one of Scalar, Vector, Text, JSON, Verdict, Pending and Failure.
type Outcome interface{ outcome() }

type (
	// Scalar is one number; NaN and ±Inf are numbers.
	Scalar float64
	// Vector is a list of numbers, also of length one or zero.
	Vector []float64
	// Text is a text.
	Text string
	// JSON is a document; the core keeps its numbers as written.
	JSON json.RawMessage
	// Verdict is a judgement made elsewhere, such as by a Job.
	Verdict struct {
		Result Result
		// Value is shown as the measurement's value.
		Value string
	}
	// Pending means: still measuring. Only a Resumer may return it.
	Pending struct {
		// State is handed to Resume; at most MaxState bytes.
		State []byte
		// ResumeAfter is when to ask again. Zero: when an object changes that was asked for.
		ResumeAfter time.Duration
	}
	// Failure means: the system was asked and could not say. It counts as an Error measurement.
	Failure struct {
		// Message is what it said.
		Message string
	}
)

// MaxState is the most bytes a Pending may hold.
const MaxState = 1 << 10

func (Scalar) outcome()  {}
func (Vector) outcome()  {}
func (Text) outcome()    {}
func (JSON) outcome()    {}
func (Verdict) outcome() {}
func (Pending) outcome() {}
func (Failure) outcome() {}

// Result is a Verdict's.
type Result int

const (
	// Successful: it succeeded.
	Successful Result = iota + 1
	// Failed: it failed.
	Failed
	// Inconclusive: neither; the rollout pauses.
	Inconclusive
)

// Failuref returns a Measurement whose outcome is a Failure.
func Failuref(format string, args ...any) *Measurement {
	return &Measurement{Outcome: Failure{Message: fmt.Sprintf(format, args...)}}
}
