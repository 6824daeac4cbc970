package decide

import "github.com/sluice-rollouts/sluice/core/api/v1alpha1"

const blueGreenPath = "spec.strategy.blueGreen."

// validBlueGreen checks what only a blue-green strategy has.
func (p *planner) validBlueGreen() {
	if p.bg == nil {
		return
	}
	switch bg := p.bg; {
	case bg.ActiveService == "":
		p.invalid(blueGreenPath+"activeService", "is empty; name the Service that users reach")
	case bg.ActiveService == bg.PreviewService:
		p.invalid(blueGreenPath+"previewService", "is %q, the same as activeService; use two Services, or leave it out", bg.PreviewService)
	case bg.AutoPromotionSeconds < 0:
		p.invalid(blueGreenPath+"autoPromotionSeconds", "%d is negative; set 0 or more", bg.AutoPromotionSeconds)
	}
	for _, f := range []struct {
		field string
		value *int32
	}{
		{"previewReplicaCount", p.bg.PreviewReplicaCount}, {"scaleDownDelaySeconds", p.bg.ScaleDownDelaySeconds},
		{"scaleDownDelayRevisionLimit", p.bg.ScaleDownDelayRevisionLimit}, {"abortScaleDownDelaySeconds", p.bg.AbortScaleDownDelaySeconds},
	} {
		if f.value != nil && *f.value < 0 {
			p.invalid(blueGreenPath+f.field, "%d is negative; set 0 or more", *f.value)
		}
	}
	history := p.ro.Spec.RevisionHistoryLimitOrDefault()
	if limit := p.bg.ScaleDownDelayRevisionLimit; limit != nil && *limit > history {
		p.invalid(blueGreenPath+"scaleDownDelayRevisionLimit", "%d is more than revisionHistoryLimit (%d); lower it, or raise spec.revisionHistoryLimit", *limit, history)
	}
}

func (p *planner) serviceRefsBlueGreen() []serviceRef {
	refs := []serviceRef{{blueGreenPath + "activeService", p.bg.ActiveService}}
	if p.bg.PreviewService != "" {
		refs = append(refs, serviceRef{blueGreenPath + "previewService", p.bg.PreviewService})
	}
	return refs
}

func (p *planner) validAnalysesBlueGreen() {
	if a := p.bg.PrePromotionAnalysis; a != nil {
		p.validAnalysis(blueGreenPath+"prePromotionAnalysis", *a, v1alpha1.RolloutTypePrePromotion)
	}
	if a := p.bg.PostPromotionAnalysis; a != nil && p.plan.Invalid == "" {
		p.validAnalysis(blueGreenPath+"postPromotionAnalysis", *a, v1alpha1.RolloutTypePostPromotion)
	}
}
