package rollout

import (
	"encoding/json"
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// StepVerb is what a step plugin is asked for.
type StepVerb string

const (
	// StepRun starts the step, or looks how it is going.
	StepRun StepVerb = "Run"
	// StepTerminate ends a step that is running and not wanted any more.
	StepTerminate StepVerb = "Terminate"
	// StepAbort takes back a step that is running or done.
	StepAbort StepVerb = "Abort"
)

// StepPhase is what a step plugin answers.
type StepPhase string

const (
	// StepRunning: ask again. Anything but the four phases is treated like it
	// was never answered: the call fails with a Problem.
	StepRunning    StepPhase = "Running"
	StepSuccessful StepPhase = "Successful"
	// StepFailed ends the operation; a Run that failed aborts the rollout.
	StepFailed StepPhase = "Failed"
	// StepError: the system behind the plugin was asked and failed; the call is
	// repeated.
	StepError StepPhase = "Error"
)

// MaxStepState bounds the state of a step plugin, in bytes.
const MaxStepState = 16 << 10

// StepCall is one call of a step plugin.
type StepCall struct {
	Target Target
	// Plugin is the name in the step, "namespace/name".
	Plugin string
	Verb   StepVerb
	// OperationID is the same for all calls about one execution of the step:
	// rollout UID, pod hash, step index and attempt. The verb is not part of it.
	OperationID string
	// Config is the user's block byte for byte, "{}" when there is none.
	Config json.RawMessage
	// State is what the last answer about this operation held; nil when there
	// was none.
	State json.RawMessage
	// Index of the step.
	Index int32
}

// StepAnswer is what came of a call.
type StepAnswer struct {
	Phase   StepPhase
	Message string
	// RequeueAfter is when to ask again while Running; 0 leaves it to the core
	// (30 s).
	RequeueAfter time.Duration
	// State is handed back with the next call, at most MaxStepState bytes of
	// JSON. It is not taken over from an answer whose phase is Error.
	State json.RawMessage
	// Disabled says that the catalog switches the plugin off; nobody was asked,
	// and the step is over. The other fields are empty.
	Disabled bool
}

// StepChecks is what plugins say of the configuration of their steps, by the
// step's index.
type StepChecks struct {
	// Problems are what is wrong, or why a plugin could not say anything.
	Problems map[int32]Problem
	// Remarks are warnings, which stop nothing.
	Remarks map[int32]string
}

// StepPluginNames are the plugins the steps of a Rollout name, and those that
// status still has operations of, in order and without repetition.
func StepPluginNames(ro *v1alpha1.Rollout) []string {
	var names []string
	if c := ro.Spec.Strategy.Canary; c != nil {
		for _, step := range c.Steps {
			if step.Plugin != nil {
				names = union(names, []string{step.Plugin.Name})
			}
		}
	}
	for _, e := range ro.Status.Canary.StepPluginStatuses {
		names = union(names, []string{e.Name})
	}
	return names
}
