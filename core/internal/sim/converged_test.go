package sim_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/internal/decide"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// TestAConvergedSnapshotGivesAnEmptyPlan: where a story ends, whatever is looked
// at again asks for no operation, for no change of position, and for no status
// but the one that is there; deciding twice is equal.
func TestAConvergedSnapshotGivesAnEmptyPlan(t *testing.T) {
	for _, s := range everyStory() {
		t.Run(s.name, func(t *testing.T) {
			var seen *rollout.Snapshot
			s.options.Planner = func(s *rollout.Snapshot) rollout.Plan {
				seen = s
				return decide.Decide(s)
			}
			w := s.run(0, 0)
			require.NoError(t, w.Err, w.Story())
			require.NotNil(t, seen)
			plan := decide.Decide(seen)
			assert.Equal(t, plan, decide.Decide(seen))
			assert.Empty(t, plan.Ops)
			assert.Equal(t, rollout.TransitionNone, plan.Transition.Kind)
			assert.Nil(t, plan.RestartedAt)
			if plan.Invalid == "" {
				assert.Equal(t, seen.Rollout.Status.CurrentPodHash, plan.Hash)
				assert.Equal(t, seen.Rollout.Status.Canary.Weights, plan.Weights)
			}
		})
	}
}
