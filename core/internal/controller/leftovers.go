package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	"github.com/sluice-rollouts/sluice/core/internal/observe"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// What a Rollout leaves behind. There are no finalizers: a Rollout can always
// be deleted, with or without a controller. What it marked is found again by
// the marks, when the deletion is seen or, where it was missed, when the
// controller starts. Both reconcilers here ask the API server, past every
// cache, before they believe that a Rollout is gone: the caches hold only
// Rollouts of this controller's instance id.

// services frees Services that no Rollout names any more: our hash leaves
// their selector, so that they reach every pod again, and the mark goes.
type services struct {
	cached client.Reader
	live   client.Reader
	writer client.Writer
}

// Reconcile looks at one Service that carries a mark.
func (s services) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var svc corev1.Service
	if err := s.cached.Get(ctx, req.NamespacedName, &svc); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	owner := svc.Annotations[v1alpha1.AnnotationManagedBy]
	if owner == "" || svc.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	for _, reader := range []client.Reader{s.cached, s.live} {
		var ro v1alpha1.Rollout
		err := reader.Get(ctx, client.ObjectKey{Namespace: svc.Namespace, Name: owner}, &ro)
		if err == nil && (ro.DeletionTimestamp != nil || slices.Contains(observe.MarkedServices(&ro), svc.Name)) {
			return ctrl.Result{}, nil // a deletion that goes on ends with an event
		}
		if client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, fmt.Errorf("look for Rollout %s/%s, which Service %s is marked with: %w", svc.Namespace, owner, svc.Name, err)
		}
	}
	patch := map[string]any{
		"metadata": map[string]any{"resourceVersion": svc.ResourceVersion, "annotations": map[string]any{v1alpha1.AnnotationManagedBy: nil}},
	}
	if svc.Spec.Selector[v1alpha1.LabelPodTemplateHash] != "" {
		patch["spec"] = map[string]any{"selector": map[string]any{v1alpha1.LabelPodTemplateHash: nil}}
	}
	if err := merge(ctx, s.writer, &svc, patch); err != nil {
		return later(err)
	}
	log.FromContext(ctx).Info("freed a Service that no Rollout names any more", "service", req.String(), "rollout", owner)
	return ctrl.Result{}, nil
}

// workloadsBack gives Deployments their replicas back when the Rollout that
// scaled them down is gone.
type workloadsBack struct {
	live   client.Reader
	writer client.Writer
}

// Reconcile looks at one Deployment that carries a mark.
func (w workloadsBack) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var d appsv1.Deployment
	if err := w.live.Get(ctx, req.NamespacedName, &d); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	owner := d.Annotations[rollout.AnnotationScaledDownBy]
	before, err := strconv.ParseInt(d.Annotations[rollout.AnnotationReplicas], 10, 32)
	if owner == "" || err != nil || d.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	var ro v1alpha1.Rollout
	err = w.live.Get(ctx, client.ObjectKey{Namespace: d.Namespace, Name: owner}, &ro)
	if err == nil {
		return ctrl.Result{}, nil // it serves
	}
	if !apierrors.IsNotFound(err) {
		return ctrl.Result{}, fmt.Errorf("look for Rollout %s/%s, which has scaled Deployment %s down: %w", d.Namespace, owner, d.Name, err)
	}
	patch := map[string]any{"metadata": map[string]any{
		"resourceVersion": d.ResourceVersion,
		"labels":          map[string]any{rollout.LabelScaledDown: nil},
		"annotations":     map[string]any{rollout.AnnotationScaledDownBy: nil, rollout.AnnotationReplicas: nil},
	}}
	if d.Spec.Replicas != nil && int64(*d.Spec.Replicas) < before {
		patch["spec"] = map[string]any{"replicas": before}
	}
	if err := merge(ctx, w.writer, &d, patch); err != nil {
		return later(err)
	}
	log.FromContext(ctx).Info("gave a Deployment its replicas back", "deployment", req.String(), "rollout", owner, "replicas", before)
	return ctrl.Result{}, nil
}

func merge(ctx context.Context, w client.Writer, obj client.Object, patch map[string]any) error {
	raw, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	return w.Patch(ctx, obj, client.RawPatch(types.MergePatchType, raw))
}

// watchLeftovers starts both reconcilers.
func watchLeftovers(o Options, mgr ctrl.Manager, events record.EventRecorder) error {
	marked := predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetAnnotations()[v1alpha1.AnnotationManagedBy] != "" })
	one := controller.Options{MaxConcurrentReconciles: 1, RateLimiter: retries()}
	err := ctrl.NewControllerManagedBy(mgr).Named("leftover-services").
		Watches(&corev1.Service{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(marked)).
		Watches(&v1alpha1.Rollout{}, unnamed(events)).
		WithOptions(one).
		Complete(services{cached: mgr.GetCache(), live: mgr.GetAPIReader(), writer: mgr.GetClient()})
	if err != nil {
		return fmt.Errorf("watch services that are left: %w", err)
	}
	missed := &doorbell{}
	err = ctrl.NewControllerManagedBy(mgr).Named("leftover-deployments").
		Watches(&v1alpha1.Rollout{}, unreferenced()).
		WatchesRawSource(missed).
		WithOptions(one).
		Complete(workloadsBack{live: mgr.GetAPIReader(), writer: mgr.GetClient()})
	if err != nil {
		return fmt.Errorf("watch deployments that are left: %w", err)
	}
	namespace := ""
	if o.Namespaced {
		namespace = o.Namespace
	}
	return mgr.Add(leading(func(ctx context.Context) error { return missedDeletions(ctx, mgr.GetAPIReader(), namespace, missed) }))
}

// missedDeletions finds the Deployments that were scaled down by Rollouts that
// may have been deleted while no controller was there. It is one request.
func missedDeletions(ctx context.Context, live client.Reader, namespace string, bell *doorbell) error {
	var list appsv1.DeploymentList
	if err := live.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{rollout.LabelScaledDown: "true"}); err != nil {
		// Not a reason to end: no Rollout depends on it.
		log.FromContext(ctx).Error(err, "cannot list Deployments that Rollouts have scaled down; those of Rollouts deleted meanwhile keep their size")
		return nil
	}
	for i := range list.Items {
		bell.ring(client.ObjectKeyFromObject(&list.Items[i]))
	}
	return nil
}

type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]

// unnamed asks for a look at the Services a Rollout has stopped naming.
func unnamed(events record.EventRecorder) handler.EventHandler {
	ask := func(namespace string, names []string, q requests) {
		for _, name := range names {
			q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
		}
	}
	return handler.Funcs{
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q requests) {
			before, okB := e.ObjectOld.(*v1alpha1.Rollout)
			after, okA := e.ObjectNew.(*v1alpha1.Rollout)
			if okB && okA {
				ask(after.Namespace, difference(observe.MarkedServices(before), observe.MarkedServices(after)), q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q requests) {
			if ro, ok := e.Object.(*v1alpha1.Rollout); ok {
				events.Event(ro, corev1.EventTypeNormal, v1alpha1.EventRolloutDeleted, fmt.Sprintf("Rollout %s/%s is deleted", ro.Namespace, ro.Name))
				ask(ro.Namespace, observe.MarkedServices(ro), q)
			}
		},
	}
}

// unreferenced asks for a look at the Deployment of a Rollout that was deleted.
func unreferenced() handler.EventHandler {
	return handler.Funcs{DeleteFunc: func(_ context.Context, e event.DeleteEvent, q requests) {
		if ro, ok := e.Object.(*v1alpha1.Rollout); ok && ro.Spec.WorkloadRef != nil && ro.Spec.WorkloadRef.Kind == "Deployment" {
			q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: ro.Namespace, Name: ro.Spec.WorkloadRef.Name}})
		}
	}}
}
