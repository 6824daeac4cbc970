package plugins

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// times is how often a test of endurance repeats: few without the variable.
func times(t *testing.T, variable string, few int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, variable)
	return n
}

// Crashing again and again uses nothing up: files, goroutines, zombies, folders
// and sockets are as before. SLUICE_CRASHES says how often.
func TestCrashesLeaveNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	w := newWorld(t, func(t *timing) { t.backoffMin, t.backoffMax = time.Millisecond, time.Millisecond }, "evil")
	mustObserve(w, "evil")
	_, folders := leftovers(t)
	files, routines := openFiles(t), runtime.NumGoroutine()
	crashes := times(t, "SLUICE_CRASHES", 20)
	began := time.Now()
	for range crashes {
		pid := w.pid("evil")
		kill(t, pid, 9)
		w.eventually("its return", func() bool {
			now := w.pid("evil")
			return now != 0 && now != pid && w.State("evil") == StateReady
		})
	}
	t.Logf("%d crashes, back after %v on average", crashes, (time.Since(began) / time.Duration(crashes)).Round(time.Millisecond))
	w.eventually("as many files and goroutines as before", func() bool {
		// Polling takes a goroutine or two of its own; a leak would be one per
		// crash.
		return openFiles(t) <= files+5 && runtime.NumGoroutine() <= routines+5
	})
	w.eventually("neither zombies nor folders", func() bool {
		zombies, now := leftovers(t)
		return zombies == 0 && now <= folders
	})
	w.stop()
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	assert.Empty(t, left)
}

// The controller is killed with SIGKILL: its plugins go with it. SLUICE_KILLS
// says how often.
func TestOrphans(t *testing.T) {
	if os.Getenv("SLUICE_TEST_CONTROLLER") != "" {
		w := newWorld(t, nil, "evil", "other")
		mustObserve(w, "evil")
		mustObserve(w, "other")
		fmt.Printf("\nplugins %d %d\n", w.pid("evil"), w.pid("other"))
		select {}
	}
	kills := times(t, "SLUICE_KILLS", 2)
	var slowest time.Duration
	for range kills {
		slowest = max(slowest, killController(t))
	}
	t.Logf("%d kills, the last plugin was gone after at most %v", kills, slowest.Round(time.Millisecond))
	if os.Getenv("SLUICE_KILLS") != "" {
		assert.LessOrEqual(t, slowest, time.Second)
	}
}

func killController(t *testing.T) time.Duration {
	controller := exec.Command(os.Args[0], "-test.run=^TestOrphans$")
	controller.Env = append(os.Environ(), "SLUICE_TEST_CONTROLLER=1", "SLUICE_TEST_EVIL="+evil, "TMPDIR="+t.TempDir())
	out, err := controller.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, controller.Start())
	var a, b int
	for lines := bufio.NewScanner(out); a == 0 && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "plugins %d %d", &a, &b)
	}
	require.NotZero(t, a)
	require.True(t, alive(a) && alive(b))
	began := time.Now()
	require.NoError(t, controller.Process.Kill())
	_ = controller.Wait()
	require.Eventually(t, func() bool { return !alive(a) && !alive(b) }, patience, time.Millisecond)
	return time.Since(began)
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(files)
}
