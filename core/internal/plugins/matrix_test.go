package plugins

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// representative faults are tried by every test run: one of each way to end, to
// hang, to take too much and to be rude. The others are tried with SLUICE_E2E=1.
var representative = []string{"exit", "stop", "deadlock", "memory", "children", "stderr"}

// everyFault asks the source, so that none can be forgotten.
func everyFault(t *testing.T) []string {
	t.Helper()
	source, err := os.ReadFile("evilplugin/faults.go")
	require.NoError(t, err)
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^\t"([a-z-]+)": +func\(\)`).FindAllStringSubmatch(string(source), -1) {
		names = append(names, m[1])
	}
	require.GreaterOrEqual(t, len(names), 40)
	return names
}

// kindOfCall is a way to ask the evil plugin for something.
type kindOfCall struct {
	name, key string
	// deadline of the call, which is when a hang in it is noticed.
	deadline func(timing) time.Duration
	ask      func(w *world, do, fault string) *rollout.Problem
}

var kinds = []kindOfCall{
	{"traffic router", "trafficRouterPlugins", func(t timing) time.Duration { return t.observe }, func(w *world, do, fault string) *rollout.Problem {
		_, problem := observe(w, "evil", do, fault)
		return problem
	}},
	{"metric provider", "metricProviderPlugins", func(t timing) time.Duration { return t.measure }, func(w *world, do, fault string) *rollout.Problem {
		p, problem := w.Provider("evil")
		if problem != nil {
			return problem
		}
		_, err := p.Measure(context.Background(), analysis.Request{Run: &v1alpha1.AnalysisRun{}, Config: request(do, fault).Config})
		if err != nil {
			return err.(*rollout.Problem)
		}
		return nil
	}},
	{"step", "stepPlugins", func(t timing) time.Duration { return t.step }, func(w *world, do, fault string) *rollout.Problem {
		s, problem := w.Step("evil")
		if problem != nil {
			return problem
		}
		_, problem = s.Call(context.Background(), &v1alpha1.Rollout{}, rollout.StepCall{Verb: rollout.StepRun, Config: request(do, fault).Config}, nil)
		return problem
	}},
}

// short makes the waits of the matrix short; what is waited for is the same.
func short(t *timing) {
	t.observe, t.measure, t.step, t.configure = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond, 500*time.Millisecond
	t.closing, t.shutdown = 300*time.Millisecond, 300*time.Millisecond
	// The health check keeps its 2 s: a neighbour that is only slow, because the
	// machine is, must not be taken for one that hangs.
	t.healthEvery = 500 * time.Millisecond
}

// Bounds of what an operator sees when a plugin hangs, with the durations of
// production.
func TestBoundsOfAHang(t *testing.T) {
	if os.Getenv("SLUICE_E2E") == "" {
		t.Skip("bounds in seconds are checked with SLUICE_E2E=1")
	}
	real := func(to *timing) {
		*to = defaultTiming()
		to.rescan = 20 * time.Millisecond
	}
	// A health check every 9 s with a deadline of 2 s, 12 s being the promise; a
	// call of 5 s.
	for name, c := range map[string]struct {
		hang   func(w *world, pid int)
		notice time.Duration
	}{
		"idle": {func(w *world, pid int) {
			kill(w.t, pid, 19)
			require.Eventually(w.t, func() bool { return w.State("evil") != StateReady }, patience, time.Millisecond)
		}, 11500 * time.Millisecond},
		"in a call": {func(w *world, _ int) { _, _ = observe(w, "evil", "stop") }, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, real, "evil")
			require.Eventually(t, func() bool { _, p := observe(w, "evil", ""); return p == nil }, patience, 5*time.Millisecond)
			pid, began := w.pid("evil"), time.Now()
			c.hang(w, pid)
			noticed := time.Since(began)
			require.Eventually(t, func() bool { return !alive(pid) }, patience, time.Millisecond)
			killed := time.Since(began) - noticed
			require.Eventually(t, func() bool { _, p := observe(w, "evil", ""); return p == nil }, patience, time.Millisecond)
			back := time.Since(began) - noticed
			t.Logf("hung %s: noticed after %v, killed %v later, back %v after that it was noticed", name, noticed.Round(time.Millisecond), killed.Round(time.Millisecond), back.Round(time.Millisecond))
			assert.LessOrEqual(t, noticed, c.notice+500*time.Millisecond, "half a second for the machine")
			assert.LessOrEqual(t, killed, 2*time.Second)
			assert.LessOrEqual(t, back, 10*time.Second)
		})
	}
}

// leftovers counts our children that are zombies, and the folders of plugins.
func leftovers(t *testing.T) (zombies, folders int) {
	t.Helper()
	out, err := exec.Command("sh", "-c", fmt.Sprintf("cat /proc/[0-9]*/stat 2>/dev/null | awk '$4 == %d && $3 == \"Z\"' | wc -l", os.Getpid())).Output()
	require.NoError(t, err)
	_, _ = fmt.Sscan(string(out), &zombies)
	found, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	for _, f := range found {
		if strings.HasPrefix(f.Name(), "sluice-") {
			folders++
		}
	}
	return zombies, folders
}
