package plugins

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

func stepCall(verb rollout.StepVerb, do string) rollout.StepCall {
	return rollout.StepCall{Verb: verb, OperationID: "uid/abc/1/0", Plugin: "evil", Config: request(do).Config}
}

func (w *world) step(verb rollout.StepVerb, do string, state json.RawMessage, inputs ...rollout.NeedResult) (StepReply, *rollout.Problem) {
	w.t.Helper()
	s, problem := w.Step("evil")
	require.Nil(w.t, problem)
	call := stepCall(verb, do)
	call.State = state
	return s.Call(context.Background(), &v1alpha1.Rollout{}, call, inputs)
}

func TestStep(t *testing.T) {
	w := newWorld(t, nil, "evil")
	var state json.RawMessage
	for _, want := range []rollout.StepPhase{rollout.StepRunning, rollout.StepRunning, rollout.StepSuccessful} {
		reply, problem := w.step(rollout.StepRun, "", state)
		require.Nil(t, problem)
		assert.Equal(t, want, reply.Answer.Phase)
		assert.Equal(t, "uid/abc/1/0", reply.Answer.Message)
		assert.Equal(t, 17*time.Second, reply.Answer.RequeueAfter)
		state = reply.Answer.State
	}
	assert.Equal(t, "111", string(state), "the state comes back")

	reply, problem := w.step(rollout.StepAbort, "", state)
	require.Nil(t, problem)
	assert.Equal(t, "undone", reply.Answer.Message)
	reply, problem = w.step(rollout.StepTerminate, "hang", state)
	require.Nil(t, problem)
	assert.Equal(t, rollout.StepSuccessful, reply.Answer.Phase, "it has nothing to terminate with, and is not called")

	for do, want := range map[string]rollout.StepPhase{"failed": rollout.StepFailed, "error": rollout.StepError} {
		reply, problem := w.step(rollout.StepRun, do, nil)
		require.Nil(t, problem)
		assert.Equal(t, want, reply.Answer.Phase)
	}
	reply, problem = w.step(rollout.StepRun, "needs", nil)
	require.Nil(t, problem)
	require.Len(t, reply.Needs, 1)
	assert.Empty(t, reply.Answer.Phase, "it has to see something first")
	_, problem = w.step(rollout.StepRun, "needs", nil, rollout.NeedResult{Need: reply.Needs[0], State: rollout.NeedSynced})
	require.NotNil(t, problem)
	assert.Contains(t, problem.Message, "it has no phase although everything it needs was shown to it")
}

func TestStepAnswersThatBreakTheContract(t *testing.T) {
	w := newWorld(t, nil, "evil")
	for do, want := range map[string]string{
		"no-phase":         "it has no phase",
		"unknown-phase":    "phase is 99",
		"big-state":        "more than 16384",
		"negative-requeue": "requeue_after is -1s",
	} {
		_, problem := w.step(rollout.StepRun, do, nil)
		require.NotNil(t, problem, do)
		assert.Equal(t, rollout.ProblemUnavailable, problem.Class, do)
		assert.Contains(t, problem.Message, want, do)
	}
	_, problem := w.step(rollout.StepRun, "huge", nil)
	require.NotNil(t, problem)
	assert.Equal(t, rollout.ProblemRefused, problem.Class, "no retry makes it smaller")
	assert.Equal(t, `plugin "evil" broke the contract: its answer to Step/Run is larger than 4 MiB`, problem.Message)
	reply, problem := w.step(rollout.StepRun, "chatty", nil)
	require.Nil(t, problem)
	assert.LessOrEqual(t, len(reply.Answer.Message), maxMessage)
}

// A status holds JSON; what a plugin stores is its own affair.
func TestStatesSurviveTheStatus(t *testing.T) {
	for name, state := range map[string]string{
		"nothing": "", "JSON": `{"a":[1,2]}`, "text": "not JSON", "bytes": "\xff\x00\x01",
		"what looks packed": `{"sluice.dev/bytes":"AAEC"}`,
	} {
		kept, err := stateJSON([]byte(state))
		require.NoError(t, err, name)
		if len(kept) > 0 {
			assert.True(t, json.Valid(kept), name)
		}
		assert.Equal(t, state, string(stateBytes(kept)), name)
	}
	kept, err := stateJSON([]byte(`{"a":1}`))
	require.NoError(t, err)
	assert.Equal(t, `{"a":1}`, string(kept), "JSON stays readable")
}
