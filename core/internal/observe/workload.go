package observe

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Workloads reads what Rollouts refer to. A kind is watched from the first time
// it is asked for; until it is listed, the answer is a problem of class
// ProblemWaiting. The object is a Deployment, ReplicaSet or PodTemplate shared
// with a cache, nil when there is a problem.
type Workloads interface {
	Get(ctx context.Context, namespace string, ref v1alpha1.ObjectRef) (client.Object, *rollout.Problem, error)
}

// workload resolves spec.workloadRef into the snapshot.
func (o *Observer) workload(ctx context.Context, s *rollout.Snapshot) error {
	ref := s.Rollout.Spec.WorkloadRef
	if ref == nil || o.Workloads == nil {
		return nil
	}
	obj, problem, err := o.Workloads.Get(ctx, s.Rollout.Namespace, *ref)
	if err != nil {
		return err
	}
	if problem != nil {
		s.Workload = &rollout.Workload{Problem: problem, Kind: ref.Kind, Name: ref.Name}
		return nil
	}
	if o.Written.Behind(ref.Kind, obj) {
		return ErrBehind
	}
	s.Refer(obj)
	return nil
}
