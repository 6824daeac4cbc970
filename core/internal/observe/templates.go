package observe

import (
	"context"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// templates reads every template the steps name and what those nest. A cycle
// ends here; decide reports it.
func (o *Observer) templates(ctx context.Context, s *rollout.Snapshot) error {
	s.Templates = map[string]*v1alpha1.AnalysisTemplate{}
	s.ClusterTemplates = map[string]*v1alpha1.ClusterAnalysisTemplate{}
	s.Providers = map[string]rollout.Problem{}
	queue := TemplateRefs(s.Rollout)
	for len(queue) > 0 {
		ref := queue[0]
		queue = queue[1:]
		spec, err := o.template(ctx, s, ref)
		if err != nil {
			return err
		}
		if spec == nil {
			continue
		}
		for _, m := range spec.Metrics {
			if name, problem := o.Providers.Problem(m.Provider); problem != nil {
				s.Providers[name] = *problem
			}
		}
		queue = append(queue, spec.Templates...)
	}
	return nil
}

// template reads one template; nil when it does not exist or is read already.
func (o *Observer) template(ctx context.Context, s *rollout.Snapshot, ref v1alpha1.AnalysisTemplateRef) (*v1alpha1.AnalysisTemplateSpec, error) {
	if ref.ClusterScope {
		if s.ClusterTemplates[ref.TemplateName] != nil {
			return nil, nil
		}
		var t v1alpha1.ClusterAnalysisTemplate
		found, err := o.get(ctx, "", ref.TemplateName, &t)
		if err != nil || !found {
			return nil, err
		}
		s.ClusterTemplates[ref.TemplateName] = &t
		return &t.Spec, nil
	}
	if s.Templates[ref.TemplateName] != nil {
		return nil, nil
	}
	var t v1alpha1.AnalysisTemplate
	found, err := o.get(ctx, s.Rollout.Namespace, ref.TemplateName, &t)
	if err != nil || !found {
		return nil, err
	}
	s.Templates[ref.TemplateName] = &t
	return &t.Spec, nil
}

// TemplateRefs are the templates the spec of a Rollout names directly.
func TemplateRefs(ro *v1alpha1.Rollout) []v1alpha1.AnalysisTemplateRef {
	c := ro.Spec.Strategy.Canary
	if c == nil {
		return nil
	}
	var out []v1alpha1.AnalysisTemplateRef
	for _, step := range c.Steps {
		if step.Analysis != nil {
			out = append(out, step.Analysis.Templates...)
		}
	}
	if c.Analysis != nil {
		out = append(out, c.Analysis.Templates...)
	}
	return out
}
