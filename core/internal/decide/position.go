package decide

import (
	"fmt"
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// position decides the one change of position of this pass: abort and retry
// first, then promotion, then the current step.
func (p *planner) position() {
	st := p.ro.Status
	if p.unclear() {
		return
	}
	switch {
	case p.promoted() && p.veto && (st.Abort || st.AbortedAt != nil):
		// The steps may be others than those the index counts: it waits.
		p.move(rollout.Transition{Kind: rollout.TransitionForgetAbort, Index: st.CurrentStepIndex})
	case p.promoted() && (st.Abort || st.AbortedAt != nil):
		p.move(rollout.Transition{Kind: rollout.TransitionForgetAbort, Index: p.end()})
	case p.initial() && (st.Abort || st.AbortedAt != nil):
		p.move(rollout.Transition{Kind: rollout.TransitionForgetAbort, Index: st.CurrentStepIndex})
	case p.aborted() && st.AbortedAt == nil:
		p.move(rollout.Transition{Kind: rollout.TransitionAborted, Index: p.restart()})
	case p.aborted() && st.PromoteFull && !p.veto && !p.ro.Spec.Paused:
		// Full promotion asked for after the abort overrules it.
		p.move(rollout.Transition{Kind: rollout.TransitionSkip, Index: p.end()})
	case p.aborted():
		// Stays aborted until a person retries or the template changes.
	case st.AbortedAt != nil && p.bg != nil && p.departing():
		// scaleBlueGreen() takes the deadline of the abort off first: to a later
		// pass it would look like that of a revision that returns.
	case st.AbortedAt != nil && p.untold():
		// stepPlugins() tells them first: what comes then is another operation.
	case st.AbortedAt != nil:
		p.move(rollout.Transition{Kind: rollout.TransitionRetry, Index: p.restart()})
	case p.failedRun(), p.failedExperiment():
	case p.ro.Spec.Paused || p.veto || p.promoted():
	case p.pausedFor(v1alpha1.PauseReasonInconclusiveAnalysis) != nil && !p.hurried():
		p.hold(rollout.Hold{Reason: rollout.HoldPaused, What: "an analysis could not tell whether the new revision is good",
			EndedBy: "a promote, or an abort"})
	case p.bg != nil:
		p.positionBlueGreen()
	case p.skipping():
		p.move(rollout.Transition{Kind: rollout.TransitionSkip, Index: p.end()})
	case p.step() == nil || p.initial():
		p.promote()
	default:
		p.complete()
	}
	if !p.moved() {
		p.late() // what is done in this pass is not late
	}
}

// restart is the index an abort or a retry goes to.
func (p *planner) restart() *int32 {
	if len(p.steps()) == 0 {
		return nil
	}
	return new(int32)
}

// end is the index behind the last step; nil without steps.
func (p *planner) end() *int32 {
	if len(p.steps()) == 0 {
		return nil
	}
	n := int32(len(p.steps()))
	return &n
}

func (p *planner) skipping() bool {
	return p.hurried() && p.moving() && p.step() != nil
}

// failedRun turns a bad verdict of a current AnalysisRun into an abort or a
// pause, before anything else may use the position.
func (p *planner) failedRun() bool {
	if !p.moving() || p.hurried() {
		return false
	}
	for _, kind := range []string{v1alpha1.RolloutTypeStep, v1alpha1.RolloutTypeBackground,
		v1alpha1.RolloutTypePrePromotion, v1alpha1.RolloutTypePostPromotion} {
		if !p.expected(kind) {
			continue
		}
		run := p.currentRun(kind)
		if run == nil {
			continue
		}
		switch run.Status {
		case v1alpha1.AnalysisPhaseFailed, v1alpha1.AnalysisPhaseError:
			message := analysisTitle[kind] + " analysis phase error/failed"
			if run.Message != "" {
				message += ": " + run.Message
			}
			p.move(rollout.Transition{Kind: rollout.TransitionAbort, Index: p.restart(), Message: message})
			return true
		case v1alpha1.AnalysisPhaseInconclusive:
			if p.pausedFor(v1alpha1.PauseReasonInconclusiveAnalysis) == nil && !(p.resumedInconclusive() && p.told(kind, run.Name)) {
				p.move(rollout.Transition{Kind: rollout.TransitionPause, Index: p.ro.Status.CurrentStepIndex,
					Pause: v1alpha1.PauseReasonInconclusiveAnalysis})
				return true
			}
		}
	}
	return false
}

// late aborts an update that made no progress in time, where the user asked
// for it. A plugin that cannot answer never aborts a rollout.
//
// Nor does time count that the rollout was held up: record starts the deadline
// anew when a hold ends.
func (p *planner) late() {
	if !p.ro.Spec.ProgressDeadlineAbort || !p.moving() || p.aborted() || p.blind || p.veto || p.ro.Spec.Paused ||
		rollout.Held(p.ro.Status.Conditions) {
		return
	}
	late, _ := rollout.Deadline(p.s)
	if late {
		p.move(rollout.Transition{Kind: rollout.TransitionAbort, Index: p.restart(),
			Message: fmt.Sprintf("ReplicaSet %q has timed out progressing.", p.ro.Name+"-"+p.hash)})
	}
}

// resumedInconclusive reports that a person resumed after an inconclusive run:
// the controller had paused and no condition is left.
func (p *planner) resumedInconclusive() bool {
	return p.ro.Status.ControllerPause && len(p.ro.Status.PauseConditions) == 0
}

// told reports that status already says that the run is inconclusive. Only then
// a resume is an answer to it: one before that was about another pause, and
// taken for an answer it would start run after run.
func (p *planner) told(kind, name string) bool {
	run := runOf(&p.ro.Status, kind)
	return run != nil && run.Name == name && run.Status == v1alpha1.AnalysisPhaseInconclusive
}

func (p *planner) pausedFor(reason v1alpha1.PauseReason) *v1alpha1.PauseCondition {
	for i := range p.ro.Status.PauseConditions {
		if p.ro.Status.PauseConditions[i].Reason == reason {
			return &p.ro.Status.PauseConditions[i]
		}
	}
	return nil
}

// promote makes the wanted revision the stable one: on the first deployment as
// soon as its pods are there, afterwards only when every step is done and all
// traffic has settled on it (I4).
func (p *planner) promote() {
	have := rollout.Available(p.newRS)
	if !p.enough(p.newRS, p.want) {
		p.hold(rollout.Hold{Reason: rollout.HoldWaitingForPods, EndedBy: "pods of the new revision becoming available",
			What: fmt.Sprintf("%d of %d pods of ReplicaSet %s are available", have, p.want, p.newRS.Name)})
		return
	}
	message := "Initial deploy"
	if p.blind && p.stable != "" {
		return // the router that cannot be asked is held
	}
	switch {
	case p.moving() && p.bg != nil:
		message = p.promotion()
	case p.moving():
		if !p.serves(p.total) {
			return // services() and traffic() say what it waits for
		}
		switch message = fmt.Sprintf("Completed all %d canary steps", len(p.steps())); {
		case p.ro.Status.PromoteFull:
			message = "Full promotion requested"
		case p.inWindow():
			message = "Rollback within window"
		}
	}
	p.move(rollout.Transition{Kind: rollout.TransitionPromote, Index: p.end(), Message: message, PingPong: p.nextPingPong()})
}

// complete finishes the current step when what it asks for is there.
func (p *planner) complete() {
	step := p.step()
	if step.SetCanaryScale != nil && !p.atDesired() || (step.SetHeaderRoute != nil || step.SetMirrorRoute != nil) && !p.routesServed() {
		return
	}
	done := true // what stands beside these begins when they are there
	switch {
	case step.SetWeight != nil:
		done = p.atDesired() && p.serves(*step.SetWeight)
	case step.Experiment != nil:
		done = p.experimentDone()
	case step.Plugin != nil:
		done = p.pluginDone(*step.Plugin)
	case step.Pause != nil:
		done = p.pauseOver(*step.Pause)
	case step.Analysis != nil:
		run := p.currentRun(v1alpha1.RolloutTypeStep)
		done = run != nil && run.Status == v1alpha1.AnalysisPhaseSuccessful
		if !done {
			p.hold(rollout.Hold{Reason: rollout.HoldWaitingForRun, What: "the analysis of step " + p.stepName(), EndedBy: "its AnalysisRun completing"})
		}
	}
	if done && !p.moved() {
		next := int32(p.index + 1)
		p.move(rollout.Transition{Kind: rollout.TransitionStep, Index: &next, Step: DescribeStep(*step), Pause: p.pauseAfter(*step)})
	}
}

// pauseAfter is the pause that the completion of a step enters in the same
// write: nothing has to happen between the two. A pause that follows a pause is
// entered in a pass of its own, so that the resume between them is told.
func (p *planner) pauseAfter(step v1alpha1.CanaryStep) v1alpha1.PauseReason {
	next := p.index + 1
	if step.Pause != nil || next >= len(p.steps()) || p.steps()[next].Pause == nil || len(p.ro.Status.PauseConditions) > 0 {
		return ""
	}
	return v1alpha1.PauseReasonCanaryPauseStep
}

func (p *planner) stepName() string {
	return fmt.Sprintf("%d/%d", p.index+1, len(p.steps()))
}

// pauseOver starts a pause, or says whether it is over: its time has passed,
// or a person removed the condition.
func (p *planner) pauseOver(pause v1alpha1.RolloutPause) bool {
	cond := p.pausedFor(v1alpha1.PauseReasonCanaryPauseStep)
	if cond == nil {
		if p.ro.Status.ControllerPause {
			return true
		}
		p.move(rollout.Transition{Kind: rollout.TransitionPause, Index: p.ro.Status.CurrentStepIndex,
			Pause: v1alpha1.PauseReasonCanaryPauseStep})
		return false
	}
	if pause.Duration == nil {
		p.hold(rollout.Hold{Reason: rollout.HoldPaused, What: "step " + p.stepName() + " pauses until it is resumed", EndedBy: "a promote"})
		return false
	}
	until := cond.StartTime.Add(time.Duration(pause.DurationSeconds()) * time.Second)
	if !p.s.Now.Before(until) {
		return true
	}
	p.wake(until)
	p.hold(rollout.Hold{Reason: rollout.HoldPaused, What: "step " + p.stepName() + " pauses", EndedBy: "the clock, or a promote", Until: until})
	return false
}

// DescribeStep names a step the way events do, e.g. "setWeight: 10".
func DescribeStep(step v1alpha1.CanaryStep) string {
	switch {
	case step.SetWeight != nil:
		return fmt.Sprintf("setWeight: %d", *step.SetWeight)
	case step.Pause != nil && step.Pause.Duration != nil:
		return "pause: " + step.Pause.Duration.String()
	case step.Pause != nil:
		return "pause"
	case step.Analysis != nil:
		return "analysis"
	case step.Experiment != nil:
		return "experiment"
	case step.SetCanaryScale != nil:
		return describeScale(*step.SetCanaryScale)
	case step.SetHeaderRoute != nil:
		return "setHeaderRoute: " + step.SetHeaderRoute.Name
	case step.SetMirrorRoute != nil:
		return "setMirrorRoute: " + step.SetMirrorRoute.Name
	case step.Plugin != nil:
		return "plugin: " + step.Plugin.Name
	}
	return "invalid"
}

func describeScale(s v1alpha1.SetCanaryScale) string {
	switch {
	case s.Weight != nil:
		return fmt.Sprintf("setCanaryScale{weight: %d}", *s.Weight)
	case s.MatchTrafficWeight:
		return "setCanaryScale{matchTrafficWeight: true}"
	case s.Replicas != nil:
		return fmt.Sprintf("setCanaryScale{replicas: %d}", *s.Replicas)
	}
	return "invalid"
}
