package plugins

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Its end is noticed at once, not at the next call, and it comes back.
func TestKilledPluginIsBack(t *testing.T) {
	// No health checks: nothing but the exit itself can tell.
	w := newWorld(t, func(t *timing) { t.healthEvery = time.Hour }, "evil")
	mustObserve(w, "evil")
	pid, generation := w.pid("evil"), w.router("evil").Generation()
	kill(t, pid, 9)
	w.eventually("another process", func() bool { return w.State("evil") == StateReady && w.pid("evil") != pid })
	assert.NotEqual(t, generation, w.router("evil").Generation())
	assert.Equal(t, 1.0, w.count("restarts", "evil"))
	assert.Contains(t, w.waitEvent(EventFailed, "evil").Message, "it ended: signal: killed")
	w.waitEvent(EventRecovered, "evil")
	mustObserve(w, "evil")
}

// A plugin that stands still is found by the health check and replaced.
func TestStoppedPluginIsReplaced(t *testing.T) {
	w := newWorld(t, func(t *timing) { t.health = 100 * time.Millisecond }, "evil")
	mustObserve(w, "evil")
	pid := w.pid("evil")
	kill(t, pid, 19)
	w.eventually("another process", func() bool { return w.State("evil") == StateReady && w.pid("evil") != pid })
	assert.False(t, alive(pid))
	assert.Contains(t, w.waitEvent(EventFailed, "evil").Message, "health check failed (DeadlineExceeded)")
}

func TestPluginThatDoesNotServe(t *testing.T) {
	w := newWorld(t, nil, "evil")
	w.SetConfig(list("{name: evil, args: [not-serving]}"))
	w.router("evil")
	w.waitEvent(EventFailed, "health check says NOT_SERVING")
}

// A call that hangs costs its caller its deadline and nobody else anything.
func TestHungCall(t *testing.T) {
	w := newWorld(t, func(t *timing) { t.observe = time.Second; t.healthEvery = time.Hour }, "evil", "other")
	mustObserve(w, "other")
	mustObserve(w, "evil")
	pid, other := w.pid("evil"), w.pid("other")

	_, problem := observe(w, "evil", "hang")
	require.NotNil(t, problem)
	assert.Equal(t, rollout.ProblemUnavailable, problem.Class)
	assert.Equal(t, `plugin "evil" did not answer TrafficRouter/Observe in time`, problem.Message)
	assert.Positive(t, problem.Retry)
	w.eventually("a health check on suspicion", func() bool { return w.count("health", "evil", "OK") == 1 })
	mustObserve(w, "evil")
	assert.Equal(t, pid, w.pid("evil"), "one slow call is no reason to kill it")

	// One that stands still as a whole is killed on suspicion.
	_, problem = observe(w, "evil", "stop")
	require.NotNil(t, problem)
	w.eventually("another process", func() bool { return w.State("evil") == StateReady && w.pid("evil") != pid })
	mustObserve(w, "other")
	assert.Equal(t, other, w.pid("other"))
}

// One that has closed its socket and lives on is not left until the next check.
func TestLostConnection(t *testing.T) {
	w := newWorld(t, func(t *timing) { t.healthEvery = time.Hour }, "evil")
	mustObserve(w, "evil")
	pid := w.pid("evil")
	_, problem := observe(w, "evil", "fault", "close-sockets")
	require.NotNil(t, problem)
	w.eventually("another process", func() bool { return w.State("evil") == StateReady && w.pid("evil") != pid })
}

// Nobody escapes the end of its process: not in another group, not as a process
// that is debugged by the host. While the host runs nothing is left of it.
func TestNoEscape(t *testing.T) {
	for _, fault := range []string{"own-group", "traced"} {
		t.Run(fault, func(t *testing.T) {
			w := newWorld(t, func(t *timing) { t.observe = time.Second; t.healthEvery = time.Hour }, "evil")
			mustObserve(w, "evil")
			pid := w.pid("evil")
			_, problem := observe(w, "evil", "fault", fault)
			require.NotNil(t, problem)
			w.eventually("another process, and nothing of the first one", func() bool {
				_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
				return w.State("evil") == StateReady && w.pid("evil") != pid && os.IsNotExist(err)
			})
		})
	}
}

// It passes its health checks and answers nothing: it is left alone after five
// deadlines in a row, tried once more, and replaced.
func TestDeafPlugin(t *testing.T) {
	w := newWorld(t, func(t *timing) { t.observe = 100 * time.Millisecond }, "evil", "other")
	mustObserve(w, "evil")
	mustObserve(w, "other")
	pid, other := w.pid("evil"), w.pid("other")
	for range tolerated {
		_, problem := observe(w, "evil", "hang")
		require.NotNil(t, problem)
	}
	assert.Contains(t, w.waitEvent(EventNotAnswering, "evil").Message, "5 calls in a row ran into their deadline")
	made := w.count("calls", "evil", "TrafficRouter/Observe", "DeadlineExceeded")
	assert.EqualValues(t, tolerated, made)
	w.eventually("another process", func() bool {
		_, _ = observe(w, "evil", "hang")
		now := w.pid("evil")
		return now != 0 && now != pid
	})
	w.waitEvent(EventFailed, "its calls are not answered, although its health checks are")
	w.eventually("its return", func() bool {
		_, problem := observe(w, "evil", "")
		return problem == nil
	})
	assert.Equal(t, other, w.pid("other"))

	// Answers in between close it: slow is not deaf.
	pid = w.pid("evil")
	for range 3 * tolerated {
		_, problem := observe(w, "evil", "hang")
		require.NotNil(t, problem)
		mustObserve(w, "evil")
	}
	assert.Equal(t, pid, w.pid("evil"))
}

// A deadline the plugin itself reports is an answer.
func TestADeadlineOfItsOwnIsAnAnswer(t *testing.T) {
	w := newWorld(t, nil, "evil")
	for range 2 * tolerated {
		_, problem := observe(w, "evil", "code", "4")
		require.NotNil(t, problem)
	}
	mustObserve(w, "evil")
}

func TestCrashInCall(t *testing.T) {
	for _, how := range []string{"exit", "panic"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, nil, "evil")
			mustObserve(w, "evil")
			_, problem := observe(w, "evil", how)
			require.NotNil(t, problem)
			assert.Equal(t, rollout.ProblemUnavailable, problem.Class)
			w.eventually("its return", func() bool {
				_, problem := observe(w, "evil", "")
				return problem == nil
			})
		})
	}
}

// Whatever goes wrong at the start, the reason is told, the plugin is tried
// again, others work, and nothing is left of the attempt.
func TestStartFailures(t *testing.T) {
	for mode, want := range map[string]string{
		"exit":                 "it ended during its start: exit status 3",
		"panic":                "it ended during its start: exit status 2",
		"garbage":              "Unrecognized remote plugin message: hello, world",
		"long-line":            "Unrecognized remote plugin message",
		"silent":               "it did not shake hands within",
		"tcp":                  `it announced a "tcp" address; only unix sockets are accepted`,
		"foreign-socket":       "it announced a socket outside of its own directory",
		"netrpc":               "it announced a socket that is not there",
		"wrong-version":        "incompatible API version with plugin",
		"exit-after-handshake": "exit status 4",
		"describe-hang":        "Describe failed (DeadlineExceeded)",
		"describe-stop":        "Describe failed (DeadlineExceeded)",
		"describe-exit":        "it ended while it was configured: exit status 5",
		"no-services":          "its answer to Describe breaks the contract: it offers no service this host knows",
		"bad-name":             "is not made of lower-case letters",
		"bad-version":          `version "latest" is not a semantic version`,
		"bad-selector":         "kinds[1].label_selector",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(t *timing) {
				t.describe = 500 * time.Millisecond
				if mode == "silent" {
					t.start = 2 * time.Second
				}
			}, "evil", "other")
			w.SetConfig(list("{name: evil, args: [" + mode + "]}"))
			p := w.problemOf("evil", want)
			assert.Equal(t, rollout.ProblemUnavailable, p.Class)
			assert.Equal(t, "PluginUnavailable", p.Reason)
			assert.NotContains(t, p.Message, "\n")
			w.eventually("another attempt", func() bool { return w.count("restarts", "evil") >= 2 })
			mustObserve(w, "other")

			w.SetConfig(nil)
			w.eventually("repair", func() bool { return w.State("evil") == StateReady })
		})
	}
}

// What a plugin wrote before it ended may hold anything: the administrator gets
// it, the status of a rollout does not.
func TestLastWordsAreForTheAdministrator(t *testing.T) {
	for mode, last := range map[string]string{
		"panic":         "panic: no configuration found",
		"describe-exit": "cannot find my licence",
		"exit-in-call":  "my password is hunter2",
	} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t, func(t *timing) { t.backoffMin, t.backoffMax = time.Minute, time.Minute }, "evil")
			w.SetConfig(list("{name: evil, args: [" + mode + "]}"))
			if mode == "exit-in-call" {
				mustObserve(w, "evil")
				_, problem := observe(w, "evil", "last-words")
				require.NotNil(t, problem)
				assert.NotContains(t, problem.Message, "hunter2")
			}
			p := w.problemOf("evil", "it ended")
			assert.Contains(t, p.Message, "exit status")
			assert.NotContains(t, p.Message, last)
			assert.NotContains(t, p.Message, "it said last")
			w.waitEvent(EventFailed, "; it said last: "+last)
			w.eventually("the log", func() bool { return strings.Contains(w.logged(), "; it said last: "+last) })
		})
	}
}

// A crash loop slows down: 1, 2, 4 … 60 s, ±20 %.
func TestBackoff(t *testing.T) {
	s := &supervisor{deps: &deps{timing: defaultTiming()}}
	for failures, want := range []float64{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		for range 50 {
			assert.InDelta(t, want, s.pause(failures).Seconds(), want*0.2+1e-9)
		}
	}
	assert.InDelta(t, 60, s.pause(1_000_000).Seconds(), 12.1)
}

// What a plugin logs, however it does, is not more than a log.
func TestLogs(t *testing.T) {
	t.Run("a flood is cut", func(t *testing.T) {
		w := newWorld(t, nil, "evil")
		w.SetConfig(list("{name: evil, args: [flood]}"))
		mustObserve(w, "evil")
		w.eventually("a count of what was dropped", func() bool { return strings.Contains(w.logged(), "lines were dropped") })
		mustObserve(w, "evil")
		assert.Less(t, strings.Count(w.logged(), "\n"), 2000)
	})
	t.Run("what breaks go-plugin's parser does not break the host", func(t *testing.T) {
		w := newWorld(t, nil, "evil")
		w.SetConfig(list("{name: evil, args: [log-bomb]}"))
		mustObserve(w, "evil")
		w.eventually("the lines", func() bool { return strings.Contains(w.logged(), "I am the controller") })
		for line := range strings.Lines(w.logged()) {
			if strings.Contains(line, "I am the controller") {
				assert.Contains(t, line, `"plugin"="evil"`)
				assert.Contains(t, line, `"level"="warn"`)
			}
		}
	})
}

func (w *world) logged() (all string) {
	w.note(func() { all = strings.Join(w.logs, "\n") })
	return all
}

// The whole process group goes, also when the plugin itself ends first.
func TestGrandchildren(t *testing.T) {
	w := newWorld(t, nil, "evil")
	w.SetConfig(list("{name: evil, args: [grandchild]}"))
	mustObserve(w, "evil")
	pid := w.pid("evil")
	children := childrenOf(t, pid)
	require.Len(t, children, 1)
	kill(t, pid, 9)
	w.eventually("the end of both", func() bool { return !alive(pid) && !alive(children[0]) })
}

func childrenOf(t *testing.T, pid int) (pids []int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	require.NoError(t, err)
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		require.NoError(t, err)
		for field := range strings.FieldsSeq(string(data)) {
			var child int
			_, err := fmt.Sscan(field, &child)
			require.NoError(t, err)
			pids = append(pids, child)
		}
	}
	return pids
}

func TestPluginThatIgnoresSigterm(t *testing.T) {
	w := newWorld(t, nil, "evil")
	w.SetConfig(list("{name: evil, args: [ignore-sigterm]}"))
	mustObserve(w, "evil")
	pid := w.pid("evil")
	w.stop()
	assert.False(t, alive(pid))
}
