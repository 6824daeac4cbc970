package sim_test

import (
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// basicHalf stops a canary without traffic routing at half of its pods.
func basicHalf(w *sim.World, edit ...func(*v1alpha1.CanaryStrategy)) {
	basic(w, half(), edit...)
	w.Deploy("v2")
	w.Until("half of the pods are v2", pausedAt(1))
}

func basic(w *sim.World, steps []v1alpha1.CanaryStep, edit ...func(*v1alpha1.CanaryStrategy)) {
	ro := sim.NewBasic("v1", 4, steps...)
	for _, f := range edit {
		f(ro.Spec.Strategy.Canary)
	}
	w.Create(ro)
	w.Rest()
}

func podBounds(surge, unavailable int32) func(*v1alpha1.CanaryStrategy) {
	return func(c *v1alpha1.CanaryStrategy) {
		s, u := intstr.FromInt32(surge), intstr.FromInt32(unavailable)
		c.MaxSurge, c.MaxUnavailable = &s, &u
	}
}

func named(c *v1alpha1.CanaryStrategy) {
	c.StableService, c.CanaryService = sim.StableService, sim.CanaryService
}

// dynamicHalf stops a canary whose stable pods follow the traffic at 50 %.
func dynamicHalf(w *sim.World) {
	ro := sim.NewRollout("v1", 4, sim.SetWeight(25), sim.SetWeight(50), sim.Pause(0), sim.SetWeight(100))
	ro.Spec.Strategy.Canary.DynamicStableScale = true
	w.Create(ro)
	w.Rest()
	w.Deploy("v2")
	w.Until("50 % of v2", pausedAt(2))
}

func scaled(steps ...v1alpha1.CanaryStep) []v1alpha1.CanaryStep {
	return append([]v1alpha1.CanaryStep{sim.ScaleCanary(3)}, steps...)
}

var basicStories = []story{
	{name: "basic-canary", about: "A canary without traffic routing goes through its steps: the share of pods is the weight, one pod more than wanted at most.",
		play: func(w *sim.World) {
			basic(w, []v1alpha1.CanaryStep{sim.SetWeight(25), sim.Pause(10), sim.Analysis(), sim.SetWeight(50), sim.Pause(10)}, podBounds(1, 0))
			w.Deploy("v2")
		}},
	{name: "basic-no-surge", about: "No pod more than wanted may exist: old pods go before new ones come.",
		play: func(w *sim.World) { basicHalf(w, podBounds(0, 1)); w.Resume() }},
	{name: "basic-without-steps", about: "Without steps it is a rolling update.",
		play: func(w *sim.World) { basic(w, nil, podBounds(1, 1)); w.Deploy("v2") }},
	{name: "basic-abort", about: "A person aborts at half: v1 gets its pods back, those of v2 go as v1's come.",
		play: func(w *sim.World) { basicHalf(w, podBounds(1, 0)); w.Abort() }},
	{name: "basic-inconclusive-superseded", about: "v3 replaces v2 at half, its pods are late, and the analysis cannot tell: while somebody thinks about it the pods of v2 go as soon as nobody needs them.",
		options: sim.Options{Verdict: firstInconclusive},
		play: func(w *sim.World) {
			basicHalf(w, podBounds(1, 0))
			w.Crash("v3")
			w.Edit("deploys v3 with an analysis beside it", func(ro *v1alpha1.Rollout) {
				ro.Spec.Strategy.Canary.Analysis = &v1alpha1.RolloutAnalysisBackground{RolloutAnalysis: *sim.Analysis().Analysis}
				ro.Spec.Template.Spec.Containers[0].Image = "v3"
			})
			w.Run(time.Minute)
			w.Recover("v3")
			w.Run(time.Minute)
			w.Resume()
		}},
	{name: "basic-retry", about: "A person aborts at half, and starts again while pods are still on their way back.",
		play: func(w *sim.World) {
			basicHalf(w, podBounds(1, 0))
			w.Abort()
			w.Run(3 * time.Second)
			w.Retry()
			w.Until("half again", pausedAt(1))
			w.Resume()
		}},
	{name: "basic-supersede", about: "v3 replaces v2 at half: the pods of v2 go before v3 grows.",
		play: func(w *sim.World) {
			basicHalf(w, podBounds(1, 0))
			w.Deploy("v3")
			w.Until("the step is reset", func(ro *v1alpha1.Rollout) bool { return *ro.Status.CurrentStepIndex == 0 })
			w.Until("half are v3", pausedAt(1))
			w.Resume()
		}},
	{name: "basic-rollback", about: "The template goes back to v1 at half: all pods of v1 at once, then those of v2 go.",
		play: func(w *sim.World) { basicHalf(w, podBounds(1, 0)); w.Deploy("v1") }},
	{name: "basic-scaled-while-paused", about: "spec.replicas changes in the pause, then under spec.paused: the ratio stays in the one, v1 takes the difference in the other.",
		play: func(w *sim.World) {
			basicHalf(w)
			w.Scale(8)
			w.Run(20 * time.Second)
			w.SetPaused(true)
			w.Scale(12)
			w.Run(20 * time.Second)
			w.SetPaused(false)
			w.Run(20 * time.Second)
			w.Resume()
		}},
	{name: "basic-replicas-mistyped", about: "Somebody asks for -1 replicas while half of the pods are v2: all pods stay, also those that are killed, until it is corrected.",
		play: func(w *sim.World) {
			basic(w, half())
			w.Deploy("v2")
			w.Until("half of the pods are v2", pausedAt(1))
			w.Edit("asks for -1 replicas", func(ro *v1alpha1.Rollout) { ro.Spec.Replicas = new(int32(-1)) })
			w.Run(10 * time.Second)
			w.KillPod("v1")
			w.Run(10 * time.Second)
			w.Scale(4)
			w.Resume()
		}},
	{name: "basic-zero", about: "spec.replicas is 0: an update goes through without pods.",
		play: func(w *sim.World) {
			basic(w, half())
			w.Scale(0)
			w.Run(20 * time.Second)
			w.Deploy("v2")
			w.Rest()
			w.Resume()
			w.Rest()
			w.Scale(3)
		}},
	{name: "basic-never-ready", about: "The pods of v2 never come up: all of v1 stay, and after ten minutes the rollout says so.",
		play: func(w *sim.World) { basic(w, half(), podBounds(1, 0)); w.Crash("v2"); w.Deploy("v2") }},
	{name: "basic-services", about: "With Services at 100 % the stable name follows the pods before the last of v1 goes, and comes back after an abort.",
		play: func(w *sim.World) {
			basic(w, []v1alpha1.CanaryStep{sim.SetWeight(100), sim.Pause(0)}, named, podBounds(1, 0))
			w.Deploy("v2")
			w.Until("all pods are v2", pausedAt(1))
			w.Abort()
		}},
	{name: "basic-gets-routing", about: "At half of the pods the Rollout gets traffic routing: v1 is scaled up, then its router is asked.",
		play: func(w *sim.World) {
			basicHalf(w, named, podBounds(1, 0))
			routed := sim.NewRollout("v2", 4).Spec.Strategy.Canary.TrafficRouting
			w.Edit("adds traffic routing", func(ro *v1alpha1.Rollout) {
				ro.Spec.Strategy.Canary.TrafficRouting = routed
			})
			w.Run(30 * time.Second)
			w.Resume()
		}},
	{name: "basic-abort-superseded", about: "All pods are v2, not promoted yet, when v3 replaces it, crashes, and is aborted. No pod more than wanted may exist and one has to serve: the pods of v3 go though v2 still has one, which serves until v1 has pods again.",
		play: func(w *sim.World) {
			basic(w, []v1alpha1.CanaryStep{sim.SetWeight(100), sim.Pause(0)}, podBounds(0, 3), named)
			w.Deploy("v2")
			w.Until("every pod is v2", pausedAt(1))
			w.Crash("v3")
			w.Deploy("v3")
			w.Until("three pods are v3", func(ro *v1alpha1.Rollout) bool { return ro.Status.UpdatedReplicas == 3 })
			w.Abort()
			w.Run(time.Minute)
		}},
	{name: "routing-removed", about: "At 50 % the Rollout loses its traffic routing: the router gives the route back before any pod goes.",
		play: func(w *sim.World) {
			atHalf(w)
			w.Edit("removes traffic routing", func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.TrafficRouting = nil })
			w.Run(30 * time.Second)
			w.Resume()
		}},
	{name: "canary-scale", about: "setCanaryScale makes pods before any weight; matchTrafficWeight gives the size back to the weight.",
		play: func(w *sim.World) {
			matching := v1alpha1.CanaryStep{SetCanaryScale: &v1alpha1.SetCanaryScale{MatchTrafficWeight: true}}
			running(w, "v1", scaled(sim.Pause(10), sim.SetWeight(25), matching, sim.Pause(10), sim.SetWeight(50)))
			w.Deploy("v2")
		}},
	{name: "canary-scale-abort", about: "An aborted canary that setCanaryScale made goes after its delay.",
		play: func(w *sim.World) {
			running(w, "v1", scaled(sim.Pause(0)))
			w.Deploy("v2")
			w.Until("three pods of v2", pausedAt(1))
			w.Abort()
		}},
	{name: "dynamic-promote", about: "With dynamicStableScale v1 shrinks as its traffic does; pods go only after the traffic has.",
		play: func(w *sim.World) { dynamicHalf(w); w.Resume() }},
	{name: "dynamic-abort", about: "An abort with dynamicStableScale goes back over the steps: v1 grows, then traffic, then the pods of v2.",
		play: func(w *sim.World) { dynamicHalf(w); w.Abort() }},
	{name: "dynamic-promote-full", about: "A full promotion with dynamicStableScale moves traffic pod by pod.",
		play: func(w *sim.World) { dynamicHalf(w); w.PromoteFull() }},
	{name: "dynamic-rollback", about: "The template goes back to v1 at 50 % with dynamicStableScale: traffic returns when v1 has its pods again.",
		play: func(w *sim.World) { dynamicHalf(w); w.Deploy("v1") }},
}
