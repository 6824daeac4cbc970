package act

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// refused is when an eviction that a PodDisruptionBudget refused is tried again.
const refused = 30 * time.Second

// evict asks for the end of exactly the pod the plan saw. A PodDisruptionBudget
// may refuse; that is a wait with a name, not a failure of anything.
func (a *Actor) evict(ctx context.Context, namespace string, o rollout.EvictPod) error {
	uid := types.UID(o.UID)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: o.Name}}
	err := a.Writer.SubResource("eviction").Create(ctx, pod, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: namespace, Name: o.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}},
	})
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return nil // gone, or replaced by another pod of the same name
	case apierrors.IsTooManyRequests(err):
		return &rollout.Problem{Class: rollout.ProblemRefused, Reason: string(rollout.HoldDisruptionBudget), Retry: refused,
			Message: fmt.Sprintf("Pod %s may not be evicted for the restart: %s; ended by its PodDisruptionBudget allowing a disruption", o.Name, err)}
	}
	return fmt.Errorf("evict Pod %s/%s: %w", namespace, o.Name, err)
}
