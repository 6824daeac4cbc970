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
// during the update, each thing that people or the cluster may do. Afterwards a
// person must be able to bring it to an end. What follows a rest in a state
// that an earlier run of the same rollout was in is played once.
//
// SLUICE_SIM_STEPS=3 plays all of them, SLUICE_SIM_PART=2/8 the second of eight
// parts of that; `make sim` has lists of up to one step unless STEPS says
// otherwise, and `make test` only 0 and 2 replicas of those.
func TestExhaustive(t *testing.T) {
	longest, sizes, part, parts := 1, []int32{0, 2}, 1, 1
	if text := os.Getenv("SLUICE_SIM_STEPS"); text != "" {
		longest, sizes = int(number(t, text)), []int32{0, 1, 2, 3, 4}
	}
	if text := os.Getenv("SLUICE_SIM_PART"); text != "" {
		n, err := fmt.Sscanf(text, "%d/%d", &part, &parts)
		require.NoError(t, err, "SLUICE_SIM_PART is like 2/8")
		require.True(t, n == 2 && 1 <= part && part <= parts, "SLUICE_SIM_PART is like 2/8")
	}
	at := 0 // of all rollouts, so that the parts are about as long as each other
	for _, sh := range shapes {
		t.Run(sh.name, func(t *testing.T) {
			rollouts, all, runs, rests := 0, 0, 0, 0
			for _, steps := range lists(sh.steps, longest) {
				for _, replicas := range sizes {
					all++
					if at++; at%parts != part-1 {
						continue
					}
					n, m := sh.disturbed(t, replicas, steps)
					rollouts, runs, rests = rollouts+1, runs+n, rests+m
				}
			}
			t.Logf("part %d of %d: %d of %d rollouts with up to %d steps and replicas %v, %d runs, %d states at rest",
				part, parts, rollouts, all, longest, sizes, runs, rests)
		})
	}
}

// disturbed plays one rollout undisturbed, then with each act before each
// write, and returns how many runs and how many states at rest that were.
func (sh shape) disturbed(t *testing.T, replicas int32, steps []v1alpha1.CanaryStep) (runs, rests int) {
	what := fmt.Sprintf("%d replicas, steps %s", replicas, sim.Describe(steps))
	seen := map[string]bool{}
	known := func(state string) bool {
		was := seen[state]
		seen[state] = true
		return was
	}
	alone := sh.play(replicas, steps, sim.Options{Known: known})
	require.NoError(t, alone.w.Err, "%s\n%s", what, alone.w.Story())
	runs = 1
	for at := alone.updateFrom; at <= alone.w.Writes; at++ {
		for _, act := range acts {
			again := sh.play(replicas, steps, sim.Options{Known: known, InterruptAt: at, Interrupt: act.do})
			require.NoError(t, again.w.Err, "%s; before write %d somebody %s\n%s", what, at, act.what, again.w.Story())
			runs++
		}
	}
	return runs, len(seen)
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
	{name: "canary whose Services take turns", change: withPingPong, steps: []v1alpha1.CanaryStep{
		sim.SetWeight(50), sim.HeaderRoute("beta", "beta")}},
	{name: "blue-green that promotes itself", change: asBlueGreen(nil)},
	{name: "blue-green that waits for a person", change: asBlueGreen(func(bg *v1alpha1.BlueGreenStrategy) {
		bg.AutoPromotionEnabled, bg.PreviewReplicaCount = new(bool), new(int32(1))
	})},
	{name: "blue-green that waits for the clock and two analyses", change: asBlueGreen(func(bg *v1alpha1.BlueGreenStrategy) {
		bg.AutoPromotionSeconds, bg.PrePromotionAnalysis, bg.PostPromotionAnalysis = 5, sim.Analysis().Analysis, sim.Analysis().Analysis
	})},
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

func withPingPong(ro *v1alpha1.Rollout) {
	sim.PingPong(ro).Spec.Strategy.Canary.TrafficRouting.Plugins[sim.RouterPlugin] = sim.Block("pp")
}

func asBlueGreen(edit func(*v1alpha1.BlueGreenStrategy)) func(*v1alpha1.Rollout) {
	return func(ro *v1alpha1.Rollout) { ro.Spec.Strategy = sim.NewBlueGreen("v1", 1, edit).Spec.Strategy }
}

var acts = []struct {
	what string
	do   func(*sim.World)
}{
	{what: "deploys v3", do: func(w *sim.World) { w.Deploy("v3") }},
	{what: "goes back to v1", do: func(w *sim.World) { w.Deploy("v1") }},
	{what: "aborts", do: func(w *sim.World) { w.Abort() }},
	{what: "aborts and retries", do: func(w *sim.World) { w.Abort(); w.Run(time.Second); w.Retry() }},
	{what: "promotes fully", do: func(w *sim.World) { w.PromoteFull() }},
	{what: "resumes", do: func(w *sim.World) { w.Resume() }},
	{what: "pauses by spec.paused", do: func(w *sim.World) { w.SetPaused(true) }},
	{what: "scales to 3", do: func(w *sim.World) { w.Scale(3) }},
	{what: "scales to 0", do: func(w *sim.World) { w.Scale(0) }},
	{what: "kills a pod of v1", do: func(w *sim.World) { w.KillPod("v1") }},
	{what: "kills a pod of v2", do: func(w *sim.World) { w.KillPod("v2") }},
	{what: "stops the router plugin for a while", do: func(w *sim.World) {
		w.PluginDown(sim.RouterPlugin)
		w.Run(5 * time.Second)
		w.PluginUp(sim.RouterPlugin)
	}},
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
func (sh shape) play(replicas int32, steps []v1alpha1.CanaryStep, o sim.Options) played {
	w := sim.New(o)
	w.Prepare()
	w.AddService(sim.PingService)
	w.AddService(sim.PongService)
	w.AddRouteTo(sim.RouterPlugin, "pp", 100, [2]string{sim.PingService, sim.PongService}, "rule-0")
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
