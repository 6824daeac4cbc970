package controller

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/act"
	"github.com/sluice-rollouts/sluice/core/internal/decide"
	"github.com/sluice-rollouts/sluice/core/internal/invariant"
	"github.com/sluice-rollouts/sluice/core/internal/observe"
	recording "github.com/sluice-rollouts/sluice/core/internal/record"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// behind is how long to wait for a cache that has not shown our own write; its
// watch event usually comes first.
const behind = 100 * time.Millisecond

// Rollouts reconciles Rollouts: observe, decide, act, record.
type Rollouts struct {
	Reader   client.Reader
	Observer *observe.Observer
	Actor    *act.Actor
	Events   record.EventRecorder
	Metrics  *Metrics
	// Retries paces operations that fail; see Retries().
	Retries workqueue.TypedRateLimiter[ctrl.Request]
	// Forget drops what is remembered of a Rollout that is gone.
	Forget func(client.ObjectKey)

	kept kept
}

// Reconcile makes one pass over one Rollout.
func (r *Rollouts) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var ro v1alpha1.Rollout
	if err := r.Reader.Get(ctx, req.NamespacedName, &ro, client.UnsafeDisableDeepCopy); err != nil { // nobody modifies a snapshot
		if apierrors.IsNotFound(err) {
			r.Forget(req.NamespacedName)
			r.Observer.Forget(req.NamespacedName)
			r.Retries.Forget(req)
			r.kept.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if ro.DeletionTimestamp != nil {
		return ctrl.Result{}, nil // owner references do the rest
	}
	snapshot, err := r.Observer.Snapshot(ctx, &ro)
	if errors.Is(err, observe.ErrBehind) {
		return ctrl.Result{RequeueAfter: behind}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	plan := r.checked(ctx, snapshot, decide.Decide(snapshot))
	out := r.Actor.Do(ctx, snapshot, plan)
	journal(ctx, snapshot, plan, out)
	rec := recording.Of(snapshot, plan, out)
	r.tell(ctx, &ro, rec.Done)
	if err := r.write(ctx, snapshot, &rec, out); err != nil {
		return later(err)
	}
	if err := act.Failure(out); err != nil {
		log.FromContext(ctx).Error(err, "operations failed; they are tried again")
		return soonest(wake(rec.Wake, snapshot.Now, false), r.retryAfter(req, err)), nil
	}
	r.Retries.Forget(req)
	next := wake(rec.Wake, snapshot.Now, act.Conflicted(out))
	if retry := act.AskAgain(out); retry > 0 {
		next = soonest(next, retry)
	}
	return next, nil
}

// write writes the status unless it says nothing new, or nothing that could not
// be told together with what comes next.
func (r *Rollouts) write(ctx context.Context, s *rollout.Snapshot, rec *recording.Record, out rollout.Outcome) error {
	key := client.ObjectKeyFromObject(s.Rollout)
	if rec.MayWait {
		if until := r.kept.until(key, s.Now); s.Now.Before(until) {
			if rec.Wake.IsZero() || until.Before(rec.Wake) {
				rec.Wake = until
			}
			return nil
		}
	}
	if rec.Changed {
		if err := r.Actor.WriteStatus(ctx, s.Rollout, rec.Status, out); err != nil {
			return err
		}
		r.Metrics.Ended(s.Rollout, rec.Status)
	}
	r.kept.forget(key)
	r.tell(ctx, s.Rollout, rec.Edges)
	return nil
}

// Retries is how a failed operation is tried again: after 1 s, then up to 20 s
// apart, so that a repaired permission is noticed within 20 s and a broken one
// costs little.
func Retries() workqueue.TypedRateLimiter[ctrl.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](time.Second, 20*time.Second)
}

// retryAfter is when to try again; not before the plugin asks for it.
func (r *Rollouts) retryAfter(req ctrl.Request, err error) time.Duration {
	after := r.Retries.When(req)
	var problem *rollout.Problem
	if errors.As(err, &problem) {
		after = max(after, problem.Retry)
	}
	return after
}

// soonest keeps a planned wake: an operation that fails for ever must not make
// a timed pause last longer.
func soonest(planned ctrl.Result, retry time.Duration) ctrl.Result {
	if planned.RequeueAfter == 0 || retry < planned.RequeueAfter {
		planned.RequeueAfter = retry
	}
	return planned
}

// checked refuses a plan that breaks an invariant: the status is still
// recorded, with a hold that names the rule.
func (r *Rollouts) checked(ctx context.Context, s *rollout.Snapshot, plan rollout.Plan) rollout.Plan {
	found := invariant.Check(s, plan)
	if len(found) == 0 {
		return plan
	}
	for _, v := range found {
		log.FromContext(ctx).Error(v, "refusing a plan that breaks an invariant; this is a bug in the planner")
		r.Metrics.violation(v.Rule)
	}
	return invariant.Refuse(s, plan, found)
}

func (r *Rollouts) tell(ctx context.Context, ro *v1alpha1.Rollout, events []recording.Event) {
	for _, e := range events {
		log.FromContext(ctx).Info(e.Message, "event", e.Reason)
		r.Events.Event(ro, e.Type, e.Reason, e.Message)
	}
}

// later: a conflict means that somebody else wrote first and their event is on
// its way; anything else is retried with backoff.
func later(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: behind}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(err)
}

// wake turns a moment into a delay; a conflict of an operation asks again
// soon, in case its event came first.
func wake(at, now time.Time, conflict bool) ctrl.Result {
	var after time.Duration
	if !at.IsZero() {
		after = max(at.Sub(now), time.Millisecond)
	}
	if conflict && (after == 0 || after > behind) {
		after = behind
	}
	return ctrl.Result{RequeueAfter: after}
}
