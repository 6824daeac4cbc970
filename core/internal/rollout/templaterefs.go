package rollout

import "github.com/sluice-rollouts/sluice/core/api/v1alpha1"

// TemplateRefs are the templates the spec of a Rollout names directly.
func TemplateRefs(ro *v1alpha1.Rollout) []v1alpha1.AnalysisTemplateRef {
	var out []v1alpha1.AnalysisTemplateRef
	if bg := ro.Spec.Strategy.BlueGreen; bg != nil {
		for _, a := range []*v1alpha1.RolloutAnalysis{bg.PrePromotionAnalysis, bg.PostPromotionAnalysis} {
			if a != nil {
				out = append(out, a.Templates...)
			}
		}
	}
	c := ro.Spec.Strategy.Canary
	if c == nil {
		return out
	}
	for _, step := range c.Steps {
		if step.Analysis != nil {
			out = append(out, step.Analysis.Templates...)
		}
		if step.Experiment != nil {
			for _, a := range step.Experiment.Analyses {
				out = append(out, v1alpha1.AnalysisTemplateRef{TemplateName: a.TemplateName, ClusterScope: a.ClusterScope})
			}
		}
	}
	if c.Analysis != nil {
		out = append(out, c.Analysis.Templates...)
	}
	return out
}
