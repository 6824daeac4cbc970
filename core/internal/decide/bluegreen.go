package decide

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// A blue-green update starts the new revision beside the old one, analyses and
// pauses, switches the active Service, analyses again, and only then makes the
// new revision the stable one. The old one stays at full size until its
// scale-down delay has passed after that.

// activeRS is the ReplicaSet that users of a blue-green Rollout reach; nil
// while the active Service selects none of ours.
func (p *planner) activeRS() *appsv1.ReplicaSet {
	return p.s.ByHash(p.s.ServiceHash(p.bg.ActiveService))
}

// switched: the active Service selects the new revision.
func (p *planner) switched() bool {
	return p.bg != nil && p.hash != "" && p.s.ServiceHash(p.bg.ActiveService) == p.hash
}

// saturated: the new revision has every pod that spec.replicas asks for.
func (p *planner) saturated() bool { return p.complement(p.newRS, p.want) }

// complement: the ReplicaSet has exactly this size and all of it is available.
func (p *planner) complement(rs *appsv1.ReplicaSet, n int32) bool {
	return rs != nil && rollout.Reported(rs) && rollout.SpecReplicas(rs) == n && rollout.Available(rs) >= n
}

// returning: the new revision is older than the stable one and was still in its
// scale-down delay when it was wanted again. It has served before, so it needs
// neither pause nor analysis. Its deadline stays on it, as the memory of that,
// until users reach it or the update is given up.
func (p *planner) returning() bool {
	if p.bg == nil || !p.moving() || p.aborted() || p.newRS == nil || !rollout.BegunBefore(p.newRS, p.stableRS) {
		return false
	}
	return p.ro.Status.AbortedAt == nil && p.departing() && rollout.SpecReplicas(p.newRS) > 0
}

// departing: the new revision has a scale-down deadline.
func (p *planner) departing() bool {
	if p.newRS == nil {
		return false
	}
	_, delayed := p.newRS.Annotations[v1alpha1.AnnotationScaleDownDeadline]
	return delayed
}

// fast: nothing but pods is waited for.
func (p *planner) fast() bool { return p.hurried() || p.returning() }

// positionBlueGreen decides the next move of an update that nothing stops.
func (p *planner) positionBlueGreen() {
	switch {
	case p.initial():
		p.promote()
	case p.newRS == nil:
	case len(p.s.Routers) > 0:
		// The canary this was before still has routes; release() gives them back.
		p.hold(rollout.Hold{Reason: rollout.HoldWaitingForTraffic, EndedBy: "the routers being released",
			What: "the routers of the canary strategy still have to leave"})
	case p.switched():
		p.finish()
	case p.s.ServiceHash(p.bg.ActiveService) == "":
		// servicesBlueGreen() lets it select the stable revision first.
	default:
		p.activate = p.cleared() && p.saturatedOrHeld()
	}
}

// cleared reports that analysis and pause allow the switch. It starts the pause
// and lets the preview grow to full size when their time has come.
func (p *planner) cleared() bool {
	if p.fast() {
		return true
	}
	begun := p.pausedFor(v1alpha1.PauseReasonBlueGreenPause) != nil || p.ro.Status.ControllerPause || p.ro.Status.BlueGreen.ScaleUpPreviewCheckPoint
	if target := p.previewTarget(); !begun && !p.complement(p.newRS, target) {
		p.holdPods(target)
		return false
	}
	if p.bg.PrePromotionAnalysis != nil && !p.passed(v1alpha1.RolloutTypePrePromotion) {
		return false
	}
	if !p.promotionPauseOver() {
		return false
	}
	if p.previewSize() != p.want && !p.ro.Status.BlueGreen.ScaleUpPreviewCheckPoint {
		p.move(rollout.Transition{Kind: rollout.TransitionScaleUpPreview, Index: p.ro.Status.CurrentStepIndex})
		return false
	}
	return true
}

func (p *planner) saturatedOrHeld() bool {
	if p.saturated() {
		return true
	}
	p.holdPods(p.want)
	return false
}

func (p *planner) holdPods(n int32) {
	p.hold(rollout.Hold{Reason: rollout.HoldWaitingForPods, EndedBy: "pods of the new revision becoming available",
		What: fmt.Sprintf("%d of %d pods of ReplicaSet %s are available", rollout.Available(p.newRS), n, p.newRS.Name)})
}

// passed reports that the analysis of this kind is successful.
func (p *planner) passed(kind string) bool {
	if run := p.currentRun(kind); run != nil && run.Status == v1alpha1.AnalysisPhaseSuccessful {
		return true
	}
	p.hold(rollout.Hold{Reason: rollout.HoldWaitingForRun, What: "the " + analysisTitle[kind] + " analysis", EndedBy: "its AnalysisRun completing"})
	return false
}

// promotionPauseOver starts the pause before the switch, or says whether there
// is none or it is over: its time has passed, or a person removed the condition.
func (p *planner) promotionPauseOver() bool {
	auto, seconds := p.bg.AutoPromotionEnabledOrDefault(), p.bg.AutoPromotionSeconds
	if auto && seconds == 0 || p.ro.Status.BlueGreen.ScaleUpPreviewCheckPoint {
		return true
	}
	cond := p.pausedFor(v1alpha1.PauseReasonBlueGreenPause)
	switch {
	case cond == nil && p.ro.Status.ControllerPause:
		return true
	case cond == nil:
		p.move(rollout.Transition{Kind: rollout.TransitionPause, Index: p.ro.Status.CurrentStepIndex,
			Pause: v1alpha1.PauseReasonBlueGreenPause})
		return false
	case !auto:
		p.hold(rollout.Hold{Reason: rollout.HoldPaused, What: "the new revision waits to be promoted", EndedBy: "a promote"})
		return false
	}
	until := cond.StartTime.Add(time.Duration(seconds) * time.Second)
	if !p.s.Now.Before(until) {
		return true
	}
	p.wake(until)
	p.hold(rollout.Hold{Reason: rollout.HoldPaused, What: "the new revision waits to be promoted", EndedBy: "the clock, or a promote", Until: until})
	return false
}

// finish makes the new revision stable once it serves and has been analysed.
func (p *planner) finish() {
	if p.bg.PostPromotionAnalysis != nil && !p.fast() && !p.passed(v1alpha1.RolloutTypePostPromotion) {
		if p.pauseUsedUp() {
			p.move(rollout.Transition{Kind: rollout.TransitionSwitched, Index: p.ro.Status.CurrentStepIndex})
		}
		return
	}
	p.promote()
}

// pauseUsedUp: the pause before the switch is still recorded after it. A resume
// that an inconclusive analysis after the switch waits for is another one.
func (p *planner) pauseUsedUp() bool {
	if p.pausedFor(v1alpha1.PauseReasonBlueGreenPause) != nil {
		return true
	}
	run := p.currentRun(v1alpha1.RolloutTypePostPromotion)
	return p.resumedInconclusive() && (run == nil || run.Status != v1alpha1.AnalysisPhaseInconclusive)
}

// promotion is what the event of a blue-green promotion gives as its reason.
func (p *planner) promotion() string {
	switch {
	case p.ro.Status.PromoteFull:
		return "Full promotion requested"
	case p.inWindow():
		return "Rollback within window"
	case p.returning():
		return "Fast rollback"
	}
	return "Completed blue-green update"
}
