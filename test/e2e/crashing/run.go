package crashing

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// Scenario is what people do, and where that leads.
type Scenario struct {
	Name string
	// Config is what the controller's ConfigMap has besides; nil for nothing.
	Config func(*stage.Stage) map[string]any
	// Deploy brings the App to where the story begins; no fault happens yet. Nil
	// makes everything part of the story.
	Deploy func(*stage.App)
	// Play is the story. It waits for what people would wait for.
	Play func(*stage.App)
	// Ended reports the end, which every run must reach.
	Ended func(stage.World) bool
}

// Result of a run.
type Result struct {
	// Writes since the story began, by method and path.
	Writes []string
	// Fired is the write that met the fault; "" when the story never came there.
	Fired string
	// Lives is how many processes it took.
	Lives int
	// State at the end.
	State string
}

var runs atomic.Int32

// Run plays the scenario with one fault and returns when it has ended as asked,
// in the state `want` when that is not empty. Anything else fails the test.
func Run(t *testing.T, on *stage.Stage, s Scenario, plan Plan, want string) Result {
	t.Helper()
	instance := fmt.Sprintf("crash-%d", runs.Add(1))
	log := filepath.Join(t.TempDir(), "log")
	app := on.NewApp(t, on.Elsewhere(instance, log))
	data := map[string]any{}
	if s.Config != nil {
		data = s.Config(on)
	}
	app.Configure(data)
	c := start(t, on, app, log, plan)
	if s.Deploy != nil {
		s.Deploy(app)
	}
	c.wire.arm()
	t.Cleanup(func() {
		if t.Failed() {
			_, fired := c.wire.seen()
			t.Logf("%s, %s: the fault met %q; %d lives; what differs from the end without a fault:\n%s",
				s.Name, plan, fired, c.lives.Load(), diff(want, State(app.Now())))
		}
	})
	s.Play(app)
	w := app.Await("the end of "+s.Name, func(w stage.World) bool {
		return s.Ended(w) && (want == "" || State(w) == want)
	})
	if want == "" {
		w = settle(t, app, s)
	}
	writes, fired := c.wire.seen()
	faultless(t, log)
	return Result{Writes: writes, Fired: fired, Lives: int(c.lives.Load()), State: State(w)}
}

// settled is how long nothing may change at the end of a run without a fault:
// longer than the controller keeps a status back, and than pods take to go.
const settled = 4 * time.Second

// settle waits until nothing changes any more.
func settle(t *testing.T, app *stage.App, s Scenario) stage.World {
	t.Helper()
	last, since, end := "", time.Now(), time.Now().Add(2*time.Minute)
	for range time.Tick(200 * time.Millisecond) {
		w := app.Now()
		if now := State(w); now != last {
			last, since = now, time.Now()
		}
		if s.Ended(w) && time.Since(since) > settled {
			return w
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not come to rest\n%s", s.Name, app.Dump())
		}
	}
	panic("unreachable")
}

// faultless fails when a plan broke an invariant or something panicked.
func faultless(t *testing.T, log string) {
	t.Helper()
	raw, err := os.ReadFile(log)
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, "breaks an invariant") || strings.Contains(line, "panic") {
			t.Error(line)
		}
	}
}

// Violations is how many plans of all controllers in this process were refused.
func Violations() (n float64, err error) {
	families, err := metrics.Registry.Gather()
	if err != nil {
		return 0, err
	}
	for _, f := range families {
		if f.GetName() == "sluice_invariant_violations_total" {
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n, nil
}

// diff are the lines that only one of two states has.
func diff(want, have string) string {
	var b strings.Builder
	a, c := strings.Split(want, "\n"), strings.Split(have, "\n")
	only := func(sign string, x, y []string) {
		in := map[string]bool{}
		for _, line := range y {
			in[line] = true
		}
		for _, line := range x {
			if !in[line] {
				fmt.Fprintf(&b, "%s %s\n", sign, line)
			}
		}
	}
	only("-", a, c)
	only("+", c, a)
	return b.String()
}
