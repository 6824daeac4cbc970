package rollout

import (
	"encoding/json"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// AnnotationPodsMetadata, on a ReplicaSet, says that its template got other
// metadata and that its pods may still carry the old: the JSON of what has to
// come off them. It goes when they are right.
const AnnotationPodsMetadata = "sluice.dev/pods-metadata"

// Injected is the metadata of a role that a ReplicaSet's template carries now.
func Injected(rs *appsv1.ReplicaSet) v1alpha1.PodTemplateMetadata {
	m, _ := decodeMetadata(rs.Annotations[v1alpha1.AnnotationEphemeralMetadata])
	return m
}

// Undressing is the metadata of earlier roles that pods of the ReplicaSet may
// still carry; not pending when none may.
func Undressing(rs *appsv1.ReplicaSet) (left v1alpha1.PodTemplateMetadata, pending bool) {
	return decodeMetadata(rs.Annotations[AnnotationPodsMetadata])
}

// decodeMetadata: what cannot be read counts as nothing, so that it is written
// anew.
func decodeMetadata(text string) (m v1alpha1.PodTemplateMetadata, there bool) {
	if text == "" {
		return m, false
	}
	if json.Unmarshal([]byte(text), &m) != nil {
		return v1alpha1.PodTemplateMetadata{}, true
	}
	return m, true
}

// EncodeMetadata is the value of the annotations that hold metadata.
func EncodeMetadata(m v1alpha1.PodTemplateMetadata) *string {
	raw, _ := json.Marshal(m) // maps of strings
	text := string(raw)
	return &text
}

// Undressed is the template of a ReplicaSet as the user wrote it: without our
// label, the metadata of a role and the anti-affinity to another revision.
func Undressed(rs *appsv1.ReplicaSet) corev1.PodTemplateSpec {
	template := *rs.Spec.Template.DeepCopy()
	delete(template.Labels, v1alpha1.LabelPodTemplateHash)
	injected := Injected(rs)
	for k, v := range injected.Labels {
		if template.Labels[k] == v {
			delete(template.Labels, k)
		}
	}
	for k, v := range injected.Annotations {
		if template.Annotations[k] == v {
			delete(template.Annotations, k)
		}
	}
	template.Spec.Affinity = withoutOurs(template.Spec.Affinity)
	return template
}

func withoutOurs(affinity *corev1.Affinity) *corev1.Affinity {
	if affinity == nil || affinity.PodAntiAffinity == nil {
		return affinity
	}
	anti := affinity.PodAntiAffinity
	before := len(anti.RequiredDuringSchedulingIgnoredDuringExecution) + len(anti.PreferredDuringSchedulingIgnoredDuringExecution)
	anti.RequiredDuringSchedulingIgnoredDuringExecution = slices.DeleteFunc(anti.RequiredDuringSchedulingIgnoredDuringExecution, isOurs)
	anti.PreferredDuringSchedulingIgnoredDuringExecution = slices.DeleteFunc(anti.PreferredDuringSchedulingIgnoredDuringExecution,
		func(t corev1.WeightedPodAffinityTerm) bool { return isOurs(t.PodAffinityTerm) })
	left := len(anti.RequiredDuringSchedulingIgnoredDuringExecution) + len(anti.PreferredDuringSchedulingIgnoredDuringExecution)
	if left == before || left > 0 {
		return affinity
	}
	affinity.PodAntiAffinity = nil
	if affinity.NodeAffinity == nil && affinity.PodAffinity == nil {
		return nil
	}
	return affinity
}

// AwayFrom keeps a pod off the nodes that have pods of the revision.
func AwayFrom(namespace, hash string) corev1.PodAffinityTerm {
	return corev1.PodAffinityTerm{
		LabelSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: v1alpha1.LabelPodTemplateHash, Operator: metav1.LabelSelectorOpIn, Values: []string{hash}}}},
		TopologyKey: "kubernetes.io/hostname",
		Namespaces:  []string{namespace},
	}
}

func isOurs(t corev1.PodAffinityTerm) bool {
	return t.LabelSelector != nil && slices.ContainsFunc(t.LabelSelector.MatchExpressions,
		func(r metav1.LabelSelectorRequirement) bool { return r.Key == v1alpha1.LabelPodTemplateHash })
}
