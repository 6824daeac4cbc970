package sim_test

import (
	"encoding/json"
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// pingPong is v1 at rest behind the Service ping.
func pingPong(w *sim.World) { pingPongOf(w, func(*v1alpha1.CanaryStrategy) {}) }

func pingPongOf(w *sim.World, edit func(*v1alpha1.CanaryStrategy)) {
	w.AddService(sim.PingService)
	w.AddService(sim.PongService)
	w.AddRouteTo(sim.RouterPlugin, "pp", 100, [2]string{sim.PingService, sim.PongService}, "rule-0")
	ro := sim.PingPong(sim.NewRollout("v1", 4, sim.SetWeight(50), sim.Pause(10)))
	ro.Spec.Strategy.Canary.TrafficRouting.Plugins[sim.RouterPlugin] = sim.Block("pp")
	edit(ro.Spec.Strategy.Canary)
	w.Create(ro)
	w.Rest()
}

// mesh is a second router plugin with a route of its own.
func mesh(w *sim.World) {
	w.Plugins["mesh"] = &sim.Plugin{Installed: true, Up: true, Lag: time.Second}
	w.AddRoute("mesh", "web", 100, "rule-0")
}

func twoRouters(steps []v1alpha1.CanaryStep) *v1alpha1.Rollout {
	ro := sim.NewRollout("v1", 4, steps...)
	ro.Spec.Strategy.Canary.TrafficRouting.Plugins["mesh"] = sim.Block("web")
	return ro
}

// swapServices is an edit that confuses the two Services of the canary, and takes it back when done again.
func swapServices(w *sim.World, what string) {
	w.Edit(what, func(ro *v1alpha1.Rollout) {
		c := ro.Spec.Strategy.Canary
		c.StableService, c.CanaryService = c.CanaryService, c.StableService
	})
}

// namesRoute gives the router another block.
func namesRoute(w *sim.World, what string, block json.RawMessage) {
	w.Edit(what, func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.TrafficRouting.Plugins[sim.RouterPlugin] = block })
}

// routeStories are about what routers do besides weights.
var routeStories = []story{
	{name: "services-swapped", about: "At 50 % somebody confuses the two Services of the canary: both names are where traffic goes, so it is seen which pods they need, and v1 gets its share back.",
		play: func(w *sim.World) {
			atHalf(w)
			swapServices(w, "confuses the Services")
			w.Run(time.Minute)
			w.Abort()
			w.Rest()
			swapServices(w, "corrects the Services")
		}},
	{name: "services-swapped-dynamic", about: "The same at 90 % with dynamicStableScale, and it is corrected without an abort: v1 gets all its pods again, takes everything, and then the names change back.",
		play: func(w *sim.World) {
			ro := sim.NewRollout("v1", 4, sim.SetWeight(90), sim.Pause(0))
			ro.Spec.Strategy.Canary.DynamicStableScale = true
			w.Create(ro)
			w.Rest()
			w.Deploy("v2")
			w.Until("90 % of v2", pausedAt(1))
			swapServices(w, "confuses the Services")
			w.Run(time.Minute)
			swapServices(w, "corrects the Services")
			w.Run(time.Minute)
			w.Resume()
		}},
	{name: "router-back-and-forth", about: "At 50 % the spec names another route, and before the first one is given back its plugin does not answer, the spec returns to the first route, and leaves it again: the first route is still given back.",
		play: func(w *sim.World) {
			w.AddRoute(sim.RouterPlugin, "app-b", 100, "rule-0")
			atHalf(w)
			namesRoute(w, "names the route app-b", sim.Block("app-b"))
			w.Until("the route app is to be given back", func(ro *v1alpha1.Rollout) bool { return len(ro.Status.Canary.Routers) == 2 })
			w.PluginDown(sim.RouterPlugin)
			namesRoute(w, "names the route app", sim.Block("app"))
			w.Run(time.Second)
			namesRoute(w, "names the route app-b", sim.Block("app-b"))
			w.Run(time.Second)
			w.PluginUp(sim.RouterPlugin)
			w.Run(time.Minute)
			w.Resume()
		}},
	{name: "service-named-twice", about: "At 50 % somebody removes one of two routers and names one Service for both in the same edit: nobody can be asked for anything, and nothing is given back, until it is corrected.",
		play: func(w *sim.World) {
			mesh(w)
			w.Create(twoRouters(half()))
			w.Rest()
			w.Deploy("v2")
			w.Until("50 % of v2", pausedAt(1))
			w.Edit("removes the router mesh and names one Service for both", func(ro *v1alpha1.Rollout) {
				delete(ro.Spec.Strategy.Canary.TrafficRouting.Plugins, "mesh")
				ro.Spec.Strategy.Canary.CanaryService = sim.StableService
			})
			w.Run(time.Minute)
			w.Edit("corrects the Service", func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.CanaryService = sim.CanaryService })
			w.Rest()
			w.Resume()
		}},
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
	{name: "ping-pong", about: "Two updates in a row with ping-pong: the Services change roles at each promotion, and no selector moves while it carries traffic.",
		play: func(w *sim.World) {
			pingPong(w)
			w.Deploy("v2")
			w.Rest()
			w.Deploy("v3")
		}},
	{name: "ping-pong-left-split", about: "v2 was promoted as blue-green, where the names of a ping-pong stay behind, and the strategy is canary again while the pods of v2 crash. The route it names first is edited by hand and given up, and there are to be more pods. The pods of v1 could not take all of it, so the stable name moves to v2, and then the route is given back.",
		play: func(w *sim.World) {
			w.AddRouteTo(sim.RouterPlugin, "pp-b", 100, [2]string{sim.PingService, sim.PongService}, "rule-0")
			pingPong(w)
			canary := w.Rollout().Spec.Strategy.DeepCopy()
			w.Deploy("v2")
			w.Until("50 % of v2", pausedAt(1))
			w.UseStrategy("blue-green", sim.NewBlueGreen("", 4, func(bg *v1alpha1.BlueGreenStrategy) { bg.ScaleDownDelaySeconds = new(int32(600)) }).Spec.Strategy)
			w.Run(time.Minute)
			canary.Canary.TrafficRouting.Plugins[sim.RouterPlugin] = sim.Block("pp-b")
			w.Crash("v2")
			w.Run(time.Second)
			w.UseStrategy("canary", *canary)
			w.Run(time.Second)
			w.EditRoute("pp-b", 0, 72, 28)
			w.Run(time.Second)
			namesRoute(w, "names the route pp instead of pp-b", sim.Block("pp"))
			w.Run(time.Second)
			w.Scale(6)
			w.Recover("v2")
		}},
	{name: "ping-pong-abort", about: "With ping-pong, an update is aborted at 50 %, and another one replaces it.",
		play: func(w *sim.World) {
			pingPong(w)
			w.Deploy("v2")
			w.Until("50 % of v2", func(ro *v1alpha1.Rollout) bool { return ro.Status.Canary.Weights.Canary.Weight == 50 })
			w.Abort()
			w.Run(time.Minute)
			w.Deploy("v3")
			w.Rest()
			w.Deploy("v1")
		}},
	{name: "ping-pong-dynamic", about: "With ping-pong and dynamicStableScale each update leaves its pods where they are when the roles change; an abort at 50 % brings the pods of stable back before its traffic.",
		play: func(w *sim.World) {
			pingPongOf(w, func(c *v1alpha1.CanaryStrategy) { c.DynamicStableScale = true })
			w.Deploy("v2")
			w.Rest()
			w.Deploy("v3")
			w.Until("50 % of v3", pausedAt(1))
			w.Run(3 * time.Second)
			w.Abort()
			w.Rest()
			w.Deploy("v4")
		}},
	{name: "router-unobserved", about: "A router that cannot be observed: what it is asked for is in status first, and what it acknowledged counts until it acknowledges something else. It is asked again every 10 s until its data plane follows.",
		play: func(w *sim.World) {
			w.Plugins[sim.RouterPlugin].Blind, w.Plugins[sim.RouterPlugin].Lag = true, 25*time.Second
			running(w, "v1", []v1alpha1.CanaryStep{sim.HeaderRoute("beta", "beta"), sim.SetWeight(50), sim.Pause(0)})
			w.Deploy("v2")
			w.Until("the pause", pausedAt(2))
			w.Plugins[sim.RouterPlugin].Refuse = 2
			w.Abort()
		}},
	{name: "router-unobserved-removed", about: "A router that cannot be observed is taken out of the spec: it is asked to leave, once the other one has the traffic.",
		play: func(w *sim.World) {
			mesh(w)
			w.Plugins["mesh"].Blind = true
			running(w, "v1", half())
			w.Edit("adds the router mesh", func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.TrafficRouting.Plugins["mesh"] = sim.Block("web") })
			w.Run(10 * time.Second)
			w.Deploy("v2")
			w.Until("50 % of v2", pausedAt(1))
			w.Edit("removes the router mesh", func(ro *v1alpha1.Rollout) { delete(ro.Spec.Strategy.Canary.TrafficRouting.Plugins, "mesh") })
			w.Run(10 * time.Second)
			w.Resume()
		}},
	{name: "places-shortened", about: "The list of places of one route is shortened at 50 %: the one that is left out returns to stable once, the other keeps its weight. An edit that brings another one in ends the same way.",
		play: func(w *sim.World) {
			w.AddRoute(sim.RouterPlugin, "shop", 100, "a", "b", "c")
			ro := sim.NewRollout("v1", 4, half()...)
			ro.Spec.Strategy.Canary.TrafficRouting.Plugins[sim.RouterPlugin] = sim.BlockOf("shop", "a", "b")
			w.Create(ro)
			w.Rest()
			w.Deploy("v2")
			w.Until("50 % of v2", pausedAt(1))
			namesRoute(w, "leaves out b", sim.BlockOf("shop", "a"))
			w.Run(time.Minute)
			namesRoute(w, "names c instead of a", sim.BlockOf("shop", "c"))
			w.Run(time.Minute)
			w.Resume()
		}},
	{name: "two-routers", about: "One of two routers refuses the weight: the other one has it already, and the step waits for both. An abort takes the traffic back from the one that can.",
		play: func(w *sim.World) {
			mesh(w)
			w.Create(twoRouters(half()))
			w.Rest()
			w.Deploy("v2")
			w.Plugins["mesh"].Refuse = 3
			w.Until("50 % of v2", pausedAt(1))
			w.PluginDown("mesh")
			w.Run(time.Second)
			w.Abort()
			w.Run(time.Minute)
			w.PluginUp("mesh")
		}},
	{name: "service-taken", about: "The canary Service belongs to another Rollout: the update names it and does not begin, until the Service is free.",
		play: func(w *sim.World) {
			running(w, "v1", half())
			w.Take(sim.CanaryService, "other")
			w.Deploy("v2")
			w.Run(time.Minute)
			w.Take(sim.CanaryService, "")
			w.Until("50 % of v2", pausedAt(1))
			w.Resume()
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
