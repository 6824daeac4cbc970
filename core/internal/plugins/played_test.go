package plugins

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// outcome is what came of one fault at one moment.
type outcome struct {
	// failed: a caller, the health check or the start noticed it.
	failed bool
	// replaced: another process answers now.
	replaced bool
	// noticed counts from the fault, killed and back from when it was noticed.
	noticed, killed, back time.Duration
}

// played is a fault at a moment, ordered by a call of a kind, in a world of its
// own with a neighbour.
type played struct {
	*world
	fault string
	kind  kindOfCall
	// quiet ends the calls to the neighbour.
	quiet func()
}

// moment is when a fault happens.
type moment struct {
	name string
	play func(played) outcome
}

var moments = []moment{
	{"in a call", played.inACall}, {"idle", played.idle}, {"while configuring", played.configuring}, {"at shutdown", played.atShutdown},
}

// Whatever a plugin does, whenever it does it, its host lives, its neighbour
// does not notice, and it is back as soon as it behaves. With -update it happens
// in the host's own time, bounds hold, and docs/faults.md tells what was measured.
func TestEveryFaultAtEveryMoment(t *testing.T) {
	faults, tune, all := representative, short, *update || os.Getenv("SLUICE_E2E") != ""
	if all {
		faults = everyFault(t)
	}
	if *update {
		tune = inItsOwnTime
	}
	t.Logf("%d faults of %d, %d kinds of calls, %d moments", len(faults), len(everyFault(t)), len(kinds), len(moments))
	zombies, folders := leftovers(t)
	files := openFiles(t)
	found := &faultPage{outcomes: map[string]outcome{}}
	t.Run("played", func(t *testing.T) {
		for f, fault := range faults {
			for k, kind := range kinds {
				for i, m := range moments {
					if !all && (f+k+i)%len(kinds) != 0 {
						continue // The kinds take turns.
					}
					t.Run(fault+"/"+kind.name+"/"+m.name, func(t *testing.T) {
						t.Parallel()
						w := newWorld(t, tune, "evil", "other")
						w.settles("other", func() *rollout.Problem { _, problem := observe(w, "other", ""); return problem })
						other := w.pid("other")
						p := played{w, fault, kind, w.asksAllAlong("other")}
						o := m.play(p)
						p.committed()
						if m.name != "at shutdown" {
							p.quiet()
							w.settles("other", func() *rollout.Problem { _, problem := observe(w, "other", ""); return problem })
							assert.Equal(t, other, w.pid("other"), "the neighbour is the same process")
						}
						found.add(fault, kind, m, o)
						t.Log(cell(m, o))
						if *update {
							bounded(t, kind, m, o)
						}
					})
				}
			}
		}
	})
	require.Eventually(t, func() bool {
		z, f := leftovers(t)
		return z <= zombies && f <= folders && openFiles(t) <= files+2
	}, patience, 50*time.Millisecond, "no zombies, folders and files are left; goroutines are counted at the end of all tests")
	if *update && !t.Failed() {
		require.NoError(t, os.WriteFile(faultPagePath, []byte(found.page(faults)), 0o600))
	}
}

// inItsOwnTime is the host as it runs in production.
func inItsOwnTime(t *timing) {
	*t = defaultTiming()
	t.rescan = 20 * time.Millisecond
}

// bounded holds an outcome against what is promised to operators.
func bounded(t *testing.T, kind kindOfCall, m moment, o outcome) {
	t.Helper()
	const machine = time.Second // a machine that plays many faults at once
	to := defaultTiming()
	most := map[string]time.Duration{"in a call": kind.deadline(to), "idle": 12 * time.Second,
		"while configuring": to.start + to.configure, "at shutdown": to.shutdown}[m.name]
	assert.LessOrEqual(t, o.noticed, most+machine, "noticed")
	assert.LessOrEqual(t, o.killed, 2*time.Second+machine, "killed")
	assert.LessOrEqual(t, o.back, 10*time.Second, "back")
}

func (p played) call() *rollout.Problem { return p.kind.ask(p.world, "", "") }

// inACall: the call never answers, or is the last one.
func (p played) inACall() outcome {
	p.settles(p.fault, p.call)
	pid := p.pid("evil")
	dead := p.end(pid)
	began := time.Now()
	problem := p.kind.ask(p.world, "fault", p.fault)
	return p.recovered(pid, began, time.Now(), problem != nil, dead)
}

// idle: nobody asks while it happens; the health check notices, or has nothing
// to notice.
func (p played) idle() outcome {
	p.settles(p.fault, p.call)
	pid := p.pid("evil")
	dead := p.end(pid)
	began := time.Now()
	if problem := p.kind.ask(p.world, "later", p.fault); problem != nil {
		require.Equal(p.t, rollout.ProblemUnavailable, problem.Class, "%v", problem)
	}
	healthy, noticed := p.count("health", "evil", "OK"), false
	p.eventually("the fault to be noticed, or two health checks after it", func() bool {
		noticed = p.State("evil") != StateReady || p.pid("evil") != pid
		return noticed || p.count("health", "evil", "OK") >= healthy+2
	})
	if !noticed {
		began = time.Now()
	}
	return p.recovered(pid, began, time.Now(), noticed, dead)
}

// configuring: it happens in Configure, and the settings are corrected then.
func (p played) configuring() outcome {
	p.configure("fault")
	began := time.Now()
	var state State
	p.eventually("a state", func() bool {
		_ = p.call()
		state = p.State("evil")
		return state == StateReady || state == StateBackoff
	})
	settled := time.Now()
	p.SetConfig(nil)
	p.settles(p.fault, p.call)
	o := outcome{failed: state == StateBackoff, replaced: true, noticed: settled.Sub(began), back: time.Since(settled)}
	if !o.failed {
		return outcome{}
	}
	return o
}

// configure lists the plugin with the fault, before its first process.
func (p played) configure(when string) {
	p.SetConfig(map[string]string{p.kind.key: fmt.Sprintf("- {name: evil, config: {%s: %s}}", when, p.fault)})
}

// committed waits for the word of the plugin that it does now what is noted.
func (p played) committed() {
	p.eventually("the fault", func() (said bool) {
		p.note(func() {
			said = slices.ContainsFunc(p.logs, func(line string) bool { return strings.Contains(line, "I commit "+p.fault) })
		})
		return said
	})
}

// atShutdown: it happens in Close; nothing is left.
func (p played) atShutdown() outcome {
	p.configure("closing")
	p.settles(p.fault, p.call)
	pid, other := p.pid("evil"), p.pid("other")
	p.quiet()
	began := time.Now()
	p.stop()
	assert.False(p.t, alive(pid) || alive(other), "nothing is left")
	return outcome{failed: true, noticed: time.Since(began)}
}

// recovered: it answers again.
func (p played) recovered(pid int, began, noticed time.Time, failed bool, dead func() time.Time) outcome {
	p.settles(p.fault, p.call)
	o := outcome{failed: failed, replaced: p.pid("evil") != pid, noticed: noticed.Sub(began), back: time.Since(noticed)}
	if o.replaced {
		o.killed = max(0, dead().Sub(noticed))
	}
	return o
}

// asksAllAlong asks a plugin until it is told to stop; no call may fail. The
// short deadlines of a fast run are nothing to hold a busy machine to: there it
// does not ask.
func (w *world) asksAllAlong(name string) (quiet func()) {
	if !*update {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	asking.Go(func() {
		for tick := time.NewTicker(250 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
				_, problem := observe(w, name, "")
				assert.Nil(w.t, problem, "the neighbour: %v", problem)
			}
		}
	})
	quiet = sync.OnceFunc(func() {
		cancel()
		asking.Wait()
	})
	w.t.Cleanup(quiet)
	return quiet
}

// settles waits until the plugin answers. It has every right to be slow while it
// is being replaced; it has none to refuse.
func (w *world) settles(fault string, ask func() *rollout.Problem) {
	w.t.Helper()
	var last *rollout.Problem
	require.Eventually(w.t, func() bool {
		if last = ask(); last != nil && last.Class == rollout.ProblemRefused {
			assert.Fail(w.t, "refused", "%s: %v", fault, last)
		}
		return last == nil
	}, 2*time.Minute, time.Millisecond, "%s: it does not come back: %v", fault, &last)
}

// end tells when a process has ended; it waits for that, at most as long as the
// test has patience.
func (w *world) end(pid int) func() time.Time {
	ctx, cancel := context.WithCancel(context.Background())
	var at time.Time
	var watched sync.WaitGroup
	watched.Go(func() {
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case at = <-tick.C:
			}
			if !alive(pid) {
				tick.Stop()
				return
			}
		}
	})
	stop := sync.OnceFunc(func() {
		cancel()
		watched.Wait()
	})
	w.t.Cleanup(stop)
	return func() time.Time {
		w.eventually("the end of the process that was replaced", func() bool { return !alive(pid) })
		stop()
		return at
	}
}
