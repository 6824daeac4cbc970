package preview

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

func labelSet(m map[string]string) labels.Set { return m }

// Request is what a plan is about.
type Request struct {
	// Now is where the plan begins; zero is the beginning of 2026.
	Now time.Time
	// Live is the cluster as it is. Without a Rollout in it, the plan begins with
	// an older revision of Want at rest, or with nothing if Initial is set.
	Live Objects
	// Want is the Rollout as it will be applied; nil foretells how what is live
	// goes on. Its status is ignored.
	Want    *v1alpha1.Rollout
	Initial bool
	Assume  Assumptions
}

// Assumptions are what nobody knows beforehand.
type Assumptions struct {
	// PodStartUp is how long a pod takes to become ready; 0 means 10 s.
	PodStartUp time.Duration
	// Routers says what router plugins can do, by name. Those that are not here
	// can do what the bundled ones of that name do; others everything.
	Routers map[string]Router
	// Stay leaves pauses alone that only a person ends: the plan ends there.
	Stay bool
	// Simulation replaces all of the above for tests of the core; nil everywhere
	// else.
	Simulation *Simulation
}

// Simulation is a simulated cluster as a test of the core sets it up.
type Simulation struct {
	Options sim.Options
	// Prepare says what is broken and which plugins there are.
	Prepare func(*sim.World)
	// Routes are what the routers write, instead of what status remembers.
	Routes []*sim.Route
}

// Router is what a router plugin can do.
type Router struct {
	// Missing plugins are not installed: nothing is known about them.
	Missing                                            bool
	HeaderRoutes, MirrorRoutes, Experiments, MaxWeight bool
}

// Step is one thing the controller does, or a wait that only a person ends.
type Step struct {
	// After is the time since the beginning of the plan.
	After time.Duration
	// Kind is what it is done to: pods, service, route, run, exp, step,
	// workload, status, or person.
	Kind string
	What string
}

// Foretold is a plan.
type Foretold struct {
	Steps []Step
	// Ends is how the Rollout ends, as phase and message.
	Ends string
	// Finished says that the wanted revision is the stable one at the end.
	Finished bool
	// Duration is until the last step, people not counted.
	Duration time.Duration
	// PeakPods is the largest number of pods at once.
	PeakPods int
	// Revisions names pod template hashes: which one runs, which one is wanted.
	Revisions map[string]string
	// Assumed lists what nobody knew and was assumed.
	Assumed []string
	// Problems are why the Rollout does not get to its end: an invalid spec, a
	// plugin that is missing or cannot do what is asked of it.
	Problems []string
}

// horizon is how far a plan looks ahead at most, between two people.
const horizon = 90 * 24 * time.Hour

// Plan foretells, in order, every step, weight, replica count and object change
// of the controller. It is as good as its assumptions, which it lists: times are
// guesses, the order is not.
//
// An error says that there is nothing to plan: no Rollout.
func Plan(r Request) (Foretold, error) {
	if r.Want == nil && r.Live.Rollout == nil {
		return Foretold{}, fmt.Errorf("there is no Rollout to plan for")
	}
	f := foreteller{r: r, waits: map[int]Step{}}
	w := f.begin()
	f.play(w)
	return f.tell(w), nil
}

type foreteller struct {
	r       Request
	assumed []string
	// waits are the waits for people, by how many deeds came before.
	waits map[int]Step
	from  int
	since time.Duration
}

// begin is the world in which the wanted Rollout has just been applied.
func (f *foreteller) begin() *sim.World {
	r := f.r
	now := r.Now
	if now.IsZero() {
		now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if r.Live.Rollout != nil {
		w := f.world(r.Live, r.Live.Rollout, now)
		if r.Want != nil {
			w.Edit("applies the manifest", func(ro *v1alpha1.Rollout) { apply(ro, r.Want) })
		}
		return w
	}
	want := r.Want.DeepCopy()
	want.Status = v1alpha1.RolloutStatus{}
	around := r.Live
	around.Rollout = want
	var missing []string
	around, missing = around.placeholders()
	for _, m := range missing {
		f.assumed = append(f.assumed, m+" exists: it is not in the file")
	}
	around.Rollout = nil
	w := f.world(around, want, now)
	if r.Initial {
		w.Create(want)
		return w
	}
	f.assumed = append(f.assumed, "an older revision is running, fully available, with the same strategy")
	older := want.DeepCopy()
	if older.Spec.Template.Annotations == nil {
		older.Spec.Template.Annotations = map[string]string{}
	}
	older.Spec.Template.Annotations["sluice.dev/plan"] = "an older revision"
	older.Spec.Paused, older.Spec.RestartAt = false, nil
	w.Create(older)
	f.rest(w)
	f.from, f.since = len(w.Deeds()), w.Now().Sub(now)
	if w.Err == nil {
		w.Edit("applies the manifest", func(ro *v1alpha1.Rollout) { apply(ro, want) })
	}
	return w
}

// apply does what an apply of the manifest does to the stored Rollout. Fields
// that an autoscaler owns stay where the manifest does not name them.
func apply(stored, want *v1alpha1.Rollout) {
	replicas := stored.Spec.Replicas
	stored.Spec = *want.Spec.DeepCopy()
	if stored.Spec.Replicas == nil {
		stored.Spec.Replicas = replicas
	}
	for k, v := range want.Labels {
		if stored.Labels == nil {
			stored.Labels = map[string]string{}
		}
		stored.Labels[k] = v
	}
}

// world is a cluster with the objects, and with routers that carry what status
// remembers.
func (f *foreteller) world(o Objects, about *v1alpha1.Rollout, now time.Time) *sim.World {
	var seed sim.Seed
	if o.Rollout != nil {
		seed = o.seed(now)
	} else {
		seed = sim.Seed{Now: now, Services: o.Services, Templates: o.Templates, ClusterTemplates: o.ClusterTemplates, Deployment: o.deployment()}
	}
	if s := f.r.Assume.Simulation; s != nil {
		seed.Routes = s.Routes
		return sim.Continue(s.Options, seed, s.Prepare)
	}
	start := f.r.Assume.PodStartUp
	if start <= 0 {
		start = 10 * time.Second
		f.assumed = append(f.assumed, "a pod takes 10 s to become ready")
	}
	about = about.DeepCopy()
	seed.Routes = routesOf(about)
	if f.r.Want != nil {
		for _, more := range routesOf(f.r.Want) {
			if !slices.ContainsFunc(seed.Routes, func(r *sim.Route) bool { return r.Name == more.Name }) {
				seed.Routes = append(seed.Routes, more)
			}
		}
	}
	f.assumed = append(f.assumed, f.guesses(about, f.r.Want)...)
	options := sim.Options{StartUp: start, MaxPasses: 20000, Verdict: verdict, Experiment: ending, RouteOf: routeOf}
	return sim.Continue(options, seed, func(w *sim.World) { f.prepare(w, about) })
}

// play runs until nothing happens any more, and is the person who promotes.
func (f *foreteller) play(w *sim.World) {
	for range 200 {
		f.rest(w)
		ro := w.Rollout()
		if w.Err != nil || f.r.Assume.Stay || f.r.Assume.Simulation != nil || ro.Spec.Paused || len(ro.Status.PauseConditions) == 0 || ro.Status.Abort {
			return
		}
		reason := ro.Status.PauseConditions[0].Reason
		at := len(w.Deeds())
		f.waits[at] = Step{After: w.Now().Sub(f.start(w)), Kind: "person", What: fmt.Sprintf("somebody promotes (%s); until then it stays like this", reason)}
		w.Resume()
		f.rest(w)
		if len(w.Deeds()) == at {
			return // it waits for something else
		}
	}
}

func (f *foreteller) start(w *sim.World) time.Time { return w.Began().Add(f.since) }

func (f *foreteller) rest(w *sim.World) {
	limit := horizon
	if f.r.Assume.Simulation != nil {
		limit = 3 * time.Hour // what is broken there is tried again for ever
	}
	w.RestWithin(limit)
}

// tell turns what has happened into the plan.
func (f *foreteller) tell(w *sim.World) Foretold {
	out := Foretold{PeakPods: w.PeakPods(), Assumed: f.assumed, Revisions: map[string]string{}}
	for i, d := range w.Deeds()[f.from:] {
		if wait, ok := f.waits[f.from+i]; ok {
			out.Steps = append(out.Steps, wait)
		}
		out.Steps = append(out.Steps, Step{After: d.At - f.since, Kind: d.Kind, What: strings.TrimSuffix(d.What, " by controller")})
	}
	if wait, ok := f.waits[len(w.Deeds())]; ok {
		out.Steps = append(out.Steps, wait)
	}
	if n := len(out.Steps); n > 0 {
		out.Duration = out.Steps[n-1].After
	}
	ro := w.Rollout()
	if ro == nil {
		return out
	}
	st := ro.Status
	out.Ends = strings.TrimSuffix(string(st.Phase)+": "+st.Message, ": ")
	out.Finished = st.CurrentPodHash != "" && st.StableRS == st.CurrentPodHash && st.Phase == v1alpha1.RolloutPhaseHealthy
	for _, c := range st.Conditions {
		if c.Type == v1alpha1.ConditionInvalidSpec || c.Type == v1alpha1.ConditionBlocked {
			out.Problems = append(out.Problems, c.Message)
		}
	}
	if w.Err != nil {
		out.Problems = append(out.Problems, "the planner broke one of its own rules, which is a bug of Sluice: "+w.Err.Error())
	}
	if live := f.r.Live.Rollout; live != nil && live.Status.StableRS != "" && live.Status.StableRS != st.CurrentPodHash {
		out.Revisions[live.Status.StableRS] = "stable now"
	} else if live == nil && !f.r.Initial {
		for _, rs := range w.Live().ReplicaSets {
			if h := rollout.Hash(rs); h != st.CurrentPodHash {
				out.Revisions[h] = "running before"
			}
		}
	}
	if st.CurrentPodHash != "" {
		out.Revisions[st.CurrentPodHash] = "wanted"
	}
	return out
}
