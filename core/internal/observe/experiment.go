package observe

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/experiment"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Experiments builds snapshots of Experiments.
type Experiments struct {
	// Reader is a cache with OwnerIndex over ReplicaSets, Services and
	// AnalysisRuns; objects are shared, not copied.
	Reader client.Reader
	// Live reads past the cache, only templates that the cache does not have: a
	// template that is missing ends the experiment.
	Live    client.Reader
	Written *Written
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Snapshot reads everything there is to know about the Experiment. It returns
// ErrBehind when a cache must catch up first.
func (o *Experiments) Snapshot(ctx context.Context, ex *v1alpha1.Experiment) (*experiment.Snapshot, error) {
	if o.Written.Behind(v1alpha1.KindExperiment, ex) {
		return nil, ErrBehind
	}
	s := &experiment.Snapshot{Now: time.Now(), Experiment: ex}
	if o.Now != nil {
		s.Now = o.Now()
	}
	for _, read := range []func(context.Context, *experiment.Snapshot) error{o.parent, o.owned, o.taken, o.templates} {
		if err := read(ctx, s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (o *Experiments) parent(ctx context.Context, s *experiment.Snapshot) error {
	ref := metav1.GetControllerOf(s.Experiment)
	if ref == nil || ref.Kind != v1alpha1.KindRollout {
		return nil
	}
	var ro v1alpha1.Rollout
	found, err := get(ctx, o.Reader, s.Experiment.Namespace, ref.Name, &ro)
	if err == nil && found && ro.UID == ref.UID {
		s.Parent = &ro
	}
	return err
}

// owned lists what the Experiment controls.
func (o *Experiments) owned(ctx context.Context, s *experiment.Snapshot) error {
	var sets appsv1.ReplicaSetList
	var services corev1.ServiceList
	var runs v1alpha1.AnalysisRunList
	for kind, list := range map[string]client.ObjectList{"ReplicaSet": &sets, "Service": &services, v1alpha1.KindAnalysisRun: &runs} {
		err := o.Reader.List(ctx, list, client.InNamespace(s.Experiment.Namespace),
			client.MatchingFields{OwnerIndex: string(s.Experiment.UID)}, client.UnsafeDisableDeepCopy)
		if err != nil {
			return fmt.Errorf("list %ss of Experiment %s/%s: %w", kind, s.Experiment.Namespace, s.Experiment.Name, err)
		}
	}
	var behind bool
	s.ReplicaSets, behind = current(o.Written, "ReplicaSet", s.Experiment.UID, sets.Items)
	if !behind {
		s.Services, behind = current(o.Written, "Service", s.Experiment.UID, services.Items)
	}
	if !behind {
		s.AnalysisRuns, behind = current(o.Written, v1alpha1.KindAnalysisRun, s.Experiment.UID, runs.Items)
	}
	if behind {
		return ErrBehind
	}
	return nil
}

// current takes a listing, unless it lacks something this process has written.
// What is being deleted is left out, but for AnalysisRuns, whose calls may last.
func current[T any, O interface {
	*T
	client.Object
}](w *Written, kind string, owner types.UID, items []T) (out []O, behind bool) {
	listed := map[string]bool{}
	for i := range items {
		obj := O(&items[i])
		listed[obj.GetName()] = true
		if w.Behind(kind, obj) {
			return nil, true
		}
		if obj.GetDeletionTimestamp() == nil || kind == v1alpha1.KindAnalysisRun {
			out = append(out, obj)
		}
	}
	return out, w.Unseen(kind, owner, func(name string) bool { return listed[name] })
}

// taken notes the hashes of everybody else's ReplicaSets while one has to be
// created.
func (o *Experiments) taken(ctx context.Context, s *experiment.Snapshot) error {
	if len(s.ReplicaSets) >= len(s.Experiment.Spec.Templates) {
		return nil
	}
	var list appsv1.ReplicaSetList
	if err := o.Reader.List(ctx, &list, client.InNamespace(s.Experiment.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list ReplicaSets in %s: %w", s.Experiment.Namespace, err)
	}
	s.Taken = map[string]bool{}
	for i := range list.Items {
		if !metav1.IsControlledBy(&list.Items[i], s.Experiment) {
			s.Taken[rollout.Hash(&list.Items[i])] = true
		}
	}
	return nil
}

func (o *Experiments) templates(ctx context.Context, s *experiment.Snapshot) error {
	if s.Experiment.Status.Phase.Completed() {
		return nil
	}
	found := templateSet{
		reader: o.Reader, live: o.Live, instance: s.Experiment.Labels[v1alpha1.LabelInstanceID], namespace: s.Experiment.Namespace,
	}
	var refs []v1alpha1.AnalysisTemplateRef
	for _, a := range s.Experiment.Spec.Analyses {
		refs = append(refs, v1alpha1.AnalysisTemplateRef{TemplateName: a.TemplateName, ClusterScope: a.ClusterScope})
	}
	err := found.gather(ctx, refs)
	s.Templates, s.ClusterTemplates = found.namespaced, found.cluster
	return err
}
