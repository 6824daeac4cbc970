package sim_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// conditions are all of the Rollout's, sorted: clients compare the exact list.
func conditions(w *sim.World) []string {
	var out []string
	for _, c := range w.Rollout().Status.Conditions {
		out = append(out, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
	}
	slices.Sort(out)
	return out
}

// The exact list of conditions in each state a rollout rests or passes in. A
// rollout that is progressing, paused, drained or aborted has no Blocked; one that
// was never paused has no Paused; one whose old pods are still there is not yet
// Healthy, as in Argo Rollouts.
func TestExactConditions(t *testing.T) {
	missing := func(w *sim.World) {
		w.PluginDown(sim.RouterPlugin)
		w.Run(time.Minute)
	}
	for _, tt := range []struct {
		state string
		play  func(*sim.World)
		want  []string
	}{
		{"healthy", func(w *sim.World) { running(w, "v1", half()) },
			[]string{"Available=True AvailableReason", "Completed=True RolloutCompleted", "Healthy=True RolloutHealthy", "Progressing=True NewReplicaSetAvailable"}},
		{"progressing", func(w *sim.World) {
			running(w, "v1", half())
			w.Deploy("v2")
			w.Run(time.Second)
		},
			[]string{"Available=True AvailableReason", "Completed=False RolloutCompleted", "Healthy=False RolloutHealthy", "Progressing=True ReplicaSetUpdated"}},
		{"paused", atHalf,
			[]string{"Available=True AvailableReason", "Completed=False RolloutCompleted", "Healthy=False RolloutHealthy", "Paused=True RolloutPaused", "Progressing=Unknown RolloutPaused"}},
		{"aborted", func(w *sim.World) { atHalf(w); w.Abort(); w.Run(time.Second) },
			[]string{"Available=True AvailableReason", "Completed=False RolloutCompleted", "Healthy=False RolloutHealthy", "Paused=False RolloutPaused", "Progressing=False RolloutAborted"}},
		{"aborted and drained", func(w *sim.World) { atHalf(w); w.Abort(); w.Rest() },
			[]string{"Available=True AvailableReason", "Completed=False RolloutCompleted", "Healthy=False RolloutHealthy", "Paused=False RolloutPaused", "Progressing=False RolloutAborted"}},
		{"promoted, old pods not yet gone", func(w *sim.World) {
			atHalf(w)
			w.Resume()
			w.Until("v2 stable", func(ro *v1alpha1.Rollout) bool { return ro.Status.StableRS == ro.Status.CurrentPodHash })
			w.Run(2 * time.Second)
		},
			[]string{"Available=True AvailableReason", "Completed=True RolloutCompleted", "Healthy=False RolloutHealthy", "Paused=False RolloutPaused", "Progressing=True ReplicaSetUpdated"}},
		{"held by a plugin that is away", func(w *sim.World) {
			running(w, "v1", half())
			w.Deploy("v2")
			missing(w)
		},
			[]string{"Available=True AvailableReason", "Blocked=True PluginUnavailable", "Completed=True RolloutCompleted", "Healthy=True RolloutHealthy", "Progressing=True NewReplicaSetAvailable"}},
		{"invalid", func(w *sim.World) {
			running(w, "v1", half())
			w.Edit("names a Service that does not exist", func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.CanaryService = "nowhere" })
			w.Rest()
		},
			[]string{"Available=True AvailableReason", "Completed=True RolloutCompleted", "Healthy=True RolloutHealthy", "InvalidSpec=True InvalidSpec", "Progressing=True NewReplicaSetAvailable"}},
	} {
		t.Run(tt.state, func(t *testing.T) {
			w := sim.New(sim.Options{})
			w.Prepare()
			tt.play(w)
			require.NoError(t, w.Err, w.Story())
			assert.Equal(t, tt.want, conditions(w))
		})
	}
}
