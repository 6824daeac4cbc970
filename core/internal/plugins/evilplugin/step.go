package main

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	stepv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/step/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

type step struct {
	stepv1.UnimplementedStepServer
}

func (*step) Capabilities(context.Context, *stepv1.CapabilitiesRequest) (*stepv1.CapabilitiesResponse, error) {
	return &stepv1.CapabilitiesResponse{Capabilities: []stepv1.Capability{stepv1.Capability_CAPABILITY_ABORT, 99}}, nil
}

// Run counts its calls in its state, and is done with the third.
func (*step) Run(_ context.Context, req *stepv1.RunRequest) (*stepv1.RunResponse, error) {
	o := orderFrom(req.GetConfig())
	if err := o.obey(); err != nil {
		return nil, err
	}
	answer := &stepv1.RunResponse{
		Phase: stepv1.Phase_PHASE_RUNNING, State: append(req.GetState(), '1'), Message: req.GetOperationId(),
		RequeueAfter: durationpb.New(17 * time.Second),
	}
	if len(answer.State) == 3 {
		answer.Phase = stepv1.Phase_PHASE_SUCCESSFUL
	}
	switch o.Do {
	case "failed":
		answer.Phase = stepv1.Phase_PHASE_FAILED
	case "error":
		answer.Phase = stepv1.Phase_PHASE_ERROR
	case "needs":
		answer.Phase = stepv1.Phase_PHASE_UNSPECIFIED
		answer.Needs = []*typesv1.Need{{Kind: "Service", Versions: []string{"v1"}, Namespace: "shop", Selection: &typesv1.Need_Name{Name: "web"}}}
	case "no-phase":
		answer.Phase = stepv1.Phase_PHASE_UNSPECIFIED
	case "unknown-phase":
		answer.Phase = 99
	case "binary-state":
		answer.State = []byte{0xff, 0, 1}
	case "big-state":
		answer.State = make([]byte, 20<<10)
	case "negative-requeue":
		answer.RequeueAfter = durationpb.New(-time.Second)
	case "huge":
		answer.State = make([]byte, 20<<20)
	case "chatty":
		answer.Message = string(make([]byte, 100_000))
	}
	return answer, nil
}

func (*step) Abort(_ context.Context, req *stepv1.AbortRequest) (*stepv1.AbortResponse, error) {
	if err := orderFrom(req.GetConfig()).obey(); err != nil {
		return nil, err
	}
	return &stepv1.AbortResponse{Phase: stepv1.Phase_PHASE_SUCCESSFUL, Message: "undone"}, nil
}
