package sim_test

import (
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// stepPlugin is v1 at rest with an update that calls the plugin at 20 %.
func stepPlugin(w *sim.World, p sim.StepPlugin) *sim.StepPlugin {
	w.StepPlugins[sim.Step] = &p
	running(w, "v1", []v1alpha1.CanaryStep{sim.SetWeight(20), sim.PluginStep(sim.Step), sim.SetWeight(60), sim.Pause(0)})
	return &p
}

// experiment is an update that compares the two versions at 20 %.
func experiment(w *sim.World) {
	running(w, "v1", []v1alpha1.CanaryStep{sim.SetWeight(20), sim.Experiment(5), sim.SetWeight(60), sim.Pause(0)})
	w.Deploy("v2")
}

func failingExperiment(*v1alpha1.Experiment) sim.Verdict {
	return sim.Verdict{Phase: v1alpha1.AnalysisPhaseFailed, Message: "the candidate is slower", After: 8 * time.Second}
}

// stepStories are about steps that others do.
var stepStories = []story{
	{name: "plugin-step", about: "A plugin takes 45 s for its step and is asked every 20 s; the update goes on when it is done.",
		play: func(w *sim.World) {
			stepPlugin(w, sim.StepPlugin{Takes: 45 * time.Second, Requeue: 20 * time.Second})
			w.Deploy("v2")
			w.Until("the pause", pausedAt(3))
			w.Resume()
		}},
	{name: "plugin-step-fails", about: "The plugin's system stumbles, then the step fails: the update is given up. The retry is another attempt; it succeeds, and an abort takes it back.",
		play: func(w *sim.World) {
			p := stepPlugin(w, sim.StepPlugin{Verdict: rollout.StepFailed, Errors: 1})
			w.Deploy("v2")
			w.Until("the abort", func(ro *v1alpha1.Rollout) bool { return ro.Status.Abort })
			w.Rest()
			p.Verdict = ""
			w.Retry()
			w.Until("the pause", pausedAt(3))
			p.Errors = 1
			w.Abort()
		}},
	{name: "plugin-step-missing", about: "The plugin is not installed: nothing starts, and the status says so. It is removed while its step runs: the update waits, and an abort takes the step back when the plugin returns.",
		play: func(w *sim.World) {
			p := stepPlugin(w, sim.StepPlugin{Missing: true, Takes: time.Hour})
			w.Run(10 * time.Second)
			p.Missing = false
			w.PluginChanged()
			w.Rest()
			w.Deploy("v2")
			w.Until("the plugin's step", func(ro *v1alpha1.Rollout) bool { return len(ro.Status.Canary.StepPluginStatuses) > 0 })
			w.Run(time.Second)
			p.Missing = true
			w.PluginChanged()
			w.Run(time.Minute)
			w.Abort()
			w.Run(time.Minute)
			p.Missing = false
			w.PluginChanged()
		}},
	{name: "plugin-step-retried", about: "The plugin is removed while its step runs, and the update is aborted. It returns in the moment of the retry: it is asked to take the step back before the step runs anew.",
		play: func(w *sim.World) {
			p := stepPlugin(w, sim.StepPlugin{Takes: time.Minute})
			w.Deploy("v2")
			w.Until("the plugin's step", func(ro *v1alpha1.Rollout) bool { return len(ro.Status.Canary.StepPluginStatuses) > 0 })
			w.Run(time.Second)
			p.Missing = true
			w.PluginChanged()
			w.Abort()
			w.Run(time.Minute)
			p.Missing = false
			w.PluginChanged()
			w.Retry()
			w.Until("the pause", pausedAt(3))
		}},
	{name: "plugin-step-skipped", about: "Somebody promotes fully while the plugin is at work: its step is ended once. The next update replaces another one in the middle of its step; that is ended too.",
		play: func(w *sim.World) {
			stepPlugin(w, sim.StepPlugin{Takes: time.Hour})
			w.Deploy("v2")
			w.Until("the plugin's step", func(ro *v1alpha1.Rollout) bool { return *ro.Status.CurrentStepIndex == 1 })
			w.Run(5 * time.Second)
			w.PromoteFull()
			w.Rest()
			w.Deploy("v3")
			w.Until("the plugin's step", func(ro *v1alpha1.Rollout) bool { return *ro.Status.CurrentStepIndex == 1 })
			w.Run(5 * time.Second)
			w.Deploy("v2")
			w.Run(5 * time.Second)
			w.Abort()
		}},
	{name: "experiment", about: "An experiment runs both versions side by side, each with 5 % of the traffic; when it succeeds, its weights go first, and the update goes on.",
		play: func(w *sim.World) {
			experiment(w)
			w.Until("the pause", pausedAt(3))
			w.Resume()
		}},
	{name: "experiment-fails", about: "The experiment fails: the update is given up, and the weights of both go back to stable. The retry is another experiment; somebody aborts it in the middle, and traffic leaves its pods before they are told to go.",
		options: sim.Options{Experiment: failingExperiment},
		play: func(w *sim.World) {
			experiment(w)
			w.Until("the abort", func(ro *v1alpha1.Rollout) bool { return ro.Status.Abort })
			w.Rest()
			w.Retry()
			w.Until("weights of the experiment", func(ro *v1alpha1.Rollout) bool {
				return ro.Status.Canary.Weights != nil && len(ro.Status.Canary.Weights.Additional) == 2
			})
			w.Abort()
		}},
	{name: "plugin-step-disabled", about: "The plugin is switched off: its step is over at once.",
		play: func(w *sim.World) {
			stepPlugin(w, sim.StepPlugin{Disabled: true})
			w.Deploy("v2")
			w.Until("the pause", pausedAt(3))
			w.Resume()
		}},
}
