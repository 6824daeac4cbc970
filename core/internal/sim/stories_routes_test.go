package sim_test

import (
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// routeStories are about what routers do besides weights.
var routeStories = []story{
	{name: "header-route", about: "A header route comes before the first weight: there is a pod for it first, and it is gone after the promotion.",
		play: func(w *sim.World) {
			running(w, "v1", []v1alpha1.CanaryStep{sim.HeaderRoute("beta", "beta"), sim.Pause(10), sim.SetWeight(50), sim.Pause(10)})
			w.Deploy("v2")
		}},
	{name: "mirror-route", about: "Requests are mirrored, then both kinds of route are there in order of priority; the mirror is removed by name.",
		play: func(w *sim.World) {
			running(w, "v1", []v1alpha1.CanaryStep{sim.SetWeight(25), sim.MirrorRoute("shadow", 20), sim.HeaderRoute("beta", "beta"),
				sim.Pause(10), sim.MirrorRoute("shadow", 0), sim.Pause(10)})
			w.Deploy("v2")
		}},
	{name: "header-route-abort", about: "An abort takes the header route away with the weight; the retry brings it back.",
		play: func(w *sim.World) {
			running(w, "v1", []v1alpha1.CanaryStep{sim.HeaderRoute("beta", "beta"), sim.SetWeight(20), sim.Pause(0)})
			w.Deploy("v2")
			w.Until("the pause", pausedAt(2))
			w.Abort()
			w.Run(2 * time.Minute)
			w.Retry()
			w.Until("the pause again", pausedAt(2))
			w.Resume()
		}},
	{name: "header-route-steps-edited", about: "The steps are edited while a header route is in force: the update starts again without it, and the route is put in with its new content.",
		play: func(w *sim.World) {
			running(w, "v1", []v1alpha1.CanaryStep{sim.HeaderRoute("beta", "beta"), sim.Pause(0)})
			w.Deploy("v2")
			w.Until("the pause", pausedAt(1))
			w.Edit("sends the alpha testers instead", func(ro *v1alpha1.Rollout) {
				ro.Spec.Strategy.Canary.Steps = []v1alpha1.CanaryStep{sim.Pause(10), sim.HeaderRoute("beta", "alpha"), sim.Pause(0)}
			})
			w.Until("the other pause", pausedAt(2))
			w.Deploy("v1")
		}},
	{name: "header-route-incapable", about: "The router cannot do header routes: the update is refused before anything moves. One that loses the ability later is held up.",
		play: func(w *sim.World) {
			w.Plugins[sim.RouterPlugin].Plain = true
			running(w, "v1", []v1alpha1.CanaryStep{sim.HeaderRoute("beta", "beta"), sim.Pause(0), sim.SetWeight(50)})
			w.Run(10 * time.Second)
			w.Plugins[sim.RouterPlugin].Plain = false
			w.PluginUp(sim.RouterPlugin)
			w.Rest()
			w.Deploy("v2")
			w.Until("the pause", pausedAt(1))
			w.Plugins[sim.RouterPlugin].Plain = true
			w.Resume()
			w.Run(20 * time.Second)
			w.Plugins[sim.RouterPlugin].Plain = false
			w.PluginUp(sim.RouterPlugin)
		}},
}
