package sim_test

import (
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// scaledBy is an autoscaler that v1 at rest agrees with.
func scaledBy(w *sim.World, h sim.HPA) {
	h.Min, h.Max = 2, 8
	w.AddHPA(h)
	w.Rest()
}

// scaleStories are about who else changes how many pods there are.
var scaleStories = []story{
	{name: "hpa-canary", about: "The load grows at 50 %: the HPA counts the pods of both versions and asks for more; stable gets them first, the canary as many as its weight needs. It falls after the promotion.",
		play: func(w *sim.World) {
			running(w, "v1", half())
			scaledBy(w, sim.HPA{Load: 4})
			w.Deploy("v2")
			w.Until("50 % of v2", pausedAt(1))
			w.SetLoad(7)
			w.Run(time.Minute)
			w.Resume()
			w.Rest()
			w.SetLoad(3)
		}},
	{name: "hpa-basic", about: "Without traffic routing the share of the canary stays what it is while the HPA asks for more pods, and for fewer.",
		play: func(w *sim.World) {
			basic(w, half())
			scaledBy(w, sim.HPA{Load: 4})
			w.Deploy("v2")
			w.Until("half of the pods are v2", pausedAt(1))
			w.SetLoad(8)
			w.Run(time.Minute)
			w.SetLoad(2)
			w.Run(time.Minute)
			w.Resume()
		}},
	{name: "hpa-blue-green", about: "The HPA counts the pods that users reach, not those of the preview; what it asks for, both get.",
		play: func(w *sim.World) {
			blueGreen(w, manual)
			scaledBy(w, sim.HPA{Load: 3, External: true})
			w.Deploy("v2")
			w.Run(time.Minute)
			w.SetLoad(5)
			w.Run(time.Minute)
			w.Resume()
		}},
	{name: "hpa-wrong", about: "Right after the step to 50 % the HPA, on what it saw before, asks for half of the pods, and an abort comes: traffic goes back before any pod that serves it leaves.",
		play: func(w *sim.World) {
			atHalf(w)
			scaledBy(w, sim.HPA{Load: 4, Late: true})
			w.HPA.Wrong = -2
			w.SetLoad(4)
			w.Run(16 * time.Second)
			w.Abort()
			w.Rest()
			w.HPA.Wrong = 0
			w.SetLoad(4)
		}},
	{name: "zero-while-updating", about: "Somebody scales to 0 at 50 % and lets the update go on while the gateway is slow: the pods of v1 go, though its name still carries traffic; nobody is to be served.",
		play: func(w *sim.World) {
			w.Plugins[sim.RouterPlugin].Lag = 20 * time.Second
			atHalf(w)
			w.Resume()
			w.Run(25 * time.Second)
			w.Scale(0)
			w.Rest()
			w.Scale(4)
		}},
	{name: "dynamic-router-removed", about: "Stable has given up half of its pods when one of two routers is removed: what that one routes goes to stable, which has all pods until the router has left.",
		play: func(w *sim.World) {
			mesh(w)
			ro := twoRouters(half())
			ro.Spec.Strategy.Canary.DynamicStableScale = true
			w.Create(ro)
			w.Rest()
			w.Deploy("v2")
			w.Until("50 % of v2", pausedAt(1))
			w.Run(time.Minute)
			w.Edit("removes the router mesh", func(ro *v1alpha1.Rollout) { delete(ro.Spec.Strategy.Canary.TrafficRouting.Plugins, "mesh") })
			w.Run(time.Minute)
			w.Abort()
		}},
	{name: "total-of-nothing", about: "By mistake maxTrafficWeight is 0 at 50 %: the weights stay as they are, the message says so, and it goes on when it is corrected.",
		play: func(w *sim.World) {
			atHalf(w)
			w.Edit("sets maxTrafficWeight to 0", func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.TrafficRouting.MaxTrafficWeight = new(int32) })
			w.Run(time.Minute)
			w.Edit("removes maxTrafficWeight", func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.TrafficRouting.MaxTrafficWeight = nil })
			w.Run(time.Minute)
			w.Resume()
		}},
	{name: "runs-unseen", about: "For 20 s the controller does not see AnalysisRuns, not even its own: when it sees that of this update, it is still that of this update, and no other is made.",
		play: func(w *sim.World) {
			ro := sim.NewRollout("v1", 4, sim.SetWeight(25), sim.Pause(5), sim.SetWeight(50), sim.Pause(5))
			ro.Spec.Strategy.Canary.Analysis = &v1alpha1.RolloutAnalysisBackground{RolloutAnalysis: *sim.Analysis().Analysis}
			w.Create(ro)
			w.Rest()
			w.HideRuns(true)
			w.Deploy("v2")
			w.Run(20 * time.Second)
			w.HideRuns(false)
		}},
}
