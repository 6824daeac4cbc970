package sim_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// TestExhaustive plays every small rollout: each list of steps up to a length,
// 0 to 4 replicas, and, right before each single write the controller makes
// during the update, each thing a person may do. Afterwards a person must be
// able to bring it to an end.
//
// SLUICE_SIM_STEPS=3 plays all of them; `make sim` has lists of up to one step
// unless STEPS says otherwise, and `make test`, where the race detector slows
// everything down, only 0 and 2 replicas of those.
func TestExhaustive(t *testing.T) {
	longest, sizes := 1, []int32{0, 2}
	if text := os.Getenv("SLUICE_SIM_STEPS"); text != "" {
		longest, sizes = int(number(t, text)), []int32{0, 1, 2, 3, 4}
	}
	for _, sh := range shapes {
		t.Run(sh.name, func(t *testing.T) {
			t.Parallel()
			runs := 0
			for _, steps := range lists(sh.steps, longest) {
				for _, replicas := range sizes {
					runs += sh.disturbed(t, replicas, steps)
				}
			}
			t.Logf("%d runs with up to %d steps", runs, longest)
		})
	}
}

// disturbed plays one rollout undisturbed, then with each act before each
// write, and returns how many runs that were.
func (sh shape) disturbed(t *testing.T, replicas int32, steps []v1alpha1.CanaryStep) int {
	what := fmt.Sprintf("%d replicas, steps %s", replicas, sim.Describe(steps))
	alone := sh.play(replicas, steps, 0, nil)
	require.NoError(t, alone.w.Err, "%s\n%s", what, alone.w.Story())
	runs := 1
	for at := alone.updateFrom; at <= alone.w.Writes; at++ {
		for _, act := range acts {
			again := sh.play(replicas, steps, at, act.do)
			require.NoError(t, again.w.Err, "%s; before write %d somebody %s\n%s", what, at, act.what, again.w.Story())
			runs++
		}
	}
	return runs
}

// shape is a kind of rollout with the steps it may have.
type shape struct {
	name  string
	steps []v1alpha1.CanaryStep
	// change turns the routed canary into the shape; nil leaves it.
	change func(*v1alpha1.Rollout)
}

var shapes = []shape{
	{name: "canary with traffic routing", steps: []v1alpha1.CanaryStep{
		sim.SetWeight(25), sim.SetWeight(50), sim.SetWeight(100), sim.Pause(5), sim.Pause(0), sim.Analysis()}},
	{name: "canary without traffic routing", change: withoutRouting, steps: []v1alpha1.CanaryStep{
		sim.SetWeight(50), sim.SetWeight(100), sim.Pause(5)}},
	{name: "canary without traffic routing and surge", change: withoutSurge, steps: []v1alpha1.CanaryStep{
		sim.SetWeight(50), sim.Pause(5)}},
	{name: "canary with dynamicStableScale", change: withDynamicScale, steps: []v1alpha1.CanaryStep{
		sim.SetWeight(50), sim.SetWeight(100), sim.ScaleCanary(1)}},
}

func withoutRouting(ro *v1alpha1.Rollout) {
	ro.Spec.Strategy.Canary.TrafficRouting = nil
}

func withoutSurge(ro *v1alpha1.Rollout) {
	zero, one := intstr.FromInt32(0), intstr.FromInt32(1)
	c := ro.Spec.Strategy.Canary
	c.TrafficRouting, c.StableService, c.CanaryService = nil, "", ""
	c.MaxSurge, c.MaxUnavailable = &zero, &one
}

func withDynamicScale(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.DynamicStableScale = true }

var acts = []struct {
	what string
	do   func(*sim.World)
}{
	{"deploys v3", func(w *sim.World) { w.Deploy("v3") }},
	{"goes back to v1", func(w *sim.World) { w.Deploy("v1") }},
	{"aborts", func(w *sim.World) { w.Abort() }},
	{"aborts and retries", func(w *sim.World) { w.Abort(); w.Run(time.Second); w.Retry() }},
	{"promotes fully", func(w *sim.World) { w.PromoteFull() }},
	{"scales to 3", func(w *sim.World) { w.Scale(3) }},
	{"scales to 0", func(w *sim.World) { w.Scale(0) }},
	{"kills a pod of v1", func(w *sim.World) { w.KillPod("v1") }},
}

// lists are all lists of the steps up to the length.
func lists(of []v1alpha1.CanaryStep, longest int) [][]v1alpha1.CanaryStep {
	out := [][]v1alpha1.CanaryStep{nil}
	last := out
	for range longest {
		var longer [][]v1alpha1.CanaryStep
		for _, l := range last {
			for _, s := range of {
				longer = append(longer, append(append([]v1alpha1.CanaryStep(nil), l...), s))
			}
		}
		out, last = append(out, longer...), longer
	}
	return out
}

type played struct {
	w *sim.World
	// updateFrom is the first write of the update.
	updateFrom int
}

// play deploys v1, then v2, with one act before one write, until it is done.
func (sh shape) play(replicas int32, steps []v1alpha1.CanaryStep, at int, act func(*sim.World)) played {
	w := sim.New(sim.Options{InterruptAt: at, Interrupt: act})
	w.Prepare()
	ro := sim.NewRollout("v1", replicas, steps...)
	if sh.change != nil {
		sh.change(ro)
	}
	w.Create(ro)
	w.Rest()
	first := w.Writes + 1
	w.Deploy("v2")
	w.Finish()
	return played{w, first}
}
