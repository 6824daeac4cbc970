package act

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// createReplicaSet creates the ReplicaSet of a revision. A name that is taken
// is ours when an interrupted pass created it; anybody else's is a collision,
// and the next attempt gets another hash.
func (a *Actor) createReplicaSet(ctx context.Context, ro *v1alpha1.Rollout, o rollout.CreateReplicaSet, out *rollout.Outcome) error {
	rs := o.ReplicaSet.DeepCopy()
	err := a.Writer.Create(ctx, rs)
	if apierrors.IsAlreadyExists(err) {
		var there appsv1.ReplicaSet
		if err := a.Live.Get(ctx, client.ObjectKeyFromObject(rs), &there); err != nil {
			return fmt.Errorf("look at ReplicaSet %s: %w", rs.Name, err)
		}
		if metav1.IsControlledBy(&there, ro) && apiequality.Semantic.DeepEqual(there.Labels, rs.Labels) && there.DeletionTimestamp == nil {
			return nil
		}
		out.Collision = true
		return fmt.Errorf("ReplicaSet name %s/%s is taken by another owner or template", rs.Namespace, rs.Name)
	}
	if err != nil {
		return fmt.Errorf("create ReplicaSet %s/%s: %w", rs.Namespace, rs.Name, err)
	}
	a.Memory.Created("ReplicaSet", ro.UID, rs.Name)
	return nil
}

// adopt makes the Rollout the controller of an orphan. The UID in the patch
// makes it fail when the Rollout or the ReplicaSet was replaced meanwhile.
func (a *Actor) adopt(ctx context.Context, ro *v1alpha1.Rollout, o rollout.AdoptReplicaSet) error {
	var live v1alpha1.Rollout
	if err := a.Live.Get(ctx, client.ObjectKeyFromObject(ro), &live); err != nil {
		return fmt.Errorf("look at Rollout %s before adopting %s: %w", ro.Name, o.Name, err)
	}
	if live.UID != ro.UID || live.DeletionTimestamp != nil {
		return fmt.Errorf("Rollout %s/%s is being replaced or deleted and adopts nothing", ro.Namespace, ro.Name)
	}
	ref := metav1.NewControllerRef(ro, v1alpha1.GroupVersion.WithKind("Rollout"))
	rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: ro.Namespace, Name: o.Name}}
	return a.patch(ctx, "ReplicaSet", rs, o.ResourceVersion, map[string]any{
		"metadata": map[string]any{"uid": o.UID, "ownerReferences": []any{ref}},
	})
}

func (a *Actor) updateReplicaSet(ctx context.Context, namespace string, o rollout.UpdateReplicaSet) error {
	body, spec := map[string]any{}, map[string]any{}
	if o.Scales() {
		spec["replicas"] = o.To
	}
	if o.MinReadySeconds != nil {
		spec["minReadySeconds"] = *o.MinReadySeconds
	}
	if o.Template != nil {
		if template := templatePatch(*o.Template); len(template) > 0 {
			spec["template"] = template
		}
	}
	if len(spec) > 0 {
		body["spec"] = spec
	}
	if len(o.Annotations) > 0 {
		body["metadata"] = map[string]any{"annotations": o.Annotations}
	}
	rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: o.Name}}
	return a.patch(ctx, "ReplicaSet", rs, o.ResourceVersion, body)
}
