package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis"
	"github.com/sluice-rollouts/sluice/core/internal/observe"
	"github.com/sluice-rollouts/sluice/core/internal/plugins"
)

// AnalysisRunEvents tells people what happened to a run.
type AnalysisRunEvents interface {
	Event(about runtime.Object, eventType, reason, message string)
}

// AnalysisRuns reconciles AnalysisRuns: observe, decide, record, act. All
// fields but Forget are required.
type AnalysisRuns struct {
	Reader  client.Reader
	Writer  client.Writer
	Calls   *analysis.Calls
	Events  AnalysisRunEvents
	Written *observe.Written
	Now     func() time.Time
	// Forget is told of runs that are gone. Nil: nobody needs to know.
	Forget func(run types.NamespacedName)
}

// Reconcile makes one pass over one run. The status is written before the next
// calls start, so a call always belongs to a measurement that the stored
// counters say comes next; a result is forgotten only after it was written.
func (r *AnalysisRuns) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var run v1alpha1.AnalysisRun
	if err := r.Reader.Get(ctx, req.NamespacedName, &run); err != nil {
		if apierrors.IsNotFound(err) {
			r.drop(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if run.DeletionTimestamp != nil {
		r.drop(req.NamespacedName)
		r.Written.Forget(run.UID)
		return ctrl.Result{}, nil
	}
	if r.Written.Behind(v1alpha1.KindAnalysisRun, &run) {
		return ctrl.Result{RequeueAfter: behind}, nil
	}
	now := r.Now()
	plan := analysis.Decide(analysis.Snapshot{Now: now, Run: &run, Calls: r.Calls.Of(&run)})
	if plan.Delete {
		log.FromContext(ctx).Info("deleting the run, its time to live is over")
		err := r.Writer.Delete(ctx, &run, client.Preconditions{UID: &run.UID, ResourceVersion: &run.ResourceVersion})
		return later(err)
	}
	updated, err := r.write(ctx, &run, plan.Status)
	if err != nil {
		return later(err)
	}
	r.Calls.Act(updated, plan)
	if updated.Status.Phase.Completed() && len(r.Calls.Of(updated)) == 0 && r.Forget != nil {
		r.Forget(req.NamespacedName)
	}
	for _, e := range plan.Events {
		log.FromContext(ctx).Info(e.Message, "event", e.Reason)
		r.Events.Event(updated, e.Type, e.Reason, e.Message)
	}
	return wake(plan.Wake, now, false), nil
}

// drop ends and forgets what a run that is gone has asked for.
func (r *AnalysisRuns) drop(run types.NamespacedName) {
	r.Calls.Drop(run)
	if r.Forget != nil {
		r.Forget(run)
	}
}

// write patches the status if it differs: the kind has no status subresource,
// so it is the main resource, and the patch holds nothing but the difference
// and the resourceVersion the status was computed from.
func (r *AnalysisRuns) write(ctx context.Context, run *v1alpha1.AnalysisRun, status v1alpha1.AnalysisRunStatus) (*v1alpha1.AnalysisRun, error) {
	if equality.Semantic.DeepEqual(run.Status, status) {
		return run, nil
	}
	updated := run.DeepCopy()
	updated.Status = status
	patch := client.MergeFromWithOptions(run, client.MergeFromWithOptimisticLock{})
	if err := r.Writer.Patch(ctx, updated, patch); err != nil {
		return nil, err
	}
	r.Written.Wrote(v1alpha1.KindAnalysisRun, updated)
	return updated, nil
}

// watchAnalysisRuns starts the controller of AnalysisRuns. The bell is rung by
// results of calls, by plugins that became ready and by the broker.
func watchAnalysisRuns(mgr ctrl.Manager, host *plugins.Host, measuring *Measuring, events AnalysisRunEvents, bell *doorbell, counters *Metrics, threads int) error {
	calls := analysis.NewCalls(analysis.Options{
		Providers: measuring,
		Secrets:   secrets{mgr.GetAPIReader()},
		Now:       time.Now,
		Notify:    bell.ring,
	})
	host.OnChange(func(string) {
		for _, run := range calls.Waiting() {
			bell.ring(run)
		}
	})
	ending := func(ctx context.Context) error {
		<-ctx.Done()
		calls.Close()
		return nil
	}
	if err := mgr.Add(leading(ending)); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("analysisrun").
		For(&v1alpha1.AnalysisRun{}).
		WatchesRawSource(bell).
		WithOptions(controller.Options{MaxConcurrentReconciles: threads, RateLimiter: retries()}).
		Complete(counters.timed(v1alpha1.KindAnalysisRun, &AnalysisRuns{
			Reader: mgr.GetCache(), Writer: mgr.GetClient(), Calls: calls,
			Events: events, Written: &observe.Written{}, Now: time.Now, Forget: measuring.Forget,
		}))
}

// secrets reads Secrets by name from the API server: they are in no cache, so
// the controller needs neither list nor watch on them.
type secrets struct{ live client.Reader }

// Secret implements analysis.Secrets.
func (s secrets) Secret(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	var secret corev1.Secret
	if err := s.live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &secret); err != nil {
		return nil, fmt.Errorf("get secret: %w", err)
	}
	return secret.Data, nil
}
