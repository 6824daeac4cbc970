package cli

import (
	"cmp"
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// family is a Rollout, or an Experiment, with all it owns.
type family struct {
	rollout     *v1alpha1.Rollout
	sets        []*appsv1.ReplicaSet
	pods        []*corev1.Pod
	runs        []*v1alpha1.AnalysisRun
	experiments []*v1alpha1.Experiment
}

// familyIn reads everything in the namespace that could belong to a tree, with
// one request a kind.
func (c *cluster) familyIn(ctx context.Context) (family, error) {
	var sets appsv1.ReplicaSetList
	var pods corev1.PodList
	var runs v1alpha1.AnalysisRunList
	var exps v1alpha1.ExperimentList
	ours := client.HasLabels{v1alpha1.LabelPodTemplateHash}
	for _, q := range []struct {
		list client.ObjectList
		opts []client.ListOption
	}{{&sets, nil}, {&pods, []client.ListOption{ours}}, {&runs, nil}, {&exps, nil}} {
		if err := c.List(ctx, q.list, append(q.opts, client.InNamespace(c.namespace))...); err != nil {
			return family{}, err
		}
	}
	return family{sets: pointers(sets.Items), pods: pointers(pods.Items), runs: pointers(runs.Items), experiments: pointers(exps.Items)}, nil
}

func pointers[T any](items []T) []*T {
	var out []*T
	for i := range items {
		out = append(out, &items[i])
	}
	return out
}

// ownedBy are the objects that the owner controls, the newest first.
func ownedBy[T metav1.Object](all []T, owner metav1.Object) []T {
	var out []T
	for _, o := range all {
		if metav1.IsControlledBy(o, owner) {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b T) int {
		return cmp.Or(b.GetCreationTimestamp().Compare(a.GetCreationTimestamp().Time), cmp.Compare(a.GetName(), b.GetName()))
	})
	return out
}
