package act

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/experiment"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// DoExperiment executes the operations of an Experiment's plan. They do not
// depend on each other: one that fails stops no other.
func (a *Actor) DoExperiment(ctx context.Context, ex *v1alpha1.Experiment, plan experiment.Plan) rollout.Outcome {
	out := rollout.Outcome{Done: map[rollout.OpID]bool{}, Failed: map[rollout.OpID]error{}}
	for _, op := range plan.Ops {
		if err := a.oneOfExperiment(ctx, ex, op); err != nil {
			out.Failed[op.ID()] = err
			continue
		}
		out.Done[op.ID()] = true
	}
	return out
}

func (a *Actor) oneOfExperiment(ctx context.Context, ex *v1alpha1.Experiment, op rollout.Op) error {
	switch o := op.(type) {
	case experiment.CreateReplicaSet:
		return a.createExperimentSet(ctx, ex, o.ReplicaSet)
	case rollout.UpdateReplicaSet:
		return a.updateReplicaSet(ctx, ex.Namespace, o)
	case experiment.CreateService:
		return a.createOwned(ctx, ex, "Service", o.Service.DeepCopy(), &corev1.Service{})
	case experiment.DeleteService:
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ex.Namespace, Name: o.Name}}
		return a.delete(ctx, svc, o.UID, o.ResourceVersion)
	case experiment.CreateRun:
		return a.createOwned(ctx, ex, v1alpha1.KindAnalysisRun, o.Run.DeepCopy(), &v1alpha1.AnalysisRun{})
	case rollout.TerminateAnalysisRun:
		run := &v1alpha1.AnalysisRun{ObjectMeta: metav1.ObjectMeta{Namespace: ex.Namespace, Name: o.Name}}
		return a.patch(ctx, v1alpha1.KindAnalysisRun, run, o.ResourceVersion, map[string]any{"spec": map[string]any{"terminate": true}})
	}
	return fmt.Errorf("operation %s has unknown type %T", op.ID(), op)
}

// mostNames is how many names are tried for one ReplicaSet.
const mostNames = 10

// createExperimentSet finds a name that nobody else has: the ReplicaSet is
// found by its owner and annotations, not by its name.
func (a *Actor) createExperimentSet(ctx context.Context, ex *v1alpha1.Experiment, rs *appsv1.ReplicaSet) error {
	var err error
	for n := range mostNames {
		next := rs.DeepCopy()
		if n > 0 {
			next.Name = fmt.Sprintf("%s-%d", rs.Name, n)
		}
		there := &appsv1.ReplicaSet{}
		err = a.createOwned(ctx, ex, "ReplicaSet", next, there)
		mine := metav1.IsControlledBy(there, ex)
		var taken *experiment.TakenError
		switch {
		case err == nil && mine && there.Annotations[v1alpha1.AnnotationExperimentTemplateName] != rs.Annotations[v1alpha1.AnnotationExperimentTemplateName]:
			// Template "x" in its second try may meet template "x-1".
			err = &experiment.TakenError{Kind: "ReplicaSet", Namespace: rs.Namespace, Name: next.Name}
		case !errors.As(err, &taken):
			return err
		}
	}
	return err
}

// createOwned creates an object, or finds in there the one that an earlier,
// interrupted pass has created.
func (a *Actor) createOwned(ctx context.Context, ex *v1alpha1.Experiment, kind string, obj, there client.Object) error {
	err := a.Writer.Create(ctx, obj)
	if apierrors.IsAlreadyExists(err) {
		if err := a.Live.Get(ctx, client.ObjectKeyFromObject(obj), there); err != nil {
			return fmt.Errorf("look at %s %s: %w", kind, obj.GetName(), err)
		}
		if metav1.IsControlledBy(there, ex) && there.GetDeletionTimestamp() == nil {
			return nil
		}
		return &experiment.TakenError{Kind: kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
	}
	if err != nil {
		return fmt.Errorf("create %s %s/%s: %w", kind, obj.GetNamespace(), obj.GetName(), err)
	}
	a.Memory.Created(kind, ex.UID, obj.GetName())
	return nil
}

// WriteExperiment writes the status of an Experiment, only if it differs. The
// kind has no status subresource, so it is a patch of the main resource that
// holds nothing but the difference and the version it was computed from.
func (a *Actor) WriteExperiment(ctx context.Context, ex *v1alpha1.Experiment, status v1alpha1.ExperimentStatus) error {
	if apiequality.Semantic.DeepEqual(ex.Status, status) {
		return nil
	}
	next := ex.DeepCopy()
	next.Status = status
	patch := client.MergeFromWithOptions(ex, client.MergeFromWithOptimisticLock{})
	if err := a.Writer.Patch(ctx, next, patch); err != nil {
		return fmt.Errorf("write status of Experiment %s/%s: %w", ex.Namespace, ex.Name, err)
	}
	a.Memory.Wrote(v1alpha1.KindExperiment, next)
	return nil
}
