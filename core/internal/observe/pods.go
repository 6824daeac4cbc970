package observe

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// pods reads the pods of the Rollout from the API server while a restart is
// due, and at no other time: pods are kept in no cache.
func (o *Observer) pods(ctx context.Context, s *rollout.Snapshot) error {
	at := s.Rollout.Spec.RestartAt
	if o.Live == nil || at == nil || at.Equal(s.Rollout.Status.RestartedAt) || s.Now.Before(at.Time) {
		return nil
	}
	s.Pods = []rollout.Pod{}
	owners, hashes := map[string]bool{}, []string(nil)
	for _, rs := range s.ReplicaSets {
		if metav1.IsControlledBy(rs, s.Rollout) {
			owners[string(rs.UID)] = true
			hashes = append(hashes, rollout.Hash(rs))
		}
	}
	if len(hashes) == 0 {
		return nil
	}
	ours, err := labels.NewRequirement(v1alpha1.LabelPodTemplateHash, selection.In, hashes)
	if err != nil {
		return fmt.Errorf("select pods of Rollout %s/%s: %w", s.Rollout.Namespace, s.Rollout.Name, err)
	}
	var list corev1.PodList
	if err := o.Live.List(ctx, &list, client.InNamespace(s.Rollout.Namespace), client.MatchingLabelsSelector{Selector: labels.NewSelector().Add(*ours)}); err != nil {
		return fmt.Errorf("list pods of Rollout %s/%s: %w", s.Rollout.Namespace, s.Rollout.Name, err)
	}
	for i := range list.Items {
		pod, ok := rollout.PodOf(&list.Items[i], time.Duration(s.Rollout.Spec.MinReadySeconds)*time.Second, s.Now)
		if ok && owners[pod.ReplicaSet] {
			s.Pods = append(s.Pods, pod)
		}
	}
	return nil
}
