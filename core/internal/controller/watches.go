package controller

import (
	"context"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/observe"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// doorbell lets anybody ask for a pass over a key without blocking: the queue
// of the controller itself is the buffer. Rings before the controller has
// started are kept.
type doorbell struct {
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
	early []reconcile.Request
}

// Start implements source.Source.
func (d *doorbell) Start(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue = q
	for _, req := range d.early {
		q.Add(req)
	}
	d.early = nil
	return nil
}

func (d *doorbell) ring(key types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	req := reconcile.Request{NamespacedName: key}
	if d.queue == nil {
		d.early = append(d.early, req)
		return
	}
	d.queue.Add(req)
}

var _ source.Source = (*doorbell)(nil)

// watchRollouts starts the controller of Rollouts: their own events, those of
// what they own, and those of what they name.
func watchRollouts(mgr ctrl.Manager, r *Rollouts, bell *doorbell, threads int) error {
	reader, first := mgr.GetCache(), &urgency{}
	b := ctrl.NewControllerManagedBy(mgr)
	if _, local := reader.(localCache); !local {
		b = b.Watches(&v1alpha1.ClusterAnalysisTemplate{}, naming(reader, templateIndex, func(client.Object) string { return anyTemplate }))
	}
	return b.Named("rollout").
		For(&v1alpha1.Rollout{}, builder.WithPredicates(announced(r), first.learns())).
		Owns(&appsv1.ReplicaSet{}, builder.WithPredicates(answered(r.Observer.Written))).
		Owns(&v1alpha1.AnalysisRun{}, builder.WithPredicates(phaseChanged())).
		Owns(&v1alpha1.Experiment{}, builder.WithPredicates(experimentChanged())).
		Watches(&corev1.Service{}, naming(reader, serviceIndex, func(o client.Object) string { return o.GetName() }),
			builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})).
		Watches(&v1alpha1.AnalysisTemplate{}, naming(reader, templateIndex, func(client.Object) string { return anyTemplate })).
		Watches(&v1alpha1.Rollout{}, rivals(reader)).
		WatchesRawSource(bell).
		WithOptions(controller.Options{MaxConcurrentReconciles: threads, RateLimiter: retries(), NewQueue: urgentQueue(first)}).
		Complete(r.Metrics.timed(v1alpha1.KindRollout, r))
}

// retries paces passes that fail, as Argo Rollouts does: at once, then up to
// 10 s apart. The library's own limit is 1000 s.
func retries() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, 10*time.Second)
}

// rivals enqueues the Rollouts that care about what another one may route: a
// claim that was taken or given up decides between them, and none of their own
// objects changes.
func rivals(reader client.Reader) handler.EventHandler {
	ask := func(ctx context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request], claims []string) {
		lists := []client.MatchingFields{{conflictIndex: conflicted}}
		for _, claim := range claims {
			lists = append(lists, client.MatchingFields{claimIndex: claim})
		}
		if len(claims) == 0 {
			return
		}
		for _, fields := range lists {
			var list v1alpha1.RolloutList
			if err := reader.List(ctx, &list, fields, client.UnsafeDisableDeepCopy); err != nil {
				return // stopping
			}
			for i := range list.Items {
				q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
			}
		}
	}
	return handler.Funcs{
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			ask(ctx, q, difference(claimKeys(e.ObjectOld), claimKeys(e.ObjectNew)))
			heirs(ctx, reader, e.ObjectNew.GetNamespace(), difference(serviceNames(e.ObjectOld), serviceNames(e.ObjectNew)), q)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			ask(ctx, q, claimKeys(e.Object))
			heirs(ctx, reader, e.Object.GetNamespace(), serviceNames(e.Object), q)
		},
	}
}

// heirs enqueues the Rollouts that name Services another one has stopped naming
// or has left behind: they may have been refused because it managed them.
func heirs(ctx context.Context, reader client.Reader, namespace string, services []string, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	for _, service := range services {
		var list v1alpha1.RolloutList
		err := reader.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{serviceIndex: service}, client.UnsafeDisableDeepCopy)
		if err != nil {
			return // stopping
		}
		for i := range list.Items {
			q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
}

func serviceNames(o client.Object) []string {
	if ro, ok := o.(*v1alpha1.Rollout); ok {
		return rollout.ServiceNames(ro)
	}
	return nil
}

// difference is what only one of them has.
func difference(a, b []string) []string {
	var out []string
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	for _, s := range b {
		if !slices.Contains(a, s) {
			out = append(out, s)
		}
	}
	return out
}

// claimKeys are the claims a Rollout holds, for claimIndex.
func claimKeys(o client.Object) []string {
	ro, ok := o.(*v1alpha1.Rollout)
	if !ok {
		return nil
	}
	var out []string
	for _, router := range ro.Status.Canary.Routers {
		for _, hold := range router.Holds {
			out = append(out, hold.Object+"/"+hold.Key)
		}
	}
	return out
}

// conflictKey tells Rollouts that wait for a claim of another one.
func conflictKey(o client.Object) []string {
	ro, ok := o.(*v1alpha1.Rollout)
	if !ok {
		return nil
	}
	for _, c := range ro.Status.Conditions {
		if c.Type == v1alpha1.ConditionBlocked && c.Reason == string(rollout.HoldRouteConflict) {
			return []string{conflicted}
		}
	}
	return nil
}

// announced tells of every Rollout that comes into view, also after a restart:
// clients count on that event coming first.
func announced(r *Rollouts) predicate.Predicate {
	return predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool {
		if ro, ok := e.Object.(*v1alpha1.Rollout); ok && ro.DeletionTimestamp == nil {
			r.Events.Event(ro, corev1.EventTypeNormal, v1alpha1.EventRolloutAddedToInformer,
				"Rollout resource added to informer: "+ro.Namespace+"/"+ro.Name)
		}
		return true
	}}
}

// answered leaves out the event of our own change to the spec of a ReplicaSet: its
// controller answers each with a status of its own (observedGeneration), and until
// then a pass has nothing to go by. It is every sixth pass of an update.
func answered(written *observe.Written) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetGeneration() == e.ObjectNew.GetGeneration() || !written.Own("ReplicaSet", e.ObjectNew)
	}}
}

// phaseChanged: a Rollout depends on the verdict and message of a run, not on
// each measurement.
func phaseChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		a, okA := e.ObjectOld.(*v1alpha1.AnalysisRun)
		b, okB := e.ObjectNew.(*v1alpha1.AnalysisRun)
		return !okA || !okB || a.Status.Phase != b.Status.Phase || a.Status.Message != b.Status.Message ||
			a.DeletionTimestamp.IsZero() != b.DeletionTimestamp.IsZero() || a.Spec.Terminate != b.Spec.Terminate
	}}
}

// experimentChanged: a Rollout depends on the verdict of an Experiment and on
// where its pods are found.
func experimentChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		a, okA := e.ObjectOld.(*v1alpha1.Experiment)
		b, okB := e.ObjectNew.(*v1alpha1.Experiment)
		return !okA || !okB || a.Status.Phase != b.Status.Phase || a.Status.Message != b.Status.Message ||
			!apiequality.Semantic.DeepEqual(a.Status.TemplateStatuses, b.Status.TemplateStatuses) ||
			a.DeletionTimestamp.IsZero() != b.DeletionTimestamp.IsZero() || a.Spec.Terminate != b.Spec.Terminate
	}}
}

// naming enqueues the Rollouts that name the object, found through an index.
func naming(reader client.Reader, index string, key func(client.Object) string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		var list v1alpha1.RolloutList
		opts := []client.ListOption{client.MatchingFields{index: key(o)}, client.UnsafeDisableDeepCopy}
		if o.GetNamespace() != "" {
			opts = append(opts, client.InNamespace(o.GetNamespace()))
		}
		if err := reader.List(ctx, &list, opts...); err != nil {
			return nil // the cache is not started or stopping: the first listing enqueues everything
		}
		out := make([]reconcile.Request, 0, len(list.Items))
		for i := range list.Items {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
		return out
	})
}
