package rollout

import (
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// The marks on a Deployment that a Rollout has scaled down. There are no
// finalizers: the marks are how the Deployment gets its replicas back when the
// Rollout is gone.
const (
	// LabelScaledDown is "true" on such a Deployment, so that a restarted
	// controller finds it with one request.
	LabelScaledDown = "sluice.dev/scaled-down"
	// AnnotationScaledDownBy is the name of the Rollout.
	AnnotationScaledDownBy = "sluice.dev/scaled-down-by"
	// AnnotationReplicas is the number of replicas it had before.
	AnnotationReplicas = "sluice.dev/replicas"
)

// Workload is the object that spec.workloadRef names, as observe found it.
type Workload struct {
	// Problem is why its pod template cannot be taken; nil when the Rollout of
	// the snapshot carries it. ProblemWaiting is not the user's mistake: the
	// object has not been read yet.
	Problem *Problem
	// Kind is Deployment, ReplicaSet or PodTemplate.
	Kind            string
	Name            string
	ResourceVersion string
	Generation      int64
	// Replicas wanted now; 0 for a PodTemplate.
	Replicas int32
	// Remembered is the count it had before this Rollout scaled it down; nil
	// when it never did.
	Remembered *int32
}

// WorkloadObject decodes an object into the parts a Rollout may take over; not
// ok for anything but a Deployment, ReplicaSet or PodTemplate.
func WorkloadObject(obj any) (meta *metav1.ObjectMeta, template *corev1.PodTemplateSpec, selector *metav1.LabelSelector, replicas int32, ok bool) {
	count := func(n *int32) int32 {
		if n == nil {
			return 1 // what the API server fills in
		}
		return *n
	}
	switch o := obj.(type) {
	case *appsv1.Deployment:
		return &o.ObjectMeta, &o.Spec.Template, o.Spec.Selector, count(o.Spec.Replicas), true
	case *appsv1.ReplicaSet:
		return &o.ObjectMeta, &o.Spec.Template, o.Spec.Selector, count(o.Spec.Replicas), true
	case *corev1.PodTemplate:
		return &o.ObjectMeta, &o.Template, nil, 0, true
	}
	return nil, nil, nil, 0, false
}

// WorkloadKind is the kind a reference names, e.g. "Deployment"; an error says
// what may be named instead.
func WorkloadKind(ref v1alpha1.ObjectRef) (string, error) {
	switch ref.APIVersion + "/" + ref.Kind {
	case "apps/v1/Deployment", "apps/v1/ReplicaSet", "v1/PodTemplate":
		return ref.Kind, nil
	}
	return "", fmt.Errorf("%s %s cannot be referenced; name a Deployment or ReplicaSet of apps/v1, or a PodTemplate of v1", ref.APIVersion, ref.Kind)
}

// Refer makes the Rollout of the snapshot one with the template of the object,
// and with its selector where it has none itself. The Rollout it is made from
// stays as it is; what was taken over is never written back.
func (s *Snapshot) Refer(obj any) {
	meta, template, selector, replicas, ok := WorkloadObject(obj)
	if !ok {
		return
	}
	ref := s.Rollout.Spec.WorkloadRef
	s.Workload = &Workload{Kind: ref.Kind, Name: meta.Name, ResourceVersion: meta.ResourceVersion,
		Generation: meta.Generation, Replicas: replicas}
	if meta.Annotations[AnnotationScaledDownBy] == s.Rollout.Name {
		if n, err := strconv.ParseInt(meta.Annotations[AnnotationReplicas], 10, 32); err == nil && n >= 0 {
			before := int32(n)
			s.Workload.Remembered = &before
		}
	}
	own := s.Rollout.Spec.Template
	if len(own.Labels)+len(own.Annotations)+len(own.Spec.Containers) > 0 {
		return // decide reports that there are two templates
	}
	ro := s.Rollout.DeepCopy()
	ro.Spec.Template, ro.Spec.TemplateResolvedFromRef = *template.DeepCopy(), true
	if ro.Spec.Selector == nil {
		ro.Spec.Selector, ro.Spec.SelectorResolvedFromRef = selector.DeepCopy(), true
	}
	s.Rollout = ro
}
