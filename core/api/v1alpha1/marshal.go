package v1alpha1

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
)

// MarshalJSON leaves out a template and a selector that were taken from a
// referenced workload, so that they are never persisted.
func (s RolloutSpec) MarshalJSON() ([]byte, error) {
	type fields RolloutSpec
	if s.TemplateResolvedFromRef {
		s.Template = corev1.PodTemplateSpec{}
	}
	if s.SelectorResolvedFromRef {
		s.Selector = nil
	}
	return json.Marshal(fields(s))
}
