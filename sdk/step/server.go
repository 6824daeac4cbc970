package step

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	stepv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/step/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

// Serve runs a process that is this one step. See plugin.Serve.
func Serve(info plugin.Info, step Step) { plugin.Serve(info, Service(step)) }

// Service offers a step, alone or beside other kinds.
func Service(step Step) plugin.Service {
	return plugin.Service{
		Name: stepv1.Step_ServiceDesc.ServiceName,
		Register: func(s *grpc.Server) {
			stepv1.RegisterStepServer(s, &server{step: step})
		},
	}
}

// server is the wire's side of a Step.
type server struct {
	stepv1.UnimplementedStepServer

	step Step
}

func (s *server) Capabilities(context.Context, *stepv1.CapabilitiesRequest) (*stepv1.CapabilitiesResponse, error) {
	var has []stepv1.Capability
	if _, ok := s.step.(Terminator); ok {
		has = append(has, stepv1.Capability_CAPABILITY_TERMINATE)
	}
	if _, ok := s.step.(Aborter); ok {
		has = append(has, stepv1.Capability_CAPABILITY_ABORT)
	}

	return &stepv1.CapabilitiesResponse{Capabilities: has}, nil
}

func (s *server) Validate(ctx context.Context, in *stepv1.ValidateRequest) (*stepv1.ValidateResponse, error) {
	inputs, err := objects.NewInputs(in.GetInputs())
	if err != nil {
		return nil, err
	}
	req := &ValidateRequest{
		Target: plugin.TargetFrom(in.GetTarget()), Config: in.GetConfig().GetJson(), Inputs: inputs,
	}
	err = s.step.Validate(ctx, req)
	if err != nil && !objects.IsNotReady(err) {
		return nil, err
	}

	return &stepv1.ValidateResponse{Needs: inputs.Needs(err != nil), Message: req.warning}, nil
}

func (s *server) Run(ctx context.Context, in *stepv1.RunRequest) (*stepv1.RunResponse, error) {
	answer, err := call(ctx, in, s.step.Run)
	if err != nil {
		return nil, err
	}

	return &stepv1.RunResponse{
		Phase: answer.phase, Message: answer.message, RequeueAfter: answer.requeueAfter,
		State: answer.state, Needs: answer.needs, Writes: answer.writes,
	}, nil
}

func (s *server) Terminate(ctx context.Context, in *stepv1.TerminateRequest) (*stepv1.TerminateResponse, error) {
	terminator, ok := s.step.(Terminator)
	if !ok {
		return nil, plugin.Unsupported("step cannot be terminated")
	}
	answer, err := call(ctx, in, terminator.Terminate)
	if err != nil {
		return nil, err
	}

	return &stepv1.TerminateResponse{
		Phase: answer.phase, Message: answer.message, RequeueAfter: answer.requeueAfter,
		State: answer.state, Needs: answer.needs, Writes: answer.writes,
	}, nil
}

func (s *server) Abort(ctx context.Context, in *stepv1.AbortRequest) (*stepv1.AbortResponse, error) {
	aborter, ok := s.step.(Aborter)
	if !ok {
		return nil, plugin.Unsupported("step cannot be aborted")
	}
	answer, err := call(ctx, in, aborter.Abort)
	if err != nil {
		return nil, err
	}

	return &stepv1.AbortResponse{
		Phase: answer.phase, Message: answer.message, RequeueAfter: answer.requeueAfter,
		State: answer.state, Needs: answer.needs, Writes: answer.writes,
	}, nil
}

// request is what RunRequest, TerminateRequest and AbortRequest share.
type request interface {
	GetTarget() *typesv1.Target
	GetOperationId() string
	GetConfig() *typesv1.RawConfig
	GetState() []byte
	GetInputs() []*typesv1.NeedResult
}

// response is what their answers share.
type response struct {
	phase        stepv1.Phase
	message      string
	requeueAfter *durationpb.Duration
	state        []byte
	needs        []*typesv1.Need
	writes       []*typesv1.Write
}

func call(ctx context.Context, in request, method func(context.Context, *Request) (*Progress, error)) (*response, error) {
	inputs, err := objects.NewInputs(in.GetInputs())
	if err != nil {
		return nil, err
	}
	progress, err := method(ctx, &Request{
		Target:      plugin.TargetFrom(in.GetTarget()),
		OperationID: in.GetOperationId(),
		Config:      in.GetConfig().GetJson(),
		State:       in.GetState(),
		Inputs:      inputs,
	})
	switch {
	case objects.IsNotReady(err):
		// The state stays what it was: an answer without an outcome must not lose it.
		return &response{message: err.Error(), state: in.GetState(), needs: inputs.Needs(true)}, nil
	case err != nil:
		return nil, err
	case progress == nil:
		return nil, errors.New("step returned no progress")
	case len(progress.State) > MaxState:
		return nil, fmt.Errorf("step returned %d bytes of state, more than %d", len(progress.State), MaxState)
	}
	answer := &response{
		phase:   phaseProto(progress.Phase),
		message: progress.Message,
		state:   progress.State,
		needs:   inputs.Needs(false),
		writes:  objects.Protos(progress.Writes),
	}
	if answer.phase == stepv1.Phase_PHASE_UNSPECIFIED {
		return nil, fmt.Errorf("step returned phase %d", progress.Phase)
	}
	if progress.RequeueAfter > 0 {
		answer.requeueAfter = durationpb.New(progress.RequeueAfter)
	}

	return answer, nil
}

func phaseProto(phase Phase) stepv1.Phase {
	switch phase {
	case Running:
		return stepv1.Phase_PHASE_RUNNING
	case Successful:
		return stepv1.Phase_PHASE_SUCCESSFUL
	case Failed:
		return stepv1.Phase_PHASE_FAILED
	case Error:
		return stepv1.Phase_PHASE_ERROR
	default:
		return stepv1.Phase_PHASE_UNSPECIFIED
	}
}
