package plugins

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	stepv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/step/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

// stepAnswer is what the answers to Run, Terminate and Abort have in common.
type stepAnswer interface {
	GetPhase() stepv1.Phase
	GetMessage() string
	GetRequeueAfter() *durationpb.Duration
	GetState() []byte
	GetNeeds() []*typesv1.Need
	GetWrites() []*typesv1.Write
}

// stepReplyFrom checks an answer. No phase is allowed only while needs are
// listed that the inputs do not show.
func stepReplyFrom(a stepAnswer, inputs []rollout.NeedResult) (StepReply, error) {
	out := StepReply{Answer: rollout.StepAnswer{Message: remark(a.GetMessage())}}
	var err error
	if out.Needs, err = needsFrom(a.GetNeeds()); err != nil {
		return out, err
	}
	switch a.GetPhase() {
	case stepv1.Phase_PHASE_RUNNING:
		out.Answer.Phase = rollout.StepRunning
	case stepv1.Phase_PHASE_SUCCESSFUL:
		out.Answer.Phase = rollout.StepSuccessful
	case stepv1.Phase_PHASE_FAILED:
		out.Answer.Phase = rollout.StepFailed
	case stepv1.Phase_PHASE_ERROR:
		out.Answer.Phase = rollout.StepError
	case stepv1.Phase_PHASE_UNSPECIFIED:
		if !shownAll(out.Needs, inputs) {
			return out, nil
		}
		return out, broken("it has no phase although everything it needs was shown to it")
	default:
		return out, broken("phase is %d", a.GetPhase())
	}
	if out.Writes, err = writesFrom(a.GetWrites()); err != nil {
		return out, err
	}
	if out.Answer.State, err = stateJSON(a.GetState()); err != nil {
		return out, err
	}
	out.Answer.RequeueAfter, err = durationFrom("requeue_after", a.GetRequeueAfter())
	out.Answer.RequeueAfter = atLeastOften(out.Answer.RequeueAfter)
	return out, err
}

// shownAll: needs are compared by what they name.
func shownAll(needs []rollout.Need, inputs []rollout.NeedResult) bool {
	shown := map[string]bool{}
	for _, in := range inputs {
		raw, _ := json.Marshal(in.Need)
		shown[string(raw)] = true
	}
	for _, need := range needs {
		if raw, _ := json.Marshal(need); !shown[string(raw)] {
			return false
		}
	}
	return true
}

// packed holds a state that is no JSON. The status of a Rollout can hold
// nothing else.
type packed struct {
	Bytes []byte `json:"sluice.dev/bytes"`
}

// stateJSON is a plugin's state as the status keeps it: JSON stays readable,
// anything else is packed.
func stateJSON(state []byte) (json.RawMessage, error) {
	if len(state) == 0 {
		return nil, nil
	}
	out := json.RawMessage(state)
	if _, is := unpackState(state); is || !json.Valid(state) {
		out, _ = json.Marshal(packed{Bytes: state}) // Bytes always encode.
	}
	if len(out) > rollout.MaxStepState {
		return nil, broken("state has %d bytes, more than %d (a state that is no JSON takes a third more)", len(out), rollout.MaxStepState)
	}
	return out, nil
}

// stateBytes is the state as the plugin gave it. JSON comes back equal as JSON,
// packed bytes byte for byte.
func stateBytes(state json.RawMessage) []byte {
	if raw, is := unpackState(state); is {
		return raw
	}
	return state
}

func unpackState(state []byte) ([]byte, bool) {
	if !bytes.Contains(state, []byte(`"sluice.dev/bytes"`)) {
		return nil, false
	}
	var p packed
	decoder := json.NewDecoder(bytes.NewReader(state))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&p) != nil || p.Bytes == nil {
		return nil, false
	}
	return p.Bytes, true
}
