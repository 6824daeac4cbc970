package act

import (
	"context"
	"encoding/json"
	"fmt"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// patching is how many pods are patched at once.
const patching = 10

// syncPods brings the metadata of a role to the running pods of a ReplicaSet,
// whose template has it already, and then notes that they have it. Pods are
// read here, past every cache, because nothing else needs them.
func (a *Actor) syncPods(ctx context.Context, namespace string, o rollout.SyncPods) error {
	var pods corev1.PodList
	if err := a.Live.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.LabelPodTemplateHash: o.Hash}); err != nil {
		return fmt.Errorf("list pods of ReplicaSet %s/%s: %w", namespace, o.Name, err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(patching)
	for i := range pods.Items {
		pod := &pods.Items[i]
		owner := metav1.GetControllerOf(pod)
		if owner == nil || string(owner.UID) != o.UID || pod.DeletionTimestamp != nil || carries(pod.Labels, o.Labels) && carries(pod.Annotations, o.Annotations) {
			continue
		}
		group.Go(func() error {
			raw, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID, "labels": o.Labels, "annotations": o.Annotations}})
			if err != nil {
				return fmt.Errorf("encode patch of Pod %s: %w", pod.Name, err)
			}
			err = a.Writer.Patch(ctx, pod, client.RawPatch(types.MergePatchType, raw))
			if client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("patch metadata of Pod %s/%s: %w", namespace, pod.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: o.Name}}
	return a.patch(ctx, "ReplicaSet", rs, o.ResourceVersion, map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{rollout.AnnotationPodsMetadata: nil}}})
}

// carries reports that the map says what the changes ask for.
func carries(have map[string]string, changes map[string]*string) bool {
	for k, v := range changes {
		value, there := have[k]
		if v == nil && there || v != nil && (!there || value != *v) {
			return false
		}
	}
	return true
}

// templatePatch is the part of a merge patch that changes a pod template.
func templatePatch(p rollout.TemplatePatch) map[string]any {
	out, meta := map[string]any{}, map[string]any{}
	if len(p.Labels) > 0 {
		meta["labels"] = p.Labels
	}
	if len(p.Annotations) > 0 {
		meta["annotations"] = p.Annotations
	}
	if len(meta) > 0 {
		out["metadata"] = meta
	}
	if p.SetAffinity {
		out["spec"] = map[string]any{"affinity": affinityPatch(p.Affinity)}
	}
	return out
}

// affinityPatch replaces the anti-affinity; the other parts are the user's, and
// an affinity that is nil had none.
func affinityPatch(a *corev1.Affinity) any {
	if a == nil {
		return nil
	}
	if a.PodAntiAffinity == nil {
		return map[string]any{"podAntiAffinity": nil}
	}
	anti := map[string]any{"requiredDuringSchedulingIgnoredDuringExecution": nil, "preferredDuringSchedulingIgnoredDuringExecution": nil}
	if terms := a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution; len(terms) > 0 {
		anti["requiredDuringSchedulingIgnoredDuringExecution"] = terms
	}
	if terms := a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution; len(terms) > 0 {
		anti["preferredDuringSchedulingIgnoredDuringExecution"] = terms
	}
	return map[string]any{"podAntiAffinity": anti}
}
