package controller

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sluice-rollouts/sluice/core/internal/decide"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// journal logs every change that was made to an object or asked of a plugin,
// with what it was made for: each write is found again in the log.
func journal(ctx context.Context, s *rollout.Snapshot, plan rollout.Plan, out rollout.Outcome) {
	if len(out.Done) == 0 {
		return
	}
	logger, reason := log.FromContext(ctx), because(s, plan)
	for _, op := range plan.Ops {
		if what := change(op); what != "" && out.Done[op.ID()] {
			logger.Info(what, "operation", op.ID(), "revision", plan.Hash, "reason", reason)
		}
	}
}

// change says what an operation changed; "" for those that change nothing
// outside the status.
func change(op rollout.Op) string {
	switch o := op.(type) {
	case rollout.PatchRollout:
		return "noted defaults and revision on the Rollout"
	case rollout.CreateReplicaSet:
		return "created ReplicaSet " + o.ReplicaSet.Name
	case rollout.AdoptReplicaSet:
		return "adopted ReplicaSet " + o.Name
	case rollout.UpdateReplicaSet:
		if o.Scales() {
			return fmt.Sprintf("scaled ReplicaSet %s from %d to %d", o.Name, o.From, o.To)
		}
		return "noted metadata on ReplicaSet " + o.Name
	case rollout.DeleteReplicaSet:
		return "deleted ReplicaSet " + o.Name
	case rollout.ScaleWorkload:
		return fmt.Sprintf("scaled Deployment %s from %d to %d", o.Name, o.From, o.To)
	case rollout.SyncPods:
		return "set metadata on the pods of ReplicaSet " + o.Name
	case rollout.EvictPod:
		return "evicted Pod " + o.Name
	case rollout.PointService:
		return fmt.Sprintf("Service %s selects %s (was %q)", o.Name, o.To, o.From)
	case rollout.RouteTraffic:
		return fmt.Sprintf("router %s: canary weight %d", o.Router.Plugin, o.Weights.Canary.Weight)
	case rollout.ReleaseTraffic:
		return fmt.Sprintf("router %s: released", o.Router.Plugin)
	case rollout.CreateAnalysisRun:
		return "created AnalysisRun " + o.Run.Name
	case rollout.TerminateAnalysisRun:
		return "terminated AnalysisRun " + o.Name
	case rollout.DeleteAnalysisRun:
		return "deleted AnalysisRun " + o.Name
	case rollout.CreateExperiment:
		return "created Experiment " + o.Experiment.Name
	case rollout.TerminateExperiment:
		return "terminated Experiment " + o.Name
	case rollout.DeleteExperiment:
		return "deleted Experiment " + o.Name
	case rollout.CallStep:
		return fmt.Sprintf("step plugin %s: %s", o.Call.Plugin, o.Call.Verb)
	}
	return ""
}

// because is where the Rollout stands, in words: what the operations of a pass
// are for.
func because(s *rollout.Snapshot, plan rollout.Plan) string {
	st := s.Rollout.Status
	switch {
	case plan.Invalid != "":
		return "the spec is invalid; what serves is kept"
	case plan.Transition.Kind == rollout.TransitionAbort, plan.Transition.Kind == rollout.TransitionAborted:
		return "the update is given up: " + plan.Transition.Message
	case st.Abort:
		return "the update was aborted"
	case st.PromoteFull:
		return "full promotion was asked for"
	case st.StableRS == "":
		return "first deployment"
	case plan.Hash == st.StableRS:
		return "the stable revision serves"
	}
	if c := s.Rollout.Spec.Strategy.Canary; c != nil && st.CurrentStepIndex != nil {
		if i := int(*st.CurrentStepIndex); i >= 0 && i < len(c.Steps) {
			return fmt.Sprintf("step %d/%d (%s)", i+1, len(c.Steps), decide.DescribeStep(c.Steps[i]))
		}
		return "promotion: all steps are completed"
	}
	return "update to a new revision"
}
