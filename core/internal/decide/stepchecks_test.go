package decide

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

func TestWhatStepPluginsSayBeforehand(t *testing.T) {
	for name, c := range map[string]struct {
		problem rollout.Problem
		veto    bool
		holds   int
		invalid string
		begins  bool
	}{
		"a wrong configuration":                                     {problem: rollout.Problem{Class: rollout.ProblemInvalid, Path: "after", Message: "is not a duration"}, veto: true, invalid: `The Rollout "shop" is invalid: spec.strategy.canary.steps[2].plugin.config: after: is not a duration`},
		"not allowed to look":                                       {problem: rollout.Problem{Class: rollout.ProblemRefused, Message: "no grant"}, veto: true, holds: 1},
		"not answered yet":                                          {problem: rollout.Problem{Class: rollout.ProblemWaiting, Retry: time.Second}},
		"not answered yet, and the update has not begun":            {problem: rollout.Problem{Class: rollout.ProblemWaiting, Retry: time.Second}, begins: true, veto: true, holds: 1},
		"a plugin that does not work, and the update has not begun": {problem: rollout.Problem{Class: rollout.ProblemUnavailable, Retry: time.Second}, begins: true},
		"a plugin that does not work":                               {problem: rollout.Problem{Class: rollout.ProblemUnavailable, Retry: time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			ro := &v1alpha1.Rollout{}
			ro.Name = "shop"
			p := &planner{ro: ro, plan: &rollout.Plan{}, s: &rollout.Snapshot{Rollout: ro, StepChecks: rollout.StepChecks{Problems: map[int32]rollout.Problem{2: c.problem}}}}
			if c.begins {
				p.plan.Hash = "next"
			}
			p.awaited()
			assert.Equal(t, c.veto, p.veto)
			assert.Len(t, p.plan.Holds, c.holds)
			assert.Equal(t, c.invalid, p.plan.Invalid)
		})
	}
}
