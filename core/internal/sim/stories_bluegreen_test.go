package sim_test

import (
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// blueGreen deploys v1.
func blueGreen(w *sim.World, edit func(*v1alpha1.BlueGreenStrategy)) {
	w.Create(sim.NewBlueGreen("v1", 3, edit))
	w.Rest()
}

func manual(bg *v1alpha1.BlueGreenStrategy) { bg.AutoPromotionEnabled = new(bool) }

func analysed(bg *v1alpha1.BlueGreenStrategy) {
	bg.PrePromotionAnalysis, bg.PostPromotionAnalysis = sim.Analysis().Analysis, sim.Analysis().Analysis
}

func promotable(ro *v1alpha1.Rollout) bool {
	return len(ro.Status.PauseConditions) > 0 && ro.Status.PauseConditions[0].Reason == v1alpha1.PauseReasonBlueGreenPause
}

// failingAt fails the runs of one kind.
func failingAt(kind string) func(*v1alpha1.AnalysisRun) sim.Verdict {
	return func(run *v1alpha1.AnalysisRun) sim.Verdict {
		if run.Labels[v1alpha1.LabelRolloutType] == kind {
			return failing(run)
		}
		return sim.Verdict{Phase: v1alpha1.AnalysisPhaseSuccessful, After: 5 * time.Second}
	}
}

func active(hashOf string, w *sim.World) func(*v1alpha1.Rollout) bool {
	return func(ro *v1alpha1.Rollout) bool {
		return ro.Status.BlueGreen.ActiveSelector != "" && w.VersionOf(ro.Status.BlueGreen.ActiveSelector) == hashOf
	}
}

var blueGreenStories = []story{
	{name: "bluegreen-create", about: "The first blue-green deployment: pods first, then users reach them.",
		play: func(w *sim.World) { blueGreen(w, nil) }},
	{name: "bluegreen-update", about: "Blue-green: v2 comes up beside v1, users are switched at once, v1 goes after its delay.",
		play: func(w *sim.World) { blueGreen(w, nil); w.Deploy("v2") }},
	{name: "bluegreen-manual", about: "The preview of v2 waits until a person promotes it.",
		play: func(w *sim.World) {
			blueGreen(w, manual)
			w.Deploy("v2")
			w.Until("v2 waits", promotable)
			w.Run(time.Minute)
			w.Resume()
		}},
	{name: "bluegreen-timed", about: "The preview of v2 waits for 20 s, then users are switched.",
		play: func(w *sim.World) {
			blueGreen(w, func(bg *v1alpha1.BlueGreenStrategy) { bg.AutoPromotionSeconds = 20 })
			w.Deploy("v2")
		}},
	{name: "bluegreen-analysed", about: "v2 is analysed before and after the switch, and becomes stable after both.",
		play: func(w *sim.World) { blueGreen(w, analysed); w.Deploy("v2") }},
	{name: "bluegreen-pre-fails", about: "The analysis before the switch fails: no user has seen v2, and its pods go.",
		options: sim.Options{Verdict: failingAt(v1alpha1.RolloutTypePrePromotion)},
		play:    func(w *sim.World) { blueGreen(w, analysed); w.Deploy("v2") }},
	{name: "bluegreen-post-fails", about: "The analysis after the switch fails: users go back to v1, which kept all its pods.",
		options: sim.Options{Verdict: failingAt(v1alpha1.RolloutTypePostPromotion)},
		play:    func(w *sim.World) { blueGreen(w, analysed); w.Deploy("v2") }},
	{name: "bluegreen-inconclusive", about: "The analysis before the switch cannot tell; a person resumes, and it is run again.",
		options: sim.Options{Verdict: firstInconclusive},
		play: func(w *sim.World) {
			blueGreen(w, func(bg *v1alpha1.BlueGreenStrategy) { analysed(bg); bg.PostPromotionAnalysis = nil; manual(bg) })
			w.Deploy("v2")
			w.Rest()
			w.Resume()
			w.Rest()
			w.Resume()
		}},
	{name: "bluegreen-fast-rollback", about: "v1 is wanted back while it is still in its scale-down delay: no pause, no analysis.",
		play: func(w *sim.World) {
			blueGreen(w, func(bg *v1alpha1.BlueGreenStrategy) { analysed(bg); manual(bg) })
			w.Deploy("v2")
			w.Until("v2 waits", promotable)
			w.Resume()
			w.Until("v2 is stable", func(ro *v1alpha1.Rollout) bool { return ro.Status.Phase == v1alpha1.RolloutPhaseHealthy })
			w.Run(5 * time.Second)
			w.Deploy("v1")
		}},
	{name: "bluegreen-late-rollback", about: "v1 is wanted back when its pods are gone: it is an update like any other.",
		play: func(w *sim.World) {
			blueGreen(w, manual)
			w.Deploy("v2")
			w.Until("v2 waits", promotable)
			w.Resume()
			w.Rest()
			w.Deploy("v1")
			w.Until("v1 waits", promotable)
			w.Resume()
		}},
	{name: "bluegreen-preview-count", about: "The preview has one pod until it is promoted; then it grows, then users are switched.",
		play: func(w *sim.World) {
			one := int32(1)
			blueGreen(w, func(bg *v1alpha1.BlueGreenStrategy) {
				manual(bg)
				bg.PreviewReplicaCount, bg.PrePromotionAnalysis = &one, sim.Analysis().Analysis
			})
			w.Deploy("v2")
			w.Until("v2 waits", promotable)
			w.Run(10 * time.Second)
			w.Resume()
		}},
	{name: "bluegreen-superseded", about: "v3 comes while v2 waits to be promoted: v3 waits in its place.",
		play: func(w *sim.World) {
			blueGreen(w, manual)
			w.Deploy("v2")
			w.Until("v2 waits", promotable)
			w.Run(5 * time.Second)
			w.Deploy("v3")
			w.Until("the pause of v2 is over", func(ro *v1alpha1.Rollout) bool { return !promotable(ro) })
			w.Until("v3 waits", promotable)
			w.Resume()
		}},
	{name: "bluegreen-superseded-after-switch", about: "v3 comes while v2 is being analysed after the switch: v2 serves until v3 can.",
		play: func(w *sim.World) {
			blueGreen(w, func(bg *v1alpha1.BlueGreenStrategy) { bg.PostPromotionAnalysis = sim.Analysis().Analysis })
			w.Deploy("v2")
			w.Until("users reach v2", active("v2", w))
			w.Deploy("v3")
		}},
	{name: "bluegreen-abort-retry", about: "A person aborts v2 before the switch, and retries: it waits to be promoted again.",
		play: func(w *sim.World) {
			blueGreen(w, manual)
			w.Deploy("v2")
			w.Until("v2 waits", promotable)
			w.Abort()
			w.Rest()
			w.Retry()
			w.Until("v2 waits again", promotable)
			w.Resume()
		}},
	{name: "bluegreen-abort-keeps", about: "abortScaleDownDelaySeconds is 0: the aborted preview stays for good.",
		play: func(w *sim.World) {
			blueGreen(w, func(bg *v1alpha1.BlueGreenStrategy) { manual(bg); bg.AbortScaleDownDelaySeconds = new(int32) })
			w.Deploy("v2")
			w.Until("v2 waits", promotable)
			w.Abort()
		}},
	{name: "bluegreen-promote-full", about: "A full promotion skips analyses and pause, but not the pods.",
		play: func(w *sim.World) {
			blueGreen(w, func(bg *v1alpha1.BlueGreenStrategy) { analysed(bg); manual(bg) })
			w.Deploy("v2")
			w.Until("v2 is analysed", func(ro *v1alpha1.Rollout) bool {
				run := ro.Status.BlueGreen.PrePromotionAnalysisRunStatus
				return run != nil && run.Status == v1alpha1.AnalysisPhaseRunning
			})
			w.PromoteFull()
		}},
	{name: "bluegreen-two-strategies", about: "A manifest names a canary as well while v2 is analysed: nobody can say by which rules to go on, so everything stays, the analysis too. It counts when the mistake is corrected.",
		play: func(w *sim.World) {
			blueGreen(w, analysed)
			w.Deploy("v2")
			w.Until("v2 is analysed", func(ro *v1alpha1.Rollout) bool {
				run := ro.Status.BlueGreen.PrePromotionAnalysisRunStatus
				return run != nil && run.Status == v1alpha1.AnalysisPhaseRunning
			})
			w.Edit("names a canary as well", func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{} })
			w.Run(time.Minute)
			w.Edit("corrects the mistake", func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary = nil })
		}},
	{name: "bluegreen-user-pause", about: "spec.paused keeps users where they are; the preview comes up all the same.",
		play: func(w *sim.World) {
			blueGreen(w, nil)
			w.SetPaused(true)
			w.Deploy("v2")
			w.Run(time.Minute)
			w.SetPaused(false)
		}},
	{name: "bluegreen-scale", about: "spec.replicas changes while v2 waits, and again in the scale-down delay: every revision follows.",
		play: func(w *sim.World) {
			blueGreen(w, manual)
			w.Deploy("v2")
			w.Until("v2 waits", promotable)
			w.Scale(5)
			w.Run(10 * time.Second)
			w.Resume()
			w.Until("v2 is stable", func(ro *v1alpha1.Rollout) bool { return ro.Status.Phase == v1alpha1.RolloutPhaseHealthy })
			w.Run(5 * time.Second)
			w.Scale(4)
		}},
	{name: "bluegreen-to-zero", about: "spec.replicas is 0: an update goes through without pods, and serves when it is scaled up.",
		play: func(w *sim.World) {
			blueGreen(w, nil)
			w.Scale(0)
			w.Run(time.Minute)
			w.Deploy("v2")
			w.Rest()
			w.Scale(3)
		}},
	{name: "canary-to-bluegreen", about: "At 50 % of a canary the strategy becomes blue-green: the weight goes back to v1 first, then v2 is a preview.",
		play: func(w *sim.World) {
			atHalf(w)
			w.UseStrategy("blue-green", sim.NewBlueGreen("", 4, manual).Spec.Strategy)
			w.Until("v2 waits", promotable)
			w.Run(5 * time.Second)
			w.Resume()
		}},
	{name: "canary-to-bluegreen-same-service", about: "The canary's stable Service becomes the active one.",
		play: func(w *sim.World) {
			atHalf(w)
			w.UseStrategy("blue-green", sim.NewBlueGreen("", 4, func(bg *v1alpha1.BlueGreenStrategy) {
				bg.ActiveService, bg.PreviewService = sim.StableService, sim.CanaryService
			}).Spec.Strategy)
		}},
	{name: "canary-to-bluegreen-unasked", about: "A canary with two routers never gets to ask the one, because the other is not installed. Somebody gives the canary's Service weight by hand, and the strategy becomes blue-green: the weight is given back all the same, and the pods behind that Service stay until then.",
		play: func(w *sim.World) {
			mesh(w)
			w.PluginDown("mesh")
			w.Create(twoRouters(half()))
			w.Run(10 * time.Second)
			w.EditRoute("app", 0, 40, 60)
			w.Run(10 * time.Second)
			w.UseStrategy("blue-green", sim.NewBlueGreen("", 4, func(bg *v1alpha1.BlueGreenStrategy) {
				bg.ActiveService, bg.PreviewService = sim.StableService, sim.CanaryService
			}).Spec.Strategy)
		}},
	{name: "bluegreen-to-canary", about: "While v2 waits to be promoted the strategy becomes a canary with the same Service: v2 starts at the first step.",
		play: func(w *sim.World) {
			blueGreen(w, func(bg *v1alpha1.BlueGreenStrategy) { manual(bg); bg.ActiveService = sim.StableService })
			w.Deploy("v2")
			w.Until("v2 waits", promotable)
			w.UseStrategy("canary", sim.NewRollout("", 3, half()...).Spec.Strategy)
			w.Until("50 % of v2", pausedAt(1))
			w.Resume()
		}},
	{name: "bluegreen-to-canary-after-switch", about: "Users reach v2 and it is not stable yet when the strategy becomes a canary: they go back to v1, and v2 starts at the first step.",
		play: func(w *sim.World) {
			blueGreen(w, func(bg *v1alpha1.BlueGreenStrategy) {
				bg.PostPromotionAnalysis, bg.ActiveService = sim.Analysis().Analysis, sim.StableService
			})
			w.Deploy("v2")
			w.Until("users reach v2", active("v2", w))
			w.UseStrategy("canary", sim.NewRollout("", 3, half()...).Spec.Strategy)
			w.Until("50 % of v2", pausedAt(1))
			w.Resume()
		}},
}
