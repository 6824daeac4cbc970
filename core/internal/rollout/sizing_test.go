package rollout

import (
	"testing"

	"github.com/stretchr/testify/assert"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// TestScaleInForce: which setCanaryScale counts, from the current step backwards
// (§2.3, GetCanaryReplicasOrWeight of §11.1).
func TestScaleInForce(t *testing.T) {
	three, matching := &v1alpha1.SetCanaryScale{Replicas: ptr.To[int32](3)}, &v1alpha1.SetCanaryScale{MatchTrafficWeight: true}
	half, both := &v1alpha1.SetCanaryScale{Weight: ptr.To[int32](50)}, &v1alpha1.SetCanaryScale{Replicas: ptr.To[int32](3), Weight: ptr.To[int32](50)}
	matchingThree := &v1alpha1.SetCanaryScale{Replicas: ptr.To[int32](3), MatchTrafficWeight: true}
	for name, tc := range map[string]struct {
		steps []*v1alpha1.SetCanaryScale // nil is a step of another kind
		index *int32
		edit  func(*v1alpha1.Rollout)
		want  *v1alpha1.SetCanaryScale
	}{
		"the current one":           {steps: []*v1alpha1.SetCanaryScale{nil, three}, index: ptr.To[int32](1), want: three},
		"a weight":                  {steps: []*v1alpha1.SetCanaryScale{half}, index: ptr.To[int32](0), want: half},
		"both":                      {steps: []*v1alpha1.SetCanaryScale{both}, index: ptr.To[int32](0), want: both},
		"one before":                {steps: []*v1alpha1.SetCanaryScale{three, nil, nil}, index: ptr.To[int32](2), want: three},
		"the nearest":               {steps: []*v1alpha1.SetCanaryScale{three, half, nil}, index: ptr.To[int32](2), want: half},
		"not one to come":           {steps: []*v1alpha1.SetCanaryScale{nil, three}, index: ptr.To[int32](0)},
		"given back":                {steps: []*v1alpha1.SetCanaryScale{three, matching, nil}, index: ptr.To[int32](2)},
		"given back, with a number": {steps: []*v1alpha1.SetCanaryScale{half, matchingThree}, index: ptr.To[int32](1)},
		"no index yet":              {steps: []*v1alpha1.SetCanaryScale{three}, want: three},
		"behind the last step":      {steps: []*v1alpha1.SetCanaryScale{three}, index: ptr.To[int32](1)},
		"without traffic routing":   {steps: []*v1alpha1.SetCanaryScale{three}, edit: func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.TrafficRouting = nil }},
		"promoted in full":          {steps: []*v1alpha1.SetCanaryScale{three}, edit: func(ro *v1alpha1.Rollout) { ro.Status.PromoteFull = true }},
		"aborted":                   {steps: []*v1alpha1.SetCanaryScale{three}, edit: func(ro *v1alpha1.Rollout) { ro.Status.Abort = true }},
		"aborted, with a delay": {steps: []*v1alpha1.SetCanaryScale{three}, edit: func(ro *v1alpha1.Rollout) {
			ro.Status.Abort, ro.Spec.Strategy.Canary.AbortScaleDownDelaySeconds = true, ptr.To[int32](30)
		}},
		"aborted, and the pods are to stay": {steps: []*v1alpha1.SetCanaryScale{three}, edit: func(ro *v1alpha1.Rollout) {
			ro.Status.Abort, ro.Spec.Strategy.Canary.AbortScaleDownDelaySeconds = true, new(int32)
		}, want: three},
	} {
		ro := &v1alpha1.Rollout{}
		ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{TrafficRouting: &v1alpha1.RolloutTrafficRouting{}}
		for _, s := range tc.steps {
			ro.Spec.Strategy.Canary.Steps = append(ro.Spec.Strategy.Canary.Steps, v1alpha1.CanaryStep{SetCanaryScale: s})
		}
		ro.Status.CurrentStepIndex = tc.index
		if tc.edit != nil {
			tc.edit(ro)
		}
		assert.Equal(t, tc.want, ScaleInForce(ro), name)
	}
	assert.Nil(t, ScaleInForce(&v1alpha1.Rollout{}), "blue-green")
}

// TestRoleMetadata: what a role left on a template is read back as it was
// written, and comes off it without taking what the user says (§11.1).
func TestRoleMetadata(t *testing.T) {
	for text, want := range map[string]v1alpha1.PodTemplateMetadata{
		"":                          {},
		"{":                         {},
		`{"labels":{"role":"new"}}`: {Labels: map[string]string{"role": "new"}},
		`{"labels":{"role":"new"},"annotations":{"a":"b"}}`: {Labels: map[string]string{"role": "new"}, Annotations: map[string]string{"a": "b"}},
	} {
		rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.AnnotationEphemeralMetadata: text}}}
		assert.Equal(t, want, Injected(rs), text)
	}
	written := v1alpha1.PodTemplateMetadata{Labels: map[string]string{"role": "new", "kept": "ours"}, Annotations: map[string]string{"a": "b"}}
	rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.AnnotationEphemeralMetadata: *EncodeMetadata(written)}}}
	assert.Equal(t, written, Injected(rs))
	rs.Spec.Template = corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{
		Labels:      map[string]string{"app": "x", "role": "new", "kept": "the user's", v1alpha1.LabelPodTemplateHash: "abc"},
		Annotations: map[string]string{"a": "b", "c": "d"}}}
	assert.Equal(t, map[string]string{"app": "x", "kept": "the user's"}, Undressed(rs).Labels)
	assert.Equal(t, map[string]string{"c": "d"}, Undressed(rs).Annotations)
}
