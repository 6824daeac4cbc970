package stage

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// patience is how long something may take that takes milliseconds to seconds on
// an idle machine. Only failures wait that long.
const patience = 90 * time.Second

// eventually tries until there is no error.
func eventually(t testing.TB, what string, try func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	require.NoError(t, err, what)
}

// Await waits until the state is as it should be and returns it. A failure
// prints everything there is to see.
func (a *App) Await(what string, reached func(World) bool) World {
	a.t.Helper()
	limit := time.After(patience)
	for {
		w, changed := a.feed.now()
		if reached(w) {
			return w
		}
		select {
		case <-changed:
		case <-a.t.Context().Done():
			a.t.FailNow()
		case <-limit:
			a.t.Fatalf("not reached within %s: %s\n%s", patience, what, a.Dump())
		}
	}
}

// AwaitEvent waits for an event on the Rollout whose message holds the text.
func (a *App) AwaitEvent(reason, text string) {
	a.t.Helper()
	a.Await("event "+reason+" with "+text, func(World) bool {
		for _, e := range a.Events() {
			if e.Reason == reason && strings.Contains(e.Message, text) {
				return true
			}
		}
		return false
	})
}

// Now is the state as the watches have shown it.
func (a *App) Now() World {
	w, _ := a.feed.now()
	return w
}

// Events are those on the Rollout so far, in order.
func (a *App) Events() []Event {
	_, events := a.feed.history()
	return events
}

// Reasons of the events so far, in order.
func (a *App) Reasons() []string {
	var out []string
	for _, e := range a.Events() {
		out = append(out, e.Reason)
	}
	return out
}

// Weights are the canary weights the route has had, in order.
func (a *App) Weights() []string { return a.about("weight ") }

// Repaired is how long it took until the weight that came after the last edit
// to a weight was the right one; 0 when that has not happened yet.
func (a *App) Repaired(edited, right int) time.Duration {
	facts, _ := a.feed.history()
	var seen time.Time
	for _, f := range facts {
		switch f.What {
		case fmt.Sprintf("weight %d", edited):
			seen = f.Seen
		case fmt.Sprintf("weight %d", right):
			if !seen.IsZero() {
				return f.Seen.Sub(seen)
			}
		}
	}
	return 0
}

// about are the facts of one subject in order.
func (a *App) about(prefix string) []string {
	facts, _ := a.feed.history()
	var out []string
	for _, f := range facts {
		if rest, ok := strings.CutPrefix(f.What, prefix); ok {
			out = append(out, rest)
		}
	}
	return out
}

// RequireOrder fails unless the facts became true in this order, others
// between them.
func (a *App) RequireOrder(facts ...string) {
	a.t.Helper()
	all, _ := a.feed.history()
	next := 0
	for _, f := range all {
		if next < len(facts) && f.What == facts[next] {
			next++
		}
	}
	if next < len(facts) {
		a.t.Fatalf("%q did not come after %q\n%s", facts[next], facts[:next], a.Dump())
	}
}

// Require fails with everything there is to see.
func (a *App) Require(ok bool, format string, args ...any) {
	a.t.Helper()
	if !ok {
		a.t.Fatalf(format+"\n%s", append(args, a.Dump())...)
	}
}

// Dump is everything there is to see of the App.
func (a *App) Dump() string {
	var b strings.Builder
	w := a.Now()
	part := func(title string) { fmt.Fprintf(&b, "\n--- %s\n", title) }
	part("rollout")
	ro := &unstructured.Unstructured{}
	ro.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Rollout"))
	if err := a.stage.Client.Get(a.ctx, types.NamespacedName{Namespace: a.Namespace, Name: AppName}, ro); err != nil {
		fmt.Fprintln(&b, err)
	}
	ro.SetManagedFields(nil)
	text, _ := yaml.Marshal(ro.Object)
	b.Write(text)
	part("history")
	facts, events := a.feed.history()
	for _, f := range facts {
		fmt.Fprintf(&b, "%d %s\n", f.Version, f.What)
	}
	part("events")
	for _, e := range events {
		fmt.Fprintf(&b, "%s: %s\n", e.Reason, e.Message)
	}
	part("replica sets")
	for name, rs := range w.Sets {
		fmt.Fprintf(&b, "%s wants %d, has %d, available %d, %v\n", name, *rs.Spec.Replicas, rs.Status.Replicas, rs.Status.AvailableReplicas, rs.Annotations)
	}
	part("analysis runs")
	for name, run := range w.Runs {
		text, _ := yaml.Marshal(run.Status)
		fmt.Fprintf(&b, "%s terminate=%v\n%s", name, run.Spec.Terminate, text)
	}
	part("experiments")
	for name, ex := range w.Experiments {
		text, _ := yaml.Marshal(ex.Status)
		fmt.Fprintf(&b, "%s terminate=%v\n%s", name, ex.Spec.Terminate, text)
	}
	part("route")
	text, _ = yaml.Marshal(map[string]any{"labels": w.Route.Labels, "spec": w.Route.Spec, "status": w.Route.Status})
	b.Write(text)
	part("other events of the namespace")
	var list corev1.EventList
	if err := a.stage.Client.List(a.ctx, &list, client.InNamespace(a.Namespace)); err == nil {
		for _, e := range list.Items {
			if e.InvolvedObject.Kind == "AnalysisRun" || e.InvolvedObject.Kind == "Experiment" || e.Type == corev1.EventTypeWarning {
				fmt.Fprintf(&b, "%s/%s %s: %s\n", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
			}
		}
	}
	part("controller, about this namespace")
	b.WriteString(a.Controller.LogAbout(a.Namespace, 40))
	part("controller, the end of its log")
	b.WriteString(a.Controller.LogTail(15))
	return b.String()
}

// RequireWeights fails unless the route has had exactly these canary weights,
// in order.
func (a *App) RequireWeights(want ...int) {
	a.t.Helper()
	text := strings.Trim(fmt.Sprint(want), "[]")
	if got := strings.Join(a.Weights(), " "); got != text {
		a.t.Fatalf("weights were %s, want %s\n%s", got, text, a.Dump())
	}
}

// AwaitEventOf waits for an event on any object of the App.
func (a *App) AwaitEventOf(kind, name, reason string) {
	a.t.Helper()
	a.Await("event "+reason+" on "+kind+" "+name, func(World) bool {
		var list corev1.EventList
		if err := a.stage.Client.List(a.ctx, &list, client.InNamespace(a.Namespace)); err != nil {
			return false
		}
		for _, e := range list.Items {
			if e.InvolvedObject.Kind == kind && e.InvolvedObject.Name == name && e.Reason == reason {
				return true
			}
		}
		return false
	})
}
