package plugins

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	stepv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/step/v1"
)

// Step asks one step plugin. Like a Router it stays valid across restarts. Every
// call has 10 s, or the entry's timeout, and is safe to repeat under the same
// operation id.
type Step struct{ s *supervisor }

// StepReply is one answer of a step plugin. It counts only when every need was
// among the inputs; otherwise feed the needs and call again.
type StepReply struct {
	Answer rollout.StepAnswer
	Needs  []rollout.Need
	Writes []rollout.Write
}

// Generation is Router.Generation.
func (s *Step) Generation() string { return s.s.currentGeneration() }

// Grant is Router.Grant.
func (s *Step) Grant() rollout.Grant { return s.s.grant() }

// Validate checks a step's configuration and does nothing. The answer is final
// when every need it returns was among the inputs. A plugin without the method,
// and one of Argo's protocol, which has no such question, finds nothing wrong.
// The remark is a warning that stops nothing; "" is none.
func (s *Step) Validate(ctx context.Context, target rollout.Target, config []byte, inputs []rollout.NeedResult) (needs []rollout.Need, said string, problem *rollout.Problem) {
	problem = s.s.call(ctx, KindStep, "Step/Validate", s.s.timing.validate,
		func(ctx context.Context, i *instance) error {
			if i.argo != nil {
				return nil
			}
			answer, err := i.steps.Validate(ctx, &stepv1.ValidateRequest{Target: targetTo(target), Config: configTo(config), Inputs: inputsTo(inputs)})
			if status.Code(err) == codes.Unimplemented {
				return nil
			}
			if err != nil {
				return err
			}
			said = remark(answer.GetMessage())
			needs, err = needsFrom(answer.GetNeeds())
			return err
		})
	return needs, said, problem
}

// Call runs, terminates or aborts. What a plugin has no capability for needs no
// call: a step that cannot be terminated is left alone, and one that cannot be
// aborted has nothing to undo; both are Successful.
func (s *Step) Call(ctx context.Context, ro *v1alpha1.Rollout, req rollout.StepCall, inputs []rollout.NeedResult) (out StepReply, problem *rollout.Problem) {
	problem = s.s.call(ctx, KindStep, "Step/"+string(req.Verb), s.s.timing.step,
		func(ctx context.Context, i *instance) error {
			if i.argo != nil {
				var err error
				out.Answer, err = i.argo.step(ctx, ro, req)
				return err
			}
			answer, err := i.step(ctx, req, inputs)
			if err == nil {
				out, err = stepReplyFrom(answer, inputs)
			}
			return err
		})
	if problem != nil {
		return StepReply{}, problem
	}
	return out, nil
}

// step makes the call of the verb.
func (i *instance) step(ctx context.Context, req rollout.StepCall, inputs []rollout.NeedResult) (stepAnswer, error) {
	target, config, state := targetTo(req.Target), configTo(req.Config), stateBytes(req.State)
	switch {
	case req.Verb == rollout.StepRun:
		return i.steps.Run(ctx, &stepv1.RunRequest{
			Target: target, OperationId: req.OperationID, Config: config, State: state, Inputs: inputsTo(inputs),
		})
	case req.Verb == rollout.StepTerminate && i.terminates:
		return i.steps.Terminate(ctx, &stepv1.TerminateRequest{
			Target: target, OperationId: req.OperationID, Config: config, State: state, Inputs: inputsTo(inputs),
		})
	case req.Verb == rollout.StepAbort && i.aborts:
		return i.steps.Abort(ctx, &stepv1.AbortRequest{
			Target: target, OperationId: req.OperationID, Config: config, State: state, Inputs: inputsTo(inputs),
		})
	}
	return &stepv1.RunResponse{Phase: stepv1.Phase_PHASE_SUCCESSFUL, State: state}, nil
}
