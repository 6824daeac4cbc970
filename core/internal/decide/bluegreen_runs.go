package decide

import (
	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// analysisTitle names an analysis in messages.
var analysisTitle = map[string]string{
	v1alpha1.RolloutTypeStep:          "Step-based",
	v1alpha1.RolloutTypeBackground:    "Background",
	v1alpha1.RolloutTypePrePromotion:  "Blue/green pre-promotion",
	v1alpha1.RolloutTypePostPromotion: "Blue/green post-promotion",
}

// runsBlueGreen starts the analysis before the switch when the preview is
// complete, and the one after it when users reach the new revision. A pod that
// is lost afterwards does not end a run.
func (p *planner) runsBlueGreen() {
	p.plan.PreRun, p.plan.PostRun = p.carriedRun(v1alpha1.RolloutTypePrePromotion), p.carriedRun(v1alpha1.RolloutTypePostPromotion)
	if !p.analysing() || p.veto || p.ro.Spec.Paused || p.moved() || len(p.ro.Status.PauseConditions) > 0 || len(p.s.Routers) > 0 || p.fast() {
		return
	}
	if a := p.bg.PrePromotionAnalysis; a != nil && p.previewing() && p.needsRun(p.plan.PreRun) &&
		(p.plan.PreRun != nil || p.complement(p.newRS, p.previewTarget())) {
		p.plan.PreRun = p.start(*a, v1alpha1.RolloutTypePrePromotion, "pre")
	}
	if a := p.bg.PostPromotionAnalysis; a != nil && p.switched() && p.needsRun(p.plan.PostRun) &&
		(p.plan.PostRun != nil || p.saturated()) {
		p.plan.PostRun = p.start(*a, v1alpha1.RolloutTypePostPromotion, "post")
	}
}

// previewing: users reach a revision of ours that is not the new one.
func (p *planner) previewing() bool {
	return !p.switched() && p.s.ServiceHash(p.bg.ActiveService) != ""
}

// expected reports that the verdict of a current run of this kind still matters.
// Blue-green keeps its runs in status after that.
func (p *planner) expected(kind string) bool {
	if !p.analysing() || p.bg != nil && p.fast() {
		return false
	}
	switch kind {
	case v1alpha1.RolloutTypePrePromotion:
		return p.bg != nil && p.bg.PrePromotionAnalysis != nil && p.previewing()
	case v1alpha1.RolloutTypePostPromotion:
		return p.bg != nil && p.bg.PostPromotionAnalysis != nil && p.switched()
	}
	return p.bg == nil
}

// runOf is the run of this kind that status names.
func runOf(st *v1alpha1.RolloutStatus, kind string) *v1alpha1.RolloutAnalysisRunStatus {
	switch kind {
	case v1alpha1.RolloutTypeBackground:
		return st.Canary.CurrentBackgroundAnalysisRunStatus
	case v1alpha1.RolloutTypePrePromotion:
		return st.BlueGreen.PrePromotionAnalysisRunStatus
	case v1alpha1.RolloutTypePostPromotion:
		return st.BlueGreen.PostPromotionAnalysisRunStatus
	}
	return st.Canary.CurrentStepAnalysisRunStatus
}
