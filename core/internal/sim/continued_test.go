package sim_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
	"github.com/sluice-rollouts/sluice/core/preview"
)

// slack is how far what the API shows of times can be off: timestamps have no
// fractions, and what a gateway or another controller has begun, it begins anew in
// the forecast. The order has no slack.
const slack = 4 * time.Second

// TestThePlanIsTheTrace holds what a plan foretells against what happens, in
// every golden story: each time a person or a fault has done something, another
// world is continued from nothing but what the API shows at that moment, as
// `plan --from live` does. Until the next thing that nobody could foretell, the
// controller has to do exactly what was foretold, in that order.
func TestThePlanIsTheTrace(t *testing.T) {
	for _, s := range everyStory() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f := &foreteller{t: t, story: s}
			o := s.options
			o.Disturbed = f.disturbed
			w := sim.New(o)
			w.Prepare()
			s.play(w)
			w.Rest()
			f.check(w, true)
			require.NoError(t, w.Err)
			require.NotZero(t, f.compared, "nothing was foretold")
		})
	}
}

func everyStory() []story {
	return slices.Concat(stories, basicStories, routeStories, stepStories, lifecycleStories, workloadStories, podStories, blueGreenStories, scaleStories, roleStories, subsetStories)
}

// foreteller holds one forecast against a story that goes on.
type foreteller struct {
	t        *testing.T
	story    story
	from     int
	at       time.Duration
	foretold []preview.Step
	compared int
}

func (f *foreteller) disturbed(w *sim.World) {
	f.check(w, false)
	if w.Rollout() == nil {
		return
	}
	seen := w.Live()
	f.from, f.at = len(w.Deeds()), w.Now().Sub(begin)
	plan, err := preview.Plan(preview.Request{Now: seen.Now, Live: objects(seen), Assume: preview.Assumptions{
		Simulation: &preview.Simulation{Options: f.story.options, Prepare: alike(w), Routes: seen.Routes}}})
	require.NoError(f.t, err)
	for _, p := range plan.Problems {
		require.NotContains(f.t, p, "bug of Sluice")
	}
	f.foretold = plan.Steps
}

// alike breaks in another world what is broken in this one.
func alike(w *sim.World) func(*sim.World) {
	return func(ahead *sim.World) {
		for name, p := range w.Plugins {
			same := *p
			ahead.Plugins[name] = &same
		}
		for name, p := range w.StepPlugins {
			ahead.StepPlugins[name] = &sim.StepPlugin{Missing: p.Missing, Disabled: p.Disabled, Takes: p.Takes, Verdict: p.Verdict, Errors: p.Errors, Requeue: p.Requeue}
		}
		for version := range w.Broken {
			ahead.Broken[version] = true
		}
		if w.RunsHidden() {
			ahead.HideRuns(true)
		}
		ahead.MinAvailable, ahead.Unmeasured = w.MinAvailable, w.Unmeasured
	}
}

// objects are what a client reads from an API server.
func objects(s sim.Seed) preview.Objects {
	o := preview.Objects{Rollout: s.Rollout, ReplicaSets: s.ReplicaSets, Services: s.Services, Templates: s.Templates,
		AnalysisRuns: s.AnalysisRuns, Experiments: s.Experiments}
	if s.Deployment != nil {
		o.Workload = s.Deployment
	}
	for service, owner := range s.Owners {
		rival := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: owner, Namespace: sim.Namespace}}
		rival.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{StableService: service}
		o.Others = append(o.Others, rival)
	}
	for _, p := range s.Pods {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: sim.Namespace, Labels: p.Labels, Annotations: p.Annotations,
			CreationTimestamp: metav1.NewTime(p.Created)}}
		for _, rs := range s.ReplicaSets {
			if rs.Name == p.ReplicaSet {
				pod.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: rs.Name, UID: rs.UID, Controller: new(true)}}
			}
		}
		ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(s.Now)}
		if p.Available {
			ready.Status = corev1.ConditionTrue
		}
		pod.Status.Conditions = []corev1.PodCondition{ready}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(p.Started)}}}}
		o.Pods = append(o.Pods, pod)
	}
	return o
}

// begin is when every story begins.
var begin = sim.New(sim.Options{}).Now()

// check compares what the controller has done since the last disturbance with
// what was foretold then; at the end of a story all of it has to be done.
func (f *foreteller) check(w *sim.World, end bool) {
	f.t.Helper()
	done := w.Deeds()[f.from:]
	for i, deed := range done {
		if i >= len(f.foretold) || f.foretold[i].Kind != deed.Kind || f.foretold[i].What != strings.TrimSuffix(deed.What, " by controller") {
			require.Fail(f.t, "the plan is another one", "after %s, deed %d\nforetold:\n%s\ndone:\n%s\nstory:\n%s", f.at, i, listed(f.foretold, i), listed(steps(done, f.at), i), w.Story())
		}
		late := deed.At - f.at - f.foretold[i].After
		require.Less(f.t, late.Abs(), slack, "%s at %s, foretold for %s after %s", deed.What, deed.At, f.foretold[i].After, f.at)
	}
	f.compared += len(done)
	if len(f.foretold) > len(done) {
		next, now := f.foretold[len(done)], w.Now().Sub(begin)
		require.False(f.t, end || f.at+next.After+slack < now, "foretold for %s after %s and not done by %s: %s %s\n%s", next.After, f.at, now, next.Kind, next.What, w.Story())
	}
}

func steps(deeds []sim.Deed, since time.Duration) []preview.Step {
	var out []preview.Step
	for _, d := range deeds {
		out = append(out, preview.Step{After: d.At - since, Kind: d.Kind, What: strings.TrimSuffix(d.What, " by controller")})
	}
	return out
}

func listed(all []preview.Step, at int) string {
	var b strings.Builder
	for _, s := range all[max(0, min(at-2, len(all))):min(at+4, len(all))] {
		fmt.Fprintf(&b, "  %8s %-8s %s\n", s.After, s.Kind, s.What)
	}
	return b.String()
}
