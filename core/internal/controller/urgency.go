package controller

import (
	"sync"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// What waits longest when more passes are asked for than threads can make. The
// library's own for a first listing is -100.
const (
	// at rest, or something a person has just said in the middle of an update:
	// an abort, a promotion, a rollback.
	urgentNow = 0
	// an update that has not begun waits for those that have: each step left
	// takes one off, so that an update close to its end comes before one that is
	// far from it. With 300 updates at once, half are done in half the time that
	// all take, instead of all at the end.
	urgentLeast = -99
)

// urgency tells the queue of the Rollouts which pass matters most. It learns
// from the watch of Rollouts; keys it does not know are at rest.
type urgency struct {
	mu sync.Mutex
	of map[types.NamespacedName]int
}

// Of is the priority of a pass over the Rollout.
func (u *urgency) Of(key types.NamespacedName) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.of[key]
}

func (u *urgency) set(ro *v1alpha1.Rollout, priority int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := types.NamespacedName{Namespace: ro.Namespace, Name: ro.Name}
	if priority == urgentNow {
		delete(u.of, key)
		return
	}
	if u.of == nil {
		u.of = map[types.NamespacedName]int{}
	}
	u.of[key] = priority
}

// learns is a predicate that lets every event pass and learns from it.
func (u *urgency) learns() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool {
			if ro, ok := e.Object.(*v1alpha1.Rollout); ok {
				u.set(ro, updating(ro))
			}
			return true
		},
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, ok := e.ObjectOld.(*v1alpha1.Rollout)
			ro, okNew := e.ObjectNew.(*v1alpha1.Rollout)
			if !ok || !okNew {
				return true
			}
			switch begun := updating(was) != urgentNow; {
			case ro.Generation == was.Generation:
				u.set(ro, updating(ro))
			case !begun && !apiequality.Semantic.DeepEqual(was.Spec.Template, ro.Spec.Template):
				u.set(ro, urgentLeast)
			default:
				u.set(ro, urgentNow)
			}
			return true
		},
		DeleteFunc: func(e event.DeleteEvent) bool {
			if ro, ok := e.Object.(*v1alpha1.Rollout); ok {
				u.set(ro, urgentNow)
			}
			return true
		},
	}
}

// updating is urgentNow unless an update is under way: then it is the number of
// steps that are left, below zero.
func updating(ro *v1alpha1.Rollout) int {
	st := ro.Status
	if st.Abort || st.CurrentPodHash == "" || st.StableRS == "" || st.CurrentPodHash == st.StableRS {
		return urgentNow
	}
	left := 1
	if c := ro.Spec.Strategy.Canary; c != nil && st.CurrentStepIndex != nil {
		left += len(c.Steps) - int(*st.CurrentStepIndex)
	}
	return max(urgentLeast+1, -left)
}

// urgent is the library's queue, in which each key has the priority it has now,
// whatever asks for the pass, and updates begin one after the other.
type urgent struct {
	priorityqueue.PriorityQueue[reconcile.Request]
	urgency *urgency
	begin   beginnings
}

// urgentQueue makes the queue of a controller.
func urgentQueue(u *urgency) func(string, workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	return func(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
		return &urgent{priorityqueue.New(name, func(o *priorityqueue.Opts[reconcile.Request]) { o.RateLimiter = limiter }), u, beginnings{waits: sets.New[reconcile.Request]()}}
	}
}

// Add implements workqueue.TypedInterface.
func (q *urgent) Add(item reconcile.Request) { q.AddWithOpts(priorityqueue.AddOpts{}, item) }

// AddAfter implements workqueue.TypedDelayingInterface.
func (q *urgent) AddAfter(item reconcile.Request, after time.Duration) {
	q.AddWithOpts(priorityqueue.AddOpts{After: after}, item)
}

// AddRateLimited implements workqueue.TypedRateLimitingInterface.
func (q *urgent) AddRateLimited(item reconcile.Request) {
	q.AddWithOpts(priorityqueue.AddOpts{RateLimited: true}, item)
}

// AddWithOpts implements priorityqueue.PriorityQueue. A priority that somebody
// gives lower than ours is kept: a first listing comes after everything else.
func (q *urgent) AddWithOpts(o priorityqueue.AddOpts, items ...reconcile.Request) {
	for _, item := range items {
		one, priority := o, q.urgency.Of(item.NamespacedName)
		if o.Priority != nil && *o.Priority < urgentLeast && priority == urgentNow {
			priority = *o.Priority
		}
		one.Priority = &priority
		if priority != urgentLeast {
			q.begin.leave(item)
		} else if o.After == 0 && !o.RateLimited && !q.begin.admit(item) {
			continue
		}
		q.PriorityQueue.AddWithOpts(one, item)
	}
}

// Get implements workqueue.TypedInterface.
func (q *urgent) Get() (reconcile.Request, bool) {
	item, _, shutdown := q.GetWithPriority()
	return item, shutdown
}

// GetWithPriority implements priorityqueue.PriorityQueue.
func (q *urgent) GetWithPriority() (reconcile.Request, int, bool) {
	item, priority, shutdown := q.PriorityQueue.GetWithPriority()
	if !shutdown && q.begin.is(item) {
		time.AfterFunc(beginningCounts, func() { q.next(item) })
	}
	return item, priority, shutdown
}

// Done implements workqueue.TypedInterface.
func (q *urgent) Done(item reconcile.Request) {
	q.PriorityQueue.Done(item)
	q.next(item)
}

// next lets the next update begin, if the one before has.
func (q *urgent) next(item reconcile.Request) {
	if next, ok := q.begin.end(item); ok {
		priority := q.urgency.Of(next.NamespacedName)
		q.PriorityQueue.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, next)
	}
}
