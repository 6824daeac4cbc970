package controller

import (
	"context"
	"errors"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/act"
	"github.com/sluice-rollouts/sluice/core/internal/experiment"
	"github.com/sluice-rollouts/sluice/core/internal/observe"
)

// Experiments reconciles Experiments: observe, decide, act, record. All fields
// are required.
type Experiments struct {
	Reader   client.Reader
	Observer *observe.Experiments
	Actor    *act.Actor
	Events   record.EventRecorder
	// Retries paces operations that fail; see Retries().
	Retries workqueue.TypedRateLimiter[ctrl.Request]
}

// Reconcile makes one pass over one Experiment.
func (r *Experiments) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var ex v1alpha1.Experiment
	if err := r.Reader.Get(ctx, req.NamespacedName, &ex); err != nil {
		r.Retries.Forget(req)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if ex.DeletionTimestamp != nil {
		r.Observer.Written.Forget(ex.UID)
		return ctrl.Result{}, nil // owner references do the rest
	}
	snapshot, err := r.Observer.Snapshot(ctx, &ex)
	if errors.Is(err, observe.ErrBehind) {
		return ctrl.Result{RequeueAfter: behind}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	plan := experiment.Decide(snapshot)
	out := r.Actor.DoExperiment(ctx, &ex, plan)
	rec := experiment.Record(snapshot, plan, out)
	r.tell(ctx, snapshot, rec.Done)
	if err := r.Actor.WriteExperiment(ctx, &ex, rec.Status); err != nil {
		return later(err)
	}
	r.tell(ctx, snapshot, rec.Edges)
	if err := act.Failure(out); err != nil {
		log.FromContext(ctx).Error(err, "operations failed; they are tried again")
		return soonest(wake(rec.Wake, snapshot.Now, false), r.Retries.When(req)), nil
	}
	r.Retries.Forget(req)
	return wake(rec.Wake, snapshot.Now, len(out.Failed) > 0), nil
}

func (r *Experiments) tell(ctx context.Context, s *experiment.Snapshot, events []experiment.Event) {
	for _, e := range events {
		if e.OnParent {
			r.Events.Event(s.Parent, e.Type, e.Reason, e.Message)
			continue
		}
		log.FromContext(ctx).Info(e.Message, "event", e.Reason)
		r.Events.Event(s.Experiment, e.Type, e.Reason, e.Message)
	}
}

// watchExperiments starts the controller of Experiments: their own events,
// those of what they own, and those of the Rollout whose traffic they carry.
func watchExperiments(mgr ctrl.Manager, events record.EventRecorder, counters *Metrics, threads int) error {
	written := &observe.Written{}
	r := &Experiments{
		Reader:   mgr.GetCache(),
		Observer: &observe.Experiments{Reader: mgr.GetCache(), Live: mgr.GetAPIReader(), Written: written},
		Actor:    &act.Actor{Writer: mgr.GetClient(), Live: mgr.GetAPIReader(), Memory: written},
		Events:   events,
		Retries:  Retries(),
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("experiment").
		For(&v1alpha1.Experiment{}).
		Owns(&appsv1.ReplicaSet{}).
		Owns(&v1alpha1.AnalysisRun{}, builder.WithPredicates(phaseChanged())).
		Owns(&corev1.Service{}).
		Watches(&v1alpha1.Rollout{}, handler.EnqueueRequestsFromMapFunc(carriers(mgr.GetCache())), builder.WithPredicates(splitChanged())).
		WithOptions(controller.Options{MaxConcurrentReconciles: threads, RateLimiter: retries()}).
		Complete(counters.timed(v1alpha1.KindExperiment, r))
}

// carriers are the Experiments of a Rollout.
func carriers(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, ro client.Object) []reconcile.Request {
		var list v1alpha1.ExperimentList
		err := reader.List(ctx, &list, client.InNamespace(ro.GetNamespace()),
			client.MatchingFields{observe.OwnerIndex: string(ro.GetUID())}, client.UnsafeDisableDeepCopy)
		if err != nil {
			return nil // the cache is not started or stopping: the first listing enqueues everything
		}
		var out []reconcile.Request
		for i := range list.Items {
			if metav1.IsControlledBy(&list.Items[i], ro) {
				out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: list.Items[i].Namespace, Name: list.Items[i].Name}})
			}
		}
		return out
	}
}

// splitChanged: an Experiment depends on its Rollout only in what traffic goes
// to its pods.
func splitChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			a, okA := e.ObjectOld.(*v1alpha1.Rollout)
			b, okB := e.ObjectNew.(*v1alpha1.Rollout)
			return !okA || !okB || experiment.Carries(a) != experiment.Carries(b)
		},
	}
}
