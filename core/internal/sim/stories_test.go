package sim_test

import (
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

type story struct {
	name, about string
	options     sim.Options
	play        func(*sim.World)
}

// demo are the steps of the canary that `make demo` shows.
func demo() []v1alpha1.CanaryStep {
	return []v1alpha1.CanaryStep{sim.SetWeight(10), sim.Pause(10), sim.Analysis(), sim.SetWeight(25), sim.Pause(10),
		sim.SetWeight(50), sim.Pause(10), sim.SetWeight(100), sim.Pause(10)}
}

// half stops at 50 % until somebody goes on.
func half() []v1alpha1.CanaryStep {
	return []v1alpha1.CanaryStep{sim.SetWeight(50), sim.Pause(0), sim.SetWeight(100)}
}

func running(w *sim.World, version string, steps []v1alpha1.CanaryStep) {
	w.Create(sim.NewRollout(version, 4, steps...))
	w.Rest()
}

func pausedAt(step int32) func(*v1alpha1.Rollout) bool {
	return func(ro *v1alpha1.Rollout) bool {
		return len(ro.Status.PauseConditions) > 0 && ro.Status.CurrentStepIndex != nil && *ro.Status.CurrentStepIndex == step
	}
}

func failing(*v1alpha1.AnalysisRun) sim.Verdict {
	return sim.Verdict{Phase: v1alpha1.AnalysisPhaseFailed, Message: "metric success-rate is 0.71", After: 3 * time.Second}
}

func atHalf(w *sim.World) {
	running(w, "v1", half())
	w.Deploy("v2")
	w.Until("50 % of v2", pausedAt(1))
}

var stories = []story{
	{name: "create", about: "The first deployment: pods first, then the Services select them; no step is played.",
		play: func(w *sim.World) { running(w, "v1", demo()) }},
	{name: "healthy-canary", about: "A healthy update goes through all steps; each weight comes after the pods for it, the old pods go last.",
		play: func(w *sim.World) { running(w, "v1", demo()); w.Deploy("v2") }},
	{name: "pause-resume", about: "A pause without a duration waits for a person.",
		play: func(w *sim.World) { atHalf(w); w.Run(time.Minute); w.Resume() }},
	{name: "abort-by-analysis", about: "A failed analysis gives up the update: traffic first, selectors second, pods last.",
		options: sim.Options{Verdict: failing},
		play:    func(w *sim.World) { running(w, "v1", demo()); w.Deploy("v2") }},
	{name: "abort-by-user", about: "A person aborts at 50 %.",
		play: func(w *sim.World) { atHalf(w); w.Abort() }},
	{name: "retry", about: "A person aborts, and starts the update again from the first step.",
		play: func(w *sim.World) {
			atHalf(w)
			w.Abort()
			w.Run(5 * time.Second)
			w.Retry()
			w.Until("50 % again", pausedAt(1))
			w.Resume()
		}},
	{name: "retry-after-scale-down", about: "The retry comes when the pods of the aborted version are gone.",
		play: func(w *sim.World) {
			atHalf(w)
			w.Abort()
			w.Rest()
			w.Retry()
			w.Until("50 % again", pausedAt(1))
			w.Resume()
		}},
	{name: "plugin-down", about: "The router plugin goes away at 50 %: nothing moves until it is back.",
		play: func(w *sim.World) {
			atHalf(w)
			w.PluginDown(sim.RouterPlugin)
			w.Run(time.Minute)
			w.Resume()
			w.Run(time.Minute)
			w.PluginUp(sim.RouterPlugin)
		}},
	{name: "plugin-down-abort", about: "An abort while the router plugin is away waits for it: pods stay, and traffic moves at once when it is back.",
		play: func(w *sim.World) {
			atHalf(w)
			w.PluginDown(sim.RouterPlugin)
			w.Run(time.Second)
			w.Abort()
			w.Run(time.Minute)
			w.PluginUp(sim.RouterPlugin)
		}},
	{name: "plugin-missing", about: "The router plugin is not installed: nothing is created until it is.",
		play: func(w *sim.World) {
			w.Plugins[sim.RouterPlugin].Installed = false
			running(w, "v1", demo())
			w.Run(time.Minute)
			w.PluginUp(sim.RouterPlugin)
		}},
	{name: "service-missing", about: "A Service does not exist: the message names it, nothing moves, and it goes on when it appears.",
		play: func(w *sim.World) {
			w.DeleteService(sim.CanaryService)
			running(w, "v1", demo())
			w.Run(time.Minute)
			w.AddService(sim.CanaryService)
		}},
	{name: "template-missing", about: "An update names an analysis template that does not exist: v1 goes on serving and can be scaled.",
		play: func(w *sim.World) {
			running(w, "v1", half())
			w.Edit("deploys v2 with an analysis that does not exist", func(ro *v1alpha1.Rollout) {
				ro.Spec.Template = sim.PodTemplate("v2")
				step := sim.Analysis()
				step.Analysis.Templates[0].TemplateName = "latency"
				ro.Spec.Strategy.Canary.Steps = []v1alpha1.CanaryStep{sim.SetWeight(50), step}
			})
			w.Run(10 * time.Second)
			w.Scale(6)
			w.Run(time.Minute)
			w.AddTemplate("latency")
		}},
	{name: "invalid-and-scaled", about: "The spec becomes invalid at 50 %, and an autoscaler asks for more pods: both versions follow.",
		play: func(w *sim.World) {
			atHalf(w)
			w.Edit("forgets that weights end at 100", func(ro *v1alpha1.Rollout) {
				ro.Spec.Strategy.Canary.Steps = append(ro.Spec.Strategy.Canary.Steps, sim.SetWeight(101))
			})
			w.Run(10 * time.Second)
			w.Scale(10)
			w.Run(time.Minute)
			w.Edit("removes the mistake", func(ro *v1alpha1.Rollout) {
				steps := ro.Spec.Strategy.Canary.Steps
				ro.Spec.Strategy.Canary.Steps = steps[:len(steps)-1]
			})
			w.Run(time.Minute)
			w.Resume()
		}},
	{name: "abort-after-typo", about: "At 50 % somebody mistypes the canary Service, then aborts: traffic goes back all the same.",
		play: func(w *sim.World) {
			atHalf(w)
			w.Edit("mistypes the canary Service", func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.CanaryService = "canry" })
			w.Run(10 * time.Second)
			w.Abort()
			w.Run(time.Minute)
			w.Edit("corrects it", func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.CanaryService = sim.CanaryService })
		}},
	{name: "scale-during-canary", about: "spec.replicas changes at 50 %: both versions follow, the weight stays.",
		play: func(w *sim.World) {
			atHalf(w)
			w.Scale(10)
			w.Run(10 * time.Second)
			w.Scale(4)
			w.Run(10 * time.Second)
			w.Resume()
		}},
	{name: "supersede", about: "v3 replaces v2 at 50 %: v2 gives its traffic back before v3 gets any.",
		play: func(w *sim.World) {
			atHalf(w)
			w.Deploy("v3")
			w.Until("the step is reset", func(ro *v1alpha1.Rollout) bool { return *ro.Status.CurrentStepIndex == 0 })
			w.Until("50 % of v3", pausedAt(1))
			w.Resume()
		}},
	{name: "rollback", about: "The template goes back to v1 at 50 %: the steps are skipped, v2 gives its traffic back.",
		play: func(w *sim.World) { atHalf(w); w.Deploy("v1") }},
	{name: "manual-edit", about: "Somebody edits the weights by hand during a pause: they are put right at once.",
		play: func(w *sim.World) {
			atHalf(w)
			w.Run(5 * time.Second)
			w.EditRoute("app", 0, 90, 10)
			w.Run(10 * time.Second)
			w.Resume()
		}},
	{name: "promote-full", about: "A person skips what is left: all pods, then all traffic.",
		play: func(w *sim.World) {
			running(w, "v1", demo())
			w.Deploy("v2")
			w.Until("the first pause", pausedAt(1))
			w.PromoteFull()
		}},
	{name: "crash-at-half", about: "All pods of v2 crash at 50 %: its traffic goes back to v1, and returns with the pods.",
		play: func(w *sim.World) {
			atHalf(w)
			w.Crash("v2")
			w.Run(20 * time.Second)
			w.Recover("v2")
			w.Run(20 * time.Second)
			w.Resume()
		}},
	{name: "never-ready", about: "The pods of v2 never become available: no traffic moves, and after ten minutes the rollout says so.",
		play: func(w *sim.World) {
			running(w, "v1", half())
			w.Crash("v2")
			w.Deploy("v2")
		}},
	{name: "user-pause", about: "spec.paused stops an update where it is, and lets it go on.",
		play: func(w *sim.World) {
			running(w, "v1", demo())
			w.Deploy("v2")
			w.Until("the analysis", func(ro *v1alpha1.Rollout) bool { return *ro.Status.CurrentStepIndex == 3 })
			w.SetPaused(true)
			w.Run(time.Minute)
			w.SetPaused(false)
		}},
	{name: "edit-while-down", about: "The route is edited by hand while the plugin is away, and v1 wanted back: pods stay until the truth is known.",
		play: func(w *sim.World) {
			atHalf(w)
			w.PluginDown(sim.RouterPlugin)
			w.EditRoute("app", 0, 80, 20)
			w.Run(time.Second)
			w.Deploy("v1")
			w.Run(2 * time.Minute)
			w.PluginUp(sim.RouterPlugin)
		}},
	{name: "deadline-abort", about: "The pods of v2 never come and progressDeadlineAbort is set: the update is given up.",
		play: func(w *sim.World) {
			running(w, "v1", half())
			w.Edit("sets progressDeadlineAbort after 60 s", func(ro *v1alpha1.Rollout) {
				seconds := int32(60)
				ro.Spec.ProgressDeadlineSeconds, ro.Spec.ProgressDeadlineAbort = &seconds, true
			})
			w.Crash("v2")
			w.Deploy("v2")
		}},
	{name: "scale-to-zero", about: "spec.replicas is 0: an update goes through without traffic, and serves when it is scaled up.",
		play: func(w *sim.World) {
			running(w, "v1", half())
			w.Scale(0)
			w.Run(time.Minute)
			w.Deploy("v2")
			w.Rest()
			w.Resume()
			w.Rest()
			w.Scale(3)
		}},
	{name: "stable-deleted", about: "Somebody deletes the stable ReplicaSet at 50 %: there is nothing to go back to, so v2 becomes stable when it has its pods.",
		play: func(w *sim.World) {
			atHalf(w)
			w.DeleteReplicaSet("v1")
		}},
	{name: "full-promotion-after-abort", about: "A full promotion overrules an abort.",
		play: func(w *sim.World) { atHalf(w); w.Abort(); w.Run(5 * time.Second); w.PromoteFull() }},
	{name: "router-changed", about: "The Rollout names another route at 50 %: the new one gets the weight, then the old one is given back.",
		play: func(w *sim.World) {
			w.AddRoute(sim.RouterPlugin, "web", 100, "rule-0")
			atHalf(w)
			namesRoute(w, "names the route web instead of app", sim.Block("web"))
			w.Run(10 * time.Second)
			w.Resume()
		}},
	{name: "inconclusive-after-resume", about: "A person resumes a pause before anybody could know that the analysis beside it cannot tell: that is no answer to it, and somebody is asked.",
		options: sim.Options{Verdict: firstInconclusive},
		play: func(w *sim.World) {
			ro := sim.NewRollout("v1", 4, sim.SetWeight(50), sim.Pause(0), sim.SetWeight(80), sim.Pause(0))
			ro.Spec.Strategy.Canary.Analysis = &v1alpha1.RolloutAnalysisBackground{RolloutAnalysis: *sim.Analysis().Analysis}
			w.Create(ro)
			w.Rest()
			w.Deploy("v2")
			w.Until("50 % of v2", pausedAt(1))
			w.HideRuns(true)
			w.Run(time.Minute)
			w.Resume()
			w.HideRuns(false)
			w.Rest()
			w.Resume()
		}},
	{name: "weight-mistyped", about: "Somebody mistypes a weight while 50 % have gone to v2 and half of v1's pods with them: the message names the step, and an abort returns all of them step by step all the same.",
		play: func(w *sim.World) {
			dynamicHalf(w)
			w.Edit("sets the weight of the first step to -50", func(ro *v1alpha1.Rollout) {
				ro.Spec.Strategy.Canary.Steps[0] = sim.SetWeight(-50)
			})
			w.Run(10 * time.Second)
			w.Abort()
			w.Rest()
			w.Edit("sets it to 25", func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.Steps[0] = sim.SetWeight(25) })
		}},
	{name: "inconclusive", about: "An analysis cannot tell; a person resumes, and it is run again.",
		options: sim.Options{Verdict: firstInconclusive},
		play: func(w *sim.World) {
			running(w, "v1", []v1alpha1.CanaryStep{sim.SetWeight(50), sim.Analysis(), sim.Pause(0)})
			w.Deploy("v2")
			w.Rest()
			w.Resume()
			w.Rest()
			w.Resume()
		}},
}

func firstInconclusive(run *v1alpha1.AnalysisRun) sim.Verdict {
	v := sim.Verdict{Phase: v1alpha1.AnalysisPhaseSuccessful, After: 5 * time.Second}
	if run.Name[len(run.Name)-2] != '.' {
		v.Phase = v1alpha1.AnalysisPhaseInconclusive
	}
	return v
}
