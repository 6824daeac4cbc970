// Package step is for plugins that are a step of a rollout: they do something between two steps, such as asking for an
// approval, and say when it is finished.
//
// An author implements Step, and Terminator or Aborter if there is something to stop or to undo; the capabilities the host
// sees follow from them.
package step

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// Step is what every step implements. Methods are called concurrently for different targets.
type Step interface {
	// Validate checks configuration and references. It has no effects. What is wrong is a plugin.InvalidConfig or
	// plugin.ReferenceNotFound error.
	Validate(ctx context.Context, req *ValidateRequest) error
	// Run starts the step, or looks how it is going. It is idempotent under req.OperationID: a repeated call means that
	// the outcome of the earlier one is not known. It does not wait; what takes time is Running.
	Run(ctx context.Context, req *Request) (*Progress, error)
}

// Terminator is implemented by steps that can be stopped while they run; CAPABILITY_TERMINATE.
type Terminator interface {
	// Terminate stops a running step. Repeated until it is no longer Running.
	Terminate(ctx context.Context, req *Request) (*Progress, error)
}

// Aborter is implemented by steps that have something to undo when the rollout is aborted; CAPABILITY_ABORT.
type Aborter interface {
	// Abort undoes a step. Repeated until it is no longer Running.
	Abort(ctx context.Context, req *Request) (*Progress, error)
}

// ValidateRequest is everything that can be checked in advance.
type ValidateRequest struct {
	Target plugin.Target
	// Config is the step's block; see config.Decode.
	Config []byte
	Inputs *objects.Inputs

	warning string
}

// Warnf leaves a remark for the user that stops nothing. The last one stays.
func (r *ValidateRequest) Warnf(format string, args ...any) { r.warning = fmt.Sprintf(format, args...) }

// Request is one call about an operation.
type Request struct {
	Target plugin.Target
	// OperationID is the same for all calls about one execution of the step.
	OperationID string
	// Config is the step's block.
	Config []byte
	// State is what the last Progress of this operation held. Empty: there was none.
	State  []byte
	Inputs *objects.Inputs
}

// Progress is how an operation is going.
type Progress struct {
	// Phase is required.
	Phase Phase
	// Message is for people.
	Message string
	// RequeueAfter is when to ask again while Running, at least 10 s; less counts as 30 s. Also zero does: a change of an
	// object that was asked for leads to the next call before that.
	RequeueAfter time.Duration
	// State is handed to the next call; at most MaxState bytes.
	State  []byte
	Writes []objects.Write
}

// MaxState is the most bytes a Progress may hold.
const MaxState = 16 << 10

// Phase is how an operation is going.
type Phase int

const (
	// Running: not finished.
	Running Phase = iota + 1
	// Successful: finished well.
	Successful
	// Failed: finished badly; a Run that fails aborts the rollout.
	Failed
	// Error: the system was asked and failed.
	Error
)
