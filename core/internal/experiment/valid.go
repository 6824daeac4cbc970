package experiment

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// invalid reports the first thing that keeps an experiment from being run, with
// path and cure; "" when there is none.
func invalid(ex *v1alpha1.Experiment) string {
	if len(ex.Malformed) > 0 {
		m := ex.Malformed[0]
		return fmt.Sprintf("%s cannot be read: %s", m.Path, m.Problem)
	}
	if ex.Spec.Duration != "" {
		if d, err := ex.Spec.Duration.Duration(); err != nil || d < 0 {
			return fmt.Sprintf("spec.duration: %q is not a duration such as 90s or 1h", ex.Spec.Duration)
		}
	}
	if n := ex.Spec.ScaleDownDelaySeconds; n != nil && *n < 0 {
		return "spec.scaleDownDelaySeconds: must be 0 or more"
	}
	names := map[string]bool{}
	for i, t := range ex.Spec.Templates {
		if why := invalidTemplate(ex, t, names); why != "" {
			return fmt.Sprintf("spec.templates[%d].%s", i, why)
		}
		names[t.Name] = true
	}
	names = map[string]bool{}
	for i, a := range ex.Spec.Analyses {
		switch {
		case a.Name == "":
			return fmt.Sprintf("spec.analyses[%d].name: must be set", i)
		case names[a.Name]:
			return fmt.Sprintf("spec.analyses[%d].name: %q is there twice; rename one", i, a.Name)
		case a.TemplateName == "":
			return fmt.Sprintf("spec.analyses[%d].templateName: must be set", i)
		}
		names[a.Name] = true
	}
	return ""
}

func invalidTemplate(ex *v1alpha1.Experiment, t v1alpha1.TemplateSpec, names map[string]bool) string {
	deadline := ex.Spec.ProgressDeadlineSecondsOrDefault()
	switch {
	case t.Name == "":
		return "name: must be set"
	case names[t.Name]:
		return fmt.Sprintf("name: %q is there twice; rename one", t.Name)
	case t.Replicas != nil && *t.Replicas < 0:
		return "replicas: must be 0 or more"
	case t.Selector == nil || len(t.Selector.MatchLabels)+len(t.Selector.MatchExpressions) == 0:
		return "selector: must be set, and not select all pods"
	case t.MinReadySeconds > deadline:
		return fmt.Sprintf("minReadySeconds: %d is longer than spec.progressDeadlineSeconds (%d); lower one or raise the other", t.MinReadySeconds, deadline)
	}
	selector, err := metav1.LabelSelectorAsSelector(t.Selector)
	if err != nil {
		return "selector: " + err.Error()
	}
	if !selector.Matches(labels.Set(withoutHash(t.Template.Labels))) && !selectsHash(t.Selector) {
		return "selector: does not match template.metadata.labels; make them agree"
	}
	return ""
}

// selectsHash: a selector copied from a rollout may name the hash, which is
// replaced by the template's own.
func selectsHash(s *metav1.LabelSelector) bool {
	_, ok := s.MatchLabels[v1alpha1.LabelPodTemplateHash]
	return ok
}
