package observe

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// templates reads every template the steps name and what those nest. A cycle
// ends here; decide reports it.
func (o *Observer) templates(ctx context.Context, s *rollout.Snapshot) error {
	found := templateSet{reader: o.Reader, namespace: s.Rollout.Namespace}
	if err := found.gather(ctx, rollout.TemplateRefs(s.Rollout)); err != nil {
		return err
	}
	s.Templates, s.ClusterTemplates = found.namespaced, found.cluster
	s.Providers = map[string]rollout.Problem{}
	for _, spec := range found.specs {
		for _, m := range spec.Metrics {
			if name, problem := o.Providers.Problem(m.Provider); problem != nil {
				s.Providers[name] = *problem
			}
		}
	}
	return nil
}

// templateSet is the templates that something names, with all they nest. Those
// that do not exist are left out.
type templateSet struct {
	reader client.Reader
	// live, when set, is asked for what the reader does not have: what has been
	// created a moment ago is not in every cache yet. It sees templates of other
	// controllers as well; instance is the id of ours.
	live       client.Reader
	instance   string
	namespace  string
	namespaced map[string]*v1alpha1.AnalysisTemplate
	cluster    map[string]*v1alpha1.ClusterAnalysisTemplate
	specs      []*v1alpha1.AnalysisTemplateSpec
}

func (t *templateSet) gather(ctx context.Context, queue []v1alpha1.AnalysisTemplateRef) error {
	t.namespaced = map[string]*v1alpha1.AnalysisTemplate{}
	t.cluster = map[string]*v1alpha1.ClusterAnalysisTemplate{}
	for len(queue) > 0 {
		ref := queue[0]
		queue = queue[1:]
		spec, err := t.read(ctx, ref)
		if err != nil {
			return err
		}
		if spec != nil {
			t.specs = append(t.specs, spec)
			queue = append(queue, spec.Templates...)
		}
	}
	return nil
}

// read reads one template; nil when it does not exist or is read already.
func (t *templateSet) read(ctx context.Context, ref v1alpha1.AnalysisTemplateRef) (*v1alpha1.AnalysisTemplateSpec, error) {
	if ref.ClusterScope {
		if t.cluster[ref.TemplateName] != nil {
			return nil, nil
		}
		var found v1alpha1.ClusterAnalysisTemplate
		if ok, err := t.get(ctx, "", ref.TemplateName, &found); err != nil || !ok {
			return nil, err
		}
		t.cluster[ref.TemplateName] = &found
		return &found.Spec, nil
	}
	if t.namespaced[ref.TemplateName] != nil {
		return nil, nil
	}
	var found v1alpha1.AnalysisTemplate
	if ok, err := t.get(ctx, t.namespace, ref.TemplateName, &found); err != nil || !ok {
		return nil, err
	}
	t.namespaced[ref.TemplateName] = &found
	return &found.Spec, nil
}

func (t *templateSet) get(ctx context.Context, namespace, name string, into client.Object) (bool, error) {
	ok, err := get(ctx, t.reader, namespace, name, into)
	if err != nil || ok || t.live == nil {
		return ok, err
	}
	ok, err = get(ctx, t.live, namespace, name, into)
	if apierrors.IsForbidden(err) {
		return false, nil // a namespaced controller may not read cluster templates
	}
	return ok && into.GetLabels()[v1alpha1.LabelInstanceID] == t.instance, err
}
