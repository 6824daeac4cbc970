package invariant

import (
	"strings"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Refuse is the plan without its operations and its change of position, held
// by the rules it would have broken. What the snapshot already says is kept.
func Refuse(s *rollout.Snapshot, plan rollout.Plan, found []Violation) rollout.Plan {
	what := make([]string, 0, len(found))
	for _, v := range found {
		what = append(what, v.Error())
	}
	plan.Ops, plan.Transition = nil, rollout.Transition{}
	plan.Routers = s.Rollout.Status.Canary.Routers
	plan.StepRun = s.Rollout.Status.Canary.CurrentStepAnalysisRunStatus
	plan.BackgroundRun = s.Rollout.Status.Canary.CurrentBackgroundAnalysisRunStatus
	plan.Holds = append([]rollout.Hold{{
		Reason:   rollout.HoldInvariant,
		What:     strings.Join(what, "; "),
		EndedBy:  "a change of the rollout or its pods; please report this as a bug",
		Blocking: true,
	}}, plan.Holds...)
	return plan
}
