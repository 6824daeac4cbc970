package sim_test

import (
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// inMesh is a mesh that reports nothing: a change has arrived after 2 s.
func inMesh(w *sim.World) {
	w.Plugins[sim.RouterPlugin] = &sim.Plugin{Installed: true, Up: true, Silent: true, Settle: 2 * time.Second}
	w.AddSubsetRoute(sim.RouterPlugin, "mesh", 100, "main")
}

// betweenSubsets is v1 at rest behind subsets, without any Service.
func betweenSubsets(w *sim.World, steps ...v1alpha1.CanaryStep) {
	inMesh(w)
	w.Create(sim.WithSubsets(sim.NewRollout("v1", 4, steps...), "mesh"))
	w.Rest()
}

func subsetsAtHalf(w *sim.World) {
	betweenSubsets(w, half()...)
	w.Deploy("v2")
	w.Until("50 % of v2", pausedAt(1))
}

// subsetStories are about routers that split between subsets.
var subsetStories = []story{
	{name: "subsets", about: "An update between subsets, without Services: the canary's subset is pointed at the new revision while it carries nothing, and gets weight when the mesh knows that. After the promotion the stable subset follows in the same way.",
		play: func(w *sim.World) { subsetsAtHalf(w); w.Resume() }},
	{name: "subsets-abort", about: "An abort between subsets: the weight goes back at once, then the canary's subset, then the pods.",
		play: func(w *sim.World) { subsetsAtHalf(w); w.Abort() }},
	{name: "subsets-abort-retry", about: "An update between subsets is aborted and started again.",
		play: func(w *sim.World) {
			subsetsAtHalf(w)
			w.Abort()
			w.Run(2 * time.Minute)
			w.Retry()
			w.Until("50 % again", pausedAt(1))
			w.Resume()
		}},
	{name: "subsets-superseded", about: "A third revision while the second has half of the traffic: its weight goes back first, then the subset moves, then the third gets weight.",
		play: func(w *sim.World) {
			subsetsAtHalf(w)
			w.Deploy("v3")
			w.Run(time.Minute)
			w.Resume()
		}},
	{name: "subsets-ping-pong", about: "Ping-pong beside subsets: the subsets take the traffic and are turned as ever, the two Services follow the roles. A third revision is aborted.",
		play: func(w *sim.World) {
			inMesh(w)
			w.AddService(sim.PingService)
			w.AddService(sim.PongService)
			w.Create(sim.PingPong(sim.WithSubsets(sim.NewRollout("v1", 4, half()...), "mesh")))
			w.Rest()
			w.Deploy("v2")
			w.Until("50 % of v2", pausedAt(1))
			w.Resume()
			w.Rest()
			w.Deploy("v3")
			w.Until("50 % of v3", pausedAt(1))
			w.Abort()
		}},
	{name: "subsets-experiment", about: "An experiment between subsets: its pods are reached through a Service of their own, beside the subsets, and its weights go first.",
		play: func(w *sim.World) {
			betweenSubsets(w, sim.SetWeight(20), sim.Experiment(5), sim.Pause(0))
			w.Deploy("v2")
			w.Until("the pause", pausedAt(2))
			w.Resume()
		}},
	{name: "subsets-rollback", about: "The template goes back to the stable one while the second revision has half of the traffic.",
		play: func(w *sim.World) { subsetsAtHalf(w); w.Deploy("v1") }},
	{name: "subsets-header", about: "Header routes between subsets: they lead to the new revision only, and keep their subset in place.",
		play: func(w *sim.World) {
			betweenSubsets(w, sim.HeaderRoute("beta", "beta"), sim.Pause(0), sim.SetWeight(50), sim.Pause(0))
			w.Deploy("v2")
			w.Until("the header route", pausedAt(1))
			w.Deploy("v3")
			w.Run(time.Minute)
			w.Resume()
			w.Until("50 %", pausedAt(3))
			w.Resume()
		}},
	{name: "subsets-dynamic", about: "With dynamicStableScale the stable revision shrinks as the canary's subset gets traffic, and an abort at 50 % brings it back pod by pod.",
		play: func(w *sim.World) {
			inMesh(w)
			ro := sim.WithSubsets(sim.NewRollout("v1", 4, half()...), "mesh")
			ro.Spec.Strategy.Canary.DynamicStableScale = true
			w.Create(ro)
			w.Rest()
			w.Deploy("v2")
			w.Until("50 % of v2", pausedAt(1))
			w.Abort()
			w.Run(2 * time.Minute)
			w.Deploy("v3")
			w.Run(time.Minute)
			w.Resume()
		}},
	{name: "subsets-dynamic-unpointed", about: "With dynamicStableScale, a Rollout that has had no pods yet, and whose mesh route somebody has split by hand, is scaled up together with v2: v1 gets pods first and takes what the canary's subset carries, as that reaches every pod.",
		play: func(w *sim.World) {
			inMesh(w)
			ro := sim.WithSubsets(sim.NewRollout("v1", 0), "mesh")
			ro.Spec.Strategy.Canary.DynamicStableScale = true
			w.Create(ro)
			w.Rest()
			w.EditRoute("mesh", 0, 55, 45)
			w.Crash("v2")
			w.Scale(2)
			w.Deploy("v2")
			w.Run(10 * time.Second)
			w.Recover("v2")
		}},
	{name: "subsets-dead", about: "The subsets still name a revision whose pods are gone, from a Rollout of an earlier day: nobody is served there, so they are pointed at the new one at once.",
		play: func(w *sim.World) {
			inMesh(w)
			w.PointSubsets("mesh", "5d41402abc")
			w.Create(sim.WithSubsets(sim.NewRollout("v1", 4, half()...), "mesh"))
			w.Rest()
			w.Deploy("v2")
			w.Until("50 % of v2", pausedAt(1))
			w.Resume()
		}},
	{name: "subsets-removed", about: "Traffic routing is removed while the second revision has half of the traffic: the subsets are given back, so that they go on reaching somebody.",
		play: func(w *sim.World) {
			subsetsAtHalf(w)
			w.Edit("removes the traffic routing", func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.TrafficRouting = nil })
			w.Run(time.Minute)
			w.Resume()
		}},
	{name: "subsets-elsewhere", about: "The Rollout names another mesh route at 50 %, with subsets of its own: these get the weight, then the old ones are given back, so that they go on reaching somebody when v2 is gone.",
		play: func(w *sim.World) {
			w.AddSubsetRoute(sim.RouterPlugin, "mesh-b", 100, "main")
			subsetsAtHalf(w)
			namesRoute(w, "names the route mesh-b instead of mesh", sim.Block("mesh-b"))
			w.Run(time.Minute)
			w.Resume()
		}},
	{name: "subsets-left-late", about: "v2 is promoted and has all traffic in the canary's subset, the stable one still names v1, whose pods are gone with their traffic, when the strategy becomes blue-green: the stable subset reaches every pod before it gets the weight.",
		play: func(w *sim.World) {
			inMesh(w)
			ro := sim.WithSubsets(sim.NewRollout("v1", 4, sim.SetWeight(50)), "mesh")
			ro.Spec.Strategy.Canary.DynamicStableScale = true
			w.Create(ro)
			w.Rest()
			w.Deploy("v2")
			w.Until("v2 is stable", func(ro *v1alpha1.Rollout) bool {
				return ro.Status.StableRS == ro.Status.CurrentPodHash && ro.Status.Canary.Weights.Canary.Weight == 100
			})
			w.UseStrategy("blue-green", v1alpha1.RolloutStrategy{BlueGreen: &v1alpha1.BlueGreenStrategy{ActiveService: sim.ActiveService}})
		}},
}
