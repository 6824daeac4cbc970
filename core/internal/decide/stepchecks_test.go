package decide

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// A plugin that is not there holds the update; one that is being asked is looked for
// again when it says.
func TestAStepPluginThatIsAway(t *testing.T) {
	ro := &v1alpha1.Rollout{}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := &planner{ro: ro, plan: &rollout.Plan{}, s: &rollout.Snapshot{Rollout: ro, Now: now, StepPlugins: map[string]rollout.Problem{
		"example/smoke": {Class: rollout.ProblemWaiting, Message: "starting", Retry: 5 * time.Second}}}}
	p.awaited()
	assert.True(t, p.veto)
	assert.Len(t, p.plan.Holds, 1)
	assert.Equal(t, now.Add(5*time.Second), p.plan.Wake)
}

// A step is asked again after its backoff; one whose objects have changed at once,
// but not twice within a second.
func TestAStepIsAskedWhenItsObjectsChange(t *testing.T) {
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		after   time.Duration
		changed bool
		asked   bool
	}{
		"its backoff is not over":           {10 * time.Second, false, false},
		"its objects have changed":          {10 * time.Second, true, true},
		"they changed in the same second":   {500 * time.Millisecond, true, false},
		"its backoff, and a second, passed": {31 * time.Second, false, true},
	} {
		ro := &v1alpha1.Rollout{}
		p := &planner{ro: ro, plan: &rollout.Plan{}, canary: &v1alpha1.CanaryStrategy{}, s: &rollout.Snapshot{Rollout: ro, Now: begun.Add(tc.after), StepObjectsChanged: tc.changed}}
		p.call(v1alpha1.StepPluginStatus{Name: "example/smoke", Operation: v1alpha1.StepPluginOperationRun, Phase: v1alpha1.StepPluginPhaseRunning,
			Backoff: "30s", UpdatedAt: &metav1.Time{Time: begun}}, nil)
		assert.Equal(t, tc.asked, len(p.plan.Ops) == 1, name)
		assert.Equal(t, !tc.asked, !p.plan.Wake.IsZero(), name)
	}
}

// A new revision takes over when the steps of an aborted update were told to take
// back what they did, each of them once.
func TestARevisionWaitsForWhatIsTakenBack(t *testing.T) {
	p := canaryOf(4, count{4, 4}, count{1, 1}, at(weight(10)))
	p.ro.Status.AbortedAt = &metav1.Time{}
	done := v1alpha1.StepPluginStatus{Index: 0, Name: "example/smoke", Operation: v1alpha1.StepPluginOperationRun, Phase: v1alpha1.StepPluginPhaseSuccessful}
	p.ro.Status.Canary.StepPluginStatuses = []v1alpha1.StepPluginStatus{done}
	require.True(t, p.superseded())
	undone := done
	undone.Operation, undone.Executions = v1alpha1.StepPluginOperationAbort, 1
	p.ro.Status.Canary.StepPluginStatuses, p.plan = []v1alpha1.StepPluginStatus{done, undone}, &rollout.Plan{}
	assert.False(t, p.superseded())
	assert.Empty(t, p.plan.Ops)
}
