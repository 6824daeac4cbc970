package sim

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/invariant"
	"github.com/sluice-rollouts/sluice/core/internal/record"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Event is one event the controller emitted.
type Event struct {
	At time.Time
	record.Event
}

// behind is how long the controller waits for a cache, as the real one does.
const behind = 100 * time.Millisecond

// memory is what the process knows of its own writes; it dies with it.
type memory struct {
	// kept is since when a status that may wait is kept back; zero when none is.
	kept    time.Time
	wrote   map[types.UID]int64
	created map[key]time.Time
}

// restart is a new process: empty memory, caches that list everything.
func (w *World) restart() {
	w.Restarts++
	w.note("the controller restarts")
	w.memory, w.wake, w.backoff = memory{}, time.Time{}, 0
	w.cache = newCache(w.store)
	w.queued = true
}

var errBehind = errors.New("the cache is behind")

// pass is one reconcile.
func (w *World) pass() {
	w.queued = false
	w.Passes++
	if w.Passes > w.MaxPasses {
		w.failf("more than %d passes: a hot loop (%s)", w.MaxPasses, w.lastOps())
		return
	}
	cached := list[*v1alpha1.Rollout](w.cache.objects, kindRollout)
	if len(cached) == 0 {
		return
	}
	s, err := w.observe(cached[0])
	if err != nil {
		w.wake = w.now.Add(behind)
		return
	}
	plan := w.decided(s)
	if w.Err != nil {
		return
	}
	out, crashed := w.act(s, plan)
	if crashed {
		w.restart()
		return
	}
	rec := record.Of(s, plan, out)
	w.tell(rec.Done)
	if w.keeps(rec) {
		w.requeue(earliest(rec.Wake, w.memory.kept.Add(record.Patience)), out, nil)
		return
	}
	w.memory.kept = time.Time{}
	crashed, err = w.writeStatus(s, rec.Status, out)
	if crashed {
		w.restart()
		return
	}
	if err == nil {
		w.tell(rec.Edges)
	}
	w.requeue(rec.Wake, out, err)
}

// decided asks for the plan twice, because the same snapshot must give the same
// plan, and checks it.
func (w *World) decided(s *rollout.Snapshot) rollout.Plan {
	plan, again := w.Planner(s), w.Planner(s)
	if !reflect.DeepEqual(plan, again) {
		w.failf("deciding twice gives two plans:\n%+v\n%+v", plan, again)
	}
	seen := map[rollout.OpID]bool{}
	for _, op := range plan.Ops {
		if seen[op.ID()] {
			w.failf("operation %s is twice in one plan", op.ID())
		}
		seen[op.ID()] = true
	}
	for _, h := range plan.Holds {
		if h.EndedBy == "" || h.What == "" {
			w.failf("hold %s does not say what ends it: %+v", h.Reason, h)
		}
	}
	for _, v := range invariant.Check(s, plan) {
		w.failf("the plan breaks %v", v)
	}
	w.watch.plan, w.watch.decided = plan, w.now
	return plan
}

// requeue follows the rules of the real controller and its queue.
func (w *World) requeue(at time.Time, out rollout.Outcome, err error) {
	w.wake = time.Time{}
	failed := err != nil && !apierrors.IsConflict(err)
	for _, e := range out.Failed {
		failed = failed || !apierrors.IsConflict(e)
	}
	switch {
	case failed:
		w.backoff = min(max(2*w.backoff, 5*time.Millisecond), 10*time.Second)
		w.wake = w.now.Add(w.backoff)
		return
	case err != nil || len(out.Failed) > 0:
		w.wake = w.now.Add(behind)
	}
	w.backoff = 0
	if !at.IsZero() && (w.wake.IsZero() || at.Before(w.wake)) {
		w.wake = at
		if !at.After(w.now) {
			w.wake = w.now.Add(time.Millisecond)
		}
	}
}

// observe builds a snapshot from the caches, as observe.Observer does; it
// refuses one that is behind this process's own writes.
func (w *World) observe(ro *v1alpha1.Rollout) (*rollout.Snapshot, error) {
	s := &rollout.Snapshot{Now: w.now, Rollout: ro, Services: map[string]*corev1.Service{}, Owners: map[string]string{},
		Templates:        map[string]*v1alpha1.AnalysisTemplate{},
		ClusterTemplates: map[string]*v1alpha1.ClusterAnalysisTemplate{}, Providers: map[string]rollout.Problem{}}
	if w.behind(ro) {
		return nil, errBehind
	}
	if err := w.refer(s); err != nil {
		return nil, err
	}
	ro = s.Rollout
	if err := w.observeOwned(s); err != nil {
		return nil, err
	}
	if err := w.observeServices(s); err != nil {
		return nil, err
	}
	for _, r := range list[*Route](w.cache.objects, kindRoute) {
		if w.behind(r) {
			return nil, errBehind
		}
	}
	w.observePods(s)
	if w.unseen() {
		return nil, errBehind
	}
	for _, t := range list[*v1alpha1.AnalysisTemplate](w.cache.objects, kindTemplate) {
		s.Templates[t.Name] = t
	}
	if w.Unmeasured {
		s.Providers["prometheus"] = rollout.Problem{Class: rollout.ProblemUnavailable, Reason: v1alpha1.ReasonPluginUnavailable,
			Message: "metric plugin \"prometheus\" is not installed; add it to the catalog"}
	}
	for _, t := range w.clusterTemplates {
		s.ClusterTemplates[t.Name] = t
	}
	s.Routers = w.observeAll(ro)
	s.StepPlugins = w.observeSteps(ro)
	return s, nil
}

// observeOwned adds what the Rollout has made, and ReplicaSets it may adopt.
func (w *World) observeOwned(s *rollout.Snapshot) error {
	if sel, err := metav1.LabelSelectorAsSelector(s.Rollout.Spec.Selector); err == nil {
		for _, rs := range list[*appsv1.ReplicaSet](w.cache.objects, kindReplicaSet) {
			orphan := metav1.GetControllerOf(rs) == nil && sel.Matches(labels.Set(rs.Labels))
			if !metav1.IsControlledBy(rs, s.Rollout) && !orphan {
				continue
			}
			if w.behind(rs) {
				return errBehind
			}
			s.ReplicaSets = append(s.ReplicaSets, rs)
		}
	}
	for _, run := range list[*v1alpha1.AnalysisRun](w.cache.objects, kindAnalysisRun) {
		if w.behind(run) {
			return errBehind
		}
		s.AnalysisRuns = append(s.AnalysisRuns, run)
	}
	for _, ex := range list[*v1alpha1.Experiment](w.cache.objects, kindExperiment) {
		if w.behind(ex) {
			return errBehind
		}
		s.Experiments = append(s.Experiments, ex)
	}
	return nil
}

func (w *World) observeServices(s *rollout.Snapshot) error {
	named := rollout.ServiceNames(s.Rollout)
	for _, svc := range list[*corev1.Service](w.cache.objects, kindService) {
		if !slices.Contains(named, svc.Name) {
			continue
		}
		if w.behind(svc) {
			return errBehind
		}
		s.Services[svc.Name] = svc
		if owner := svc.Annotations[v1alpha1.AnnotationManagedBy]; w.rivals[owner] {
			s.Owners[svc.Name] = owner
		}
	}
	return nil
}

func (w *World) behind(obj object) bool {
	return version(obj) < w.memory.wrote[obj.GetUID()]
}

// unseen reports an object this process created that no cache has shown. It is
// waited for as long as the real controller waits.
func (w *World) unseen() bool {
	for k, at := range w.memory.created {
		if w.cache.objects[k] == nil && w.now.Sub(at) < 10*time.Second {
			return true
		}
		delete(w.memory.created, k)
	}
	return false
}

func version(obj object) int64 {
	n, _ := strconv.ParseInt(obj.GetResourceVersion(), 10, 64) // ours are numbers
	return n
}

func (w *World) wrote(obj object) {
	if w.memory.wrote == nil {
		w.memory.wrote = map[types.UID]int64{}
	}
	w.memory.wrote[obj.GetUID()] = version(obj)
}

func (w *World) created(k key) {
	if w.memory.created == nil {
		w.memory.created = map[key]time.Time{}
	}
	w.memory.created[k] = w.now
}

// crash reports whether the process dies before the write it is about to make.
func (w *World) crash() bool {
	w.Writes++
	if w.Writes == w.InterruptAt {
		w.Interrupt(w)
	}
	return w.Writes == w.CrashBefore
}

// keeps reports that the status waits for something more to say, as the real
// controller's does.
func (w *World) keeps(rec record.Record) bool {
	if !rec.MayWait {
		return false
	}
	if w.memory.kept.IsZero() {
		w.memory.kept = w.now
	}
	return w.now.Before(w.memory.kept.Add(record.Patience))
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// writeStatus is the one status write of a pass, made only if it differs and
// only on the version the pass saw.
func (w *World) writeStatus(s *rollout.Snapshot, status v1alpha1.RolloutStatus, out rollout.Outcome) (crashed bool, err error) {
	if apiequality.Semantic.DeepEqual(s.Rollout.Status, status) {
		return false, nil
	}
	if w.crash() {
		return true, nil
	}
	on := s.Rollout.ResourceVersion
	if out.ResourceVersion != "" {
		on = out.ResourceVersion
	}
	next, err := w.store.update(byController, key{kindRollout, s.Rollout.Name}, on, func(obj object) {
		obj.(*v1alpha1.Rollout).Status = *status.DeepCopy()
	})
	if err != nil {
		return false, err
	}
	if next.GetResourceVersion() == on {
		w.failf("a status write that the API server takes for no change: record compares unlike the server")
	}
	w.wrote(next)
	return false, nil
}

func (w *World) tell(events []record.Event) {
	for _, e := range events {
		w.events = append(w.events, Event{w.now, e})
		w.journal.event(w, e)
	}
}

// Events lists the reasons of all events in order.
func (w *World) Events() []string {
	var out []string
	for _, e := range w.events {
		out = append(out, e.Reason)
	}
	return out
}

func (w *World) lastOps() string {
	var out []rollout.OpID
	for _, op := range w.watch.plan.Ops {
		out = append(out, op.ID())
	}
	return fmt.Sprint(out)
}
