package plugins

import (
	"context"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// step makes one call. What the plugin answers with an error is a step that was
// asked and failed, as Argo Rollouts counts it.
func (a *argo) step(ctx context.Context, ro *v1alpha1.Rollout, req rollout.StepCall) (rollout.StepAnswer, error) {
	with := &argoStepContext{PluginName: req.Plugin, Config: req.Config, Status: req.State}
	var args any
	switch req.Verb {
	case rollout.StepRun:
		args = argoStepRun{Rollout: ro, Context: with}
	case rollout.StepTerminate:
		args = argoStepTerminate{Rollout: ro, Context: with}
	case rollout.StepAbort:
		args = argoStepAbort{Rollout: ro, Context: with}
	}
	var reply argoStepReply
	if err := a.call(ctx, string(req.Verb), args, &reply); err != nil {
		return rollout.StepAnswer{}, err
	}
	if said := reply.Error.ErrorString; said != "" {
		return rollout.StepAnswer{Phase: rollout.StepError, Message: sentence(said)}, nil
	}
	out := rollout.StepAnswer{Message: remark(reply.Result.Message)}
	switch phase := rollout.StepPhase(reply.Result.Phase); phase {
	case rollout.StepRunning, rollout.StepSuccessful, rollout.StepFailed, rollout.StepError:
		out.Phase = phase
	case "":
		out.Phase = rollout.StepRunning
	default:
		return out, broken("phase is %q", cut(reply.Result.Phase, 80))
	}
	if after := reply.Result.RequeueAfter; after < 0 || after > maxWait {
		return out, broken("requeueAfter is %v, not between 0 and %v", after, maxWait)
	}
	out.RequeueAfter = atLeastOften(reply.Result.RequeueAfter)
	var err error
	out.State, err = stateJSON(reply.Result.Status)
	return out, err
}
