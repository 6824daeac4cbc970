package sim

import (
	"fmt"
	"math/rand"
	"sort"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/decide"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Options of a World; the zero value is filled with what the stories use.
type Options struct {
	// CrashBefore is the number of the controller's write before which its
	// process is restarted, counted from 1; 0 means never.
	CrashBefore int
	// Latency is how long other controllers take to react, StartUp how long a
	// pod takes to become available.
	Latency, StartUp time.Duration
	// Verdict of every AnalysisRun; nil means success after 5 s.
	Verdict func(*v1alpha1.AnalysisRun) Verdict
	// Experiment is how an Experiment ends, and how long its pods take traffic
	// before; nil means success after 20 s.
	Experiment func(*v1alpha1.Experiment) Verdict
	// MaxPasses bounds the passes of a run: more of them are a hot loop.
	MaxPasses int
	// Order, if not 0, is the seed of an order in which caches and controller
	// take turns; 0 is the fair one, in which caches never lag behind.
	Order int64
	// Planner decides what happens; nil means decide.Decide. The bug museum
	// puts broken ones here.
	Planner func(*rollout.Snapshot) rollout.Plan
	// Known reports that what follows a rest in this state, as EndState tells it,
	// was played before; Finish ends there. Nil plays everything.
	Known func(state string) bool
	// Interrupt lets somebody act right before the controller's write with the
	// number InterruptAt, between what it saw and what it does; 0 means never.
	InterruptAt int
	Interrupt   func(*World)
	// RouteOf names the Route that a router plugin writes for its block; nil
	// means what the block says under "route".
	RouteOf func(plugin string, config []byte) string
	// Disturbed is told that somebody outside the controller has done something,
	// before the controller can react; nil tells nobody.
	Disturbed func(*World)

	// unjudged worlds did not see the beginning of their Rollout.
	unjudged bool
}

// World is one simulated cluster with one Rollout.
type World struct {
	Options
	// Plugins by catalog name; tell the controller of changes with PluginChanged.
	Plugins map[string]*Plugin
	// StepPlugins by catalog name.
	StepPlugins map[string]*StepPlugin
	// HPA looks after spec.replicas; nil without one.
	HPA *HPA
	// Unmeasured means that the metric provider's plugin is away.
	Unmeasured bool
	// Broken names the versions whose pods never become available.
	Broken map[string]bool

	// Err is the first broken rule; a run stops there.
	Err error
	// Passes counts reconciles, Writes the controller's writes, Soft the writes
	// that an oracle would have refused had the cache not been behind.
	Passes, Writes, Soft int
	// Restarts counts restarts of the controller.
	Restarts int
	// MinAvailable is what the PodDisruptionBudget of all pods keeps; 0 means
	// that there is none.
	MinAvailable int

	order *rand.Rand
	now   time.Time
	begin time.Time
	deeds []Deed
	// writer made the change that is being written down.
	writer actor
	// disturbed: somebody did something since the last turn.
	disturbed bool
	// clusterTemplates are there from the beginning, or not at all.
	clusterTemplates []*v1alpha1.ClusterAnalysisTemplate
	// peak is the largest number of pods there were at once.
	peak   int
	store  *store
	cache  *cache
	timers []timer
	seq    int

	// controller process
	memory  memory
	queued  bool
	wake    time.Time
	backoff time.Duration

	// rivals are other Rollouts that exist and manage Services.
	rivals           map[string]bool
	pods             map[string][]pod
	podsMade         int
	served           map[string][]Place
	servedGeneration map[string]int64
	watch            watcher
	// routed is what the weights of each place of a route add up to.
	routed int32
	// hidden is a kind whose cache shows nothing; "" is none.
	hidden kind
	// sound is the spec before a mistake that nobody has corrected yet.
	sound *v1alpha1.RolloutSpec
	// other is the strategy that SwitchStrategy puts in place.
	other   v1alpha1.RolloutStrategy
	journal journal
	events  []Event
}

type timer struct {
	at  time.Time
	seq int
	run func()
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// New returns an empty cluster with a controller that waits for a Rollout.
func New(o Options) *World {
	if o.Latency == 0 {
		o.Latency = 100 * time.Millisecond
	}
	if o.StartUp == 0 {
		o.StartUp = 2 * time.Second
	}
	if o.Verdict == nil {
		o.Verdict = func(*v1alpha1.AnalysisRun) Verdict {
			return Verdict{Phase: v1alpha1.AnalysisPhaseSuccessful, After: 5 * time.Second}
		}
	}
	if o.Planner == nil {
		o.Planner = decide.Decide
	}
	if o.Experiment == nil {
		o.Experiment = func(*v1alpha1.Experiment) Verdict {
			return Verdict{Phase: v1alpha1.AnalysisPhaseSuccessful, After: 20 * time.Second}
		}
	}
	if o.MaxPasses == 0 {
		o.MaxPasses = 2000
	}
	w := &World{Options: o, now: epoch, begin: epoch,
		Plugins: map[string]*Plugin{}, StepPlugins: map[string]*StepPlugin{}, Broken: map[string]bool{},
		rivals: map[string]bool{}, pods: map[string][]pod{}, served: map[string][]Place{}, servedGeneration: map[string]int64{},
		journal: newJournal(), watch: newWatcher()}
	if o.Order != 0 {
		w.order = rand.New(rand.NewSource(o.Order))
	}
	w.store = &store{live: map[key]object{}, committed: w.committed, now: func() metav1.Time { return metav1.NewTime(w.now.Truncate(time.Second)) }}
	w.cache = newCache(w.store)
	return w
}

// Now is the virtual time.
func (w *World) Now() time.Time { return w.now }

// Rollout is the stored Rollout, nil before it is created. Nobody may modify
// it.
func (w *World) Rollout() *v1alpha1.Rollout {
	all := list[*v1alpha1.Rollout](w.store.live, kindRollout)
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

func (w *World) failf(format string, args ...any) {
	if w.Err == nil {
		w.Err = fmt.Errorf("t=%s: %s", w.clock(), fmt.Sprintf(format, args...))
	}
}

func (w *World) clock() string { return w.now.Sub(w.begin).Round(100 * time.Millisecond).String() }

func (w *World) after(d time.Duration, run func()) {
	w.seq++
	w.timers = append(w.timers, timer{w.now.Add(d), w.seq, run})
	sort.Slice(w.timers, func(i, j int) bool {
		a, b := w.timers[i], w.timers[j]
		return a.at.Before(b.at) || a.at.Equal(b.at) && a.seq < b.seq
	})
}

// committed lets the cluster react to a change, writes it down and judges it.
func (w *World) committed(c change) {
	switch obj := c.after.(type) {
	case *appsv1.ReplicaSet:
		if old, ok := c.before.(*appsv1.ReplicaSet); !ok || old.Generation != obj.Generation {
			w.replicaSetChanged(obj)
		}
	case *v1alpha1.AnalysisRun:
		old, _ := c.before.(*v1alpha1.AnalysisRun)
		w.runChanged(old, obj)
	case *v1alpha1.Experiment:
		old, _ := c.before.(*v1alpha1.Experiment)
		w.experimentChanged(old, obj)
	case *Route:
		if old, ok := c.before.(*Route); !ok {
			w.serve(obj.Name, obj.Generation, clonePlaces(obj.Places))
		} else if old.Generation != obj.Generation {
			w.program(obj)
		}
	}
	w.writer = c.by
	w.disturbed = w.disturbed || c.by == byUser
	w.write(c)
	w.writer = byCluster
	if !w.unjudged {
		w.judge(c)
	}
	if c.key.kind == kindRollout || c.key.kind == kindReplicaSet {
		w.scaleChanged()
	}
	if !w.unjudged {
		w.trackTraffic()
	}
}

// deliver shows the controller the next change of a kind and queues the
// Rollout.
func (w *World) deliver(k kind) bool {
	if k == w.hidden || !w.cache.deliver(w.store, k) {
		return false
	}
	w.queued = true
	return true
}

// RunsHidden says that HideRuns is in force.
func (w *World) RunsHidden() bool { return w.hidden == kindAnalysisRun }

// HideRuns keeps what happens to AnalysisRuns from the controller.
func (w *World) HideRuns(hide bool) {
	w.hidden = ""
	if hide {
		w.hidden = kindAnalysisRun
	}
	w.note(fmt.Sprintf("the controller's cache of AnalysisRuns shows changes: %v", !hide))
	w.disturbed = true
}

// PluginChanged tells the controller that a plugin has come or gone.
func (w *World) PluginChanged() { w.queued, w.disturbed = true, true }

// due returns the next moment at which something happens by itself.
func (w *World) due() (time.Time, bool) {
	var at time.Time
	if len(w.timers) > 0 {
		at = w.timers[0].at
	}
	if !w.wake.IsZero() && (at.IsZero() || w.wake.Before(at)) {
		at = w.wake
	}
	return at, !at.IsZero()
}

// tick lets one thing happen, in the fair order: caches, controller, clock. It
// returns false when nothing is left to happen, or after the limit.
func (w *World) tick(limit time.Time) bool {
	if w.Err != nil {
		return false
	}
	if w.disturbed && w.Disturbed != nil {
		w.Disturbed(w)
	}
	w.disturbed = false
	if w.turn() {
		return true
	}
	at, ok := w.due()
	if !ok || !limit.IsZero() && at.After(limit) {
		return false
	}
	w.advance(at)
	return true
}

// turn lets one cache show its next change, or the controller make a pass; false
// when there is nothing to show and nothing queued.
func (w *World) turn() bool {
	at := func(i int) int { return i }
	if w.order != nil {
		perm := w.order.Perm(len(kinds) + 1)
		at = func(i int) int { return perm[i] }
	}
	for n := range len(kinds) + 1 {
		i := at(n)
		if i < len(kinds) {
			if w.deliver(kinds[i]) {
				return true
			}
			continue
		}
		if w.queued {
			w.pass()
			return true
		}
	}
	return false
}

// advance moves the clock and lets what is due happen.
func (w *World) advance(at time.Time) {
	if at.After(w.now) {
		w.now = at
	}
	if !w.wake.IsZero() && !w.wake.After(w.now) {
		w.wake, w.queued = time.Time{}, true
	}
	if len(w.timers) > 0 && !w.timers[0].at.After(w.now) {
		next := w.timers[0]
		w.timers = w.timers[1:]
		next.run()
	}
}

// Run lets time pass.
func (w *World) Run(d time.Duration) {
	end := w.now.Add(d)
	for w.tick(end) {
	}
	if w.Err == nil && end.After(w.now) {
		w.now = end
	}
}

// Rest runs until nothing happens any more by itself.
func (w *World) Rest() {
	for w.tick(time.Time{}) {
	}
}

// Until runs until the Rollout is as asked; it is an error if that never
// happens.
func (w *World) Until(what string, reached func(*v1alpha1.Rollout) bool) {
	for w.Err == nil && !reached(w.Rollout()) {
		if !w.tick(time.Time{}) && w.Err == nil {
			w.failf("at rest before %s: %s %s", what, w.Rollout().Status.Phase, w.Rollout().Status.Message)
		}
	}
}

// Service is the stored Service, nil when it does not exist.
func (w *World) Service(name string) *corev1.Service {
	return find[*corev1.Service](w.store.live, kindService, name)
}

// Weights of the first place of a route as written, by Service.
func (w *World) Weights(route string) map[string]int32 {
	out := map[string]int32{}
	if r := find[*Route](w.store.live, kindRoute, route); r != nil && len(r.Places) > 0 {
		for _, b := range r.Places[0].Backends {
			out[b.Service] = b.Weight
		}
	}
	return out
}
