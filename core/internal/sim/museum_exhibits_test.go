package sim_test

import (
	"slices"
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// Scenes.

func deployed(w *sim.World) { running(w, "v1", demo()); w.Deploy("v2") }

func abortedAtHalf(w *sim.World) { atHalf(w); w.Abort() }

func supersededAtHalf(w *sim.World) {
	atHalf(w)
	w.Deploy("v3")
	w.Until("50 % of v3", pausedAt(1))
}

// recreated is a Service that somebody deletes and creates anew: it selects
// every pod, as before its first adoption.
func recreated(w *sim.World) {
	w.DeleteService(sim.StableService)
	w.AddService(sim.StableService)
}

var museum = []exhibit{
	{issue: "AR#2050", about: "110 stable pods went to 0 when the last step was reached, while routes still pointed at them",
		play: func(w *sim.World) { atHalf(w); w.Resume() }, caught: "breaks I3",
		does: func(s *rollout.Snapshot, plan *rollout.Plan) {
			if atEnd(s) || updating(s) && len(s.Rollout.Status.PauseConditions) == 0 && s.HashWeight(s.Rollout.Status.StableRS) == 50 {
				scale(plan, stable(s), 0)
			}
		}},
	{issue: "AR#2235", about: "all weight returned to a stable revision that had no pod left",
		play: func(w *sim.World) {
			atHalf(w)
			w.Crash("v1")
			w.Run(time.Second)
			w.Abort()
			w.Run(time.Minute)
			w.Recover("v1")
		}, caught: "breaks I2",
		believes: func(s *rollout.Snapshot) { believeAvailable(stable(s)) }},
	{issue: "AR#1777", about: "the selector moved when 1 of 100 pods was there",
		play: func(w *sim.World) {
			running(w, "v1", half())
			w.KillPod("v1")
			recreated(w)
		}, caught: "breaks I6",
		believes: func(s *rollout.Snapshot) { believeAvailable(stable(s)) }},
	{issue: "AR#1731", about: "a Service got the hash of a revision before any of its pods existed",
		play: func(w *sim.World) {
			running(w, "v1", half())
			w.Crash("v1")
			recreated(w)
			w.Run(time.Minute)
			w.Recover("v1")
		}, caught: "breaks I6",
		believes: func(s *rollout.Snapshot) { believeAvailable(stable(s)) }},
	{issue: "AR#3941", about: "a rollback window jumped to 100 % on a revision that was not up",
		play: deployed, caught: "breaks I6",
		believes: func(s *rollout.Snapshot) {
			if updating(s) {
				believePods(wanted(s), 4)
			}
		}},
	{issue: "AR#4564", about: "the canary subset was re-labelled milliseconds before its weight was 0",
		play: supersededAtHalf, caught: "breaks I6",
		believes: func(s *rollout.Snapshot) {
			if at := s.ServiceHash(sim.CanaryService); updating(s) && at != "" && at != s.Rollout.Status.CurrentPodHash {
				believeWeight(s, 0)
			}
		}},
	{issue: "AR#4564 subsets", about: "a third revision got the subset that the second still had half of the traffic on",
		does: func(s *rollout.Snapshot, plan *rollout.Plan) {
			for i, op := range plan.Ops {
				if o, ok := op.(rollout.RouteTraffic); ok && len(o.Desired.Destinations) == 2 && rollout.Available(s.ByHash(plan.Hash)) > 0 {
					o.Desired.Destinations = slices.Clone(o.Desired.Destinations)
					o.Desired.Destinations[1].Hash = plan.Hash
					plan.Ops[i] = o
				}
			}
		},
		play: func(w *sim.World) {
			subsetsAtHalf(w)
			w.Plugins[sim.RouterPlugin].Refuse = 20
			w.Deploy("v3")
		},
		caught: "the plan breaks I6"},
	{issue: "AR#4775", about: "a new revision without pods was skipped by the guard, and its name moved to nothing",
		play: supersededAtHalf, caught: "breaks I6",
		believes: func(s *rollout.Snapshot) {
			if updating(s) && rollout.Available(wanted(s)) == 0 {
				believePods(wanted(s), 2)
			}
		}},
	{issue: "AR#4612", about: "the name still reached a canary sized for 10 % when it got 75 %",
		play: func(w *sim.World) {
			running(w, "v1", []v1alpha1.CanaryStep{sim.SetWeight(10), sim.Pause(0)})
			w.Deploy("v2")
			w.Until("10 % of v2", pausedAt(1))
			w.Edit("deploys v3 at 75 %", func(ro *v1alpha1.Rollout) {
				ro.Spec.Template, ro.Spec.Strategy.Canary.Steps = sim.PodTemplate("v3"), []v1alpha1.CanaryStep{sim.SetWeight(75), sim.Pause(0)}
			})
		}, caught: "breaks I2",
		believes: func(s *rollout.Snapshot) {
			if at := s.ServiceHash(sim.CanaryService); updating(s) && at != "" && at != s.Rollout.Status.StableRS {
				s.Services[sim.CanaryService].Spec.Selector[v1alpha1.LabelPodTemplateHash] = s.Rollout.Status.CurrentPodHash
			}
		}},
	{issue: "AR#4390", about: "the old canary was scaled down though traffic still reached it",
		play: supersededAtHalf, caught: "breaks I3",
		does: func(s *rollout.Snapshot, plan *rollout.Plan) {
			for _, rs := range superseded(s) {
				scale(plan, rs, 0)
			}
		}},
	{issue: "AR#4646", about: "weights were computed of 100 where maxTrafficWeight was 1000",
		play: func(w *sim.World) {
			total := int32(1000)
			w.AddRoute(sim.RouterPlugin, "app-wide", total, "rule-0")
			ro := sim.NewRollout("v1", 4, demo()...)
			ro.Spec.Strategy.Canary.TrafficRouting.MaxTrafficWeight = &total
			ro.Spec.Strategy.Canary.TrafficRouting.Plugins[sim.RouterPlugin] = sim.Block("app-wide")
			w.Create(ro)
			w.Rest()
			w.Deploy("v2")
		}, caught: "breaks I1",
		does: func(_ *rollout.Snapshot, plan *rollout.Plan) {
			for i, op := range plan.Ops {
				if o, ok := op.(rollout.RouteTraffic); ok {
					o.Desired.Destinations = []rollout.Destination{{Role: rollout.RoleStable, Service: sim.StableService, Weight: 90},
						{Role: rollout.RoleCanary, Service: sim.CanaryService, Weight: 10}}
					plan.Ops[i] = o
				}
			}
		}},
	{issue: "AR#4752", about: "the data plane was seconds behind, and the rollout went on as if it were not",
		play: deployed, caught: "oracle S5", options: sim.Options{Latency: time.Second},
		believes: func(s *rollout.Snapshot) {
			for i := range s.Routers {
				s.Routers[i].Observation.Convergence = rollout.ConvergenceDone
			}
		}},
	{issue: "AR#4926", about: "a revision became stable as soon as its pods were there, before it had all traffic",
		play: func(w *sim.World) { atHalf(w); w.PromoteFull() }, caught: "breaks I4",
		does: func(s *rollout.Snapshot, plan *rollout.Plan) {
			if rs := wanted(s); updating(s) && rollout.Available(rs) == s.Replicas() {
				plan.Transition = rollout.Transition{Kind: rollout.TransitionPromote, Index: plan.Transition.Index}
			}
		}},
	{issue: "AR#1283", about: "the stable selector moved to the new pods while the old name still carried weight",
		play: func(w *sim.World) { atHalf(w); w.Resume() }, caught: "breaks I6",
		does: func(s *rollout.Snapshot, plan *rollout.Plan) {
			if updating(s) && rollout.Available(wanted(s)) == s.Replicas() {
				pointAt(s, plan, sim.StableService, wanted(s))
			}
		}},
	{issue: "AR#4841", about: "after an abort the weight never returned",
		play: abortedAtHalf, caught: "at rest in a state nobody ends",
		does: func(s *rollout.Snapshot, plan *rollout.Plan) {
			if s.Rollout.Status.Abort {
				drop(plan, routes)
			}
		}},
	{issue: "AR#4867", about: "an abort scaled the canary down before its traffic had left",
		play: abortedAtHalf, caught: "breaks I3",
		does: func(s *rollout.Snapshot, plan *rollout.Plan) {
			if s.Rollout.Status.Abort {
				scale(plan, wanted(s), 0)
			}
		}},
	{issue: "AR#3774", about: "a second abort ignored abortScaleDownDelaySeconds",
		play: abortedAtHalf, caught: "breaks I4",
		does: func(s *rollout.Snapshot, plan *rollout.Plan) {
			if s.Rollout.Status.Abort && deadlineAhead(s, wanted(s)) {
				scale(plan, wanted(s), 0)
			}
		}},
	{issue: "AR#4973", about: "an aborted canary grew when an autoscaler raised spec.replicas",
		play: func(w *sim.World) { abortedAtHalf(w); w.Run(time.Second); w.Scale(8) }, caught: "breaks I5",
		does: func(s *rollout.Snapshot, plan *rollout.Plan) {
			if s.Rollout.Status.Abort && s.Replicas() == 8 {
				scale(plan, wanted(s), 8)
			}
		}},
	{issue: "AR#1292", about: "an abort with no update under way scaled the stable revision to 0",
		play: func(w *sim.World) { running(w, "v1", half()); w.Abort() }, caught: "breaks I3",
		does: func(s *rollout.Snapshot, plan *rollout.Plan) {
			if s.Rollout.Status.Abort {
				scale(plan, wanted(s), 0)
			}
		}},
	{issue: "AR#4461", about: "an abort after a full promotion had no effect",
		play: func(w *sim.World) { atHalf(w); w.PromoteFull(); w.Abort() }, caught: "breaks I5",
		believes: func(s *rollout.Snapshot) {
			if s.Rollout.Status.PromoteFull {
				s.Rollout.Status.Abort = false
			}
		}},
	{issue: "AR#2929", about: "an aborted rollout started again by itself",
		play: abortedAtHalf, caught: "breaks I5",
		does: func(s *rollout.Snapshot, plan *rollout.Plan) {
			if s.Rollout.Status.Abort && s.Rollout.Status.AbortedAt != nil {
				plan.Transition = rollout.Transition{Kind: rollout.TransitionRetry, Index: new(int32)}
			}
		}},
	{issue: "AR#4070", about: "steps were jumped over",
		play: deployed, caught: "breaks I7",
		does: func(_ *rollout.Snapshot, plan *rollout.Plan) {
			if t := &plan.Transition; t.Kind == rollout.TransitionStep {
				next := *t.Index + 1
				t.Index = &next
			}
		}},
	{issue: "AR#720", about: "a pause began again when somebody had ended it",
		play: func(w *sim.World) { atHalf(w); w.Finish() }, caught: "nothing a person does makes it healthy",
		does: func(s *rollout.Snapshot, plan *rollout.Plan) {
			st := s.Rollout.Status
			if st.ControllerPause && len(st.PauseConditions) == 0 {
				plan.Transition = rollout.Transition{Kind: rollout.TransitionPause, Index: st.CurrentStepIndex, Pause: v1alpha1.PauseReasonCanaryPauseStep}
			}
		}},
	{issue: "AR#4694", about: "a wake-up was lost, and the rollout stayed paused for ever",
		play: deployed, caught: "at rest in a state nobody ends",
		does: func(_ *rollout.Snapshot, plan *rollout.Plan) { plan.Wake = time.Time{} }},
	{issue: "AR#2982", about: "1,000 reconciles a minute with nothing to do",
		play: func(w *sim.World) { running(w, "v1", half()) }, caught: "a hot loop",
		does: func(s *rollout.Snapshot, plan *rollout.Plan) { plan.Wake = s.Now }},
	{issue: "AR#4479", about: "an analysis counted as successful though its measurements had failed",
		play: deployed, options: sim.Options{Verdict: failing}, caught: "oracle S5",
		believes: func(s *rollout.Snapshot) {
			for _, run := range s.AnalysisRuns {
				if run.Status.Phase == v1alpha1.AnalysisPhaseFailed {
					run.Status.Phase = v1alpha1.AnalysisPhaseSuccessful
				}
			}
		}},
	{issue: "AR#1118", about: "a stale cache made a second AnalysisRun, and a third",
		play: deployed, caught: "oracle S13",
		does: func(_ *rollout.Snapshot, plan *rollout.Plan) {
			for _, op := range plan.Ops {
				if o, ok := op.(rollout.CreateAnalysisRun); ok {
					o.Run = o.Run.DeepCopy()
					o.Run.Name += ".1"
					o.OpID += ".1"
					plan.Ops = append(plan.Ops, o)
				}
			}
		}},
	{issue: "AR#1690", about: "a superseded revision kept its pods for ever",
		play: supersededAtHalf, caught: "at rest in a state nobody ends",
		does: func(s *rollout.Snapshot, plan *rollout.Plan) {
			for _, rs := range superseded(s) {
				drop(plan, func(op rollout.Op) bool {
					o, ok := op.(rollout.UpdateReplicaSet)
					return ok && o.Name == rs.Name && o.To == 0
				})
			}
		}},
	{issue: "AR#3918", about: "the plugin could not be asked, and pods went as if its routes carried nothing",
		play: func(w *sim.World) {
			atHalf(w)
			w.PluginDown(sim.RouterPlugin)
			w.Run(time.Second)
			w.Abort()
			w.Run(time.Minute)
			w.PluginUp(sim.RouterPlugin)
		}, caught: "breaks I9",
		believes: func(s *rollout.Snapshot) {
			if s.Rollout.Status.Abort {
				believeWeight(s, 0)
			}
		}},
}
