package plugins

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// evil is the path of the test plugin, built once.
var evil string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "evil-")
	if err != nil {
		panic(err)
	}
	evil = filepath.Join(dir, "evil")
	if built := os.Getenv("SLUICE_TEST_EVIL"); built != "" {
		evil = built // In a controller started by a test: see TestOrphans.
	} else if out, err := exec.Command("go", "build", "-o", evil, "./evilplugin").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the test plugin: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// patience bounds what a test waits for on a busy machine.
const patience = 30 * time.Second

// quick are the host's durations with the waiting taken out.
func quick() timing {
	t := defaultTiming()
	t.backoffMin, t.backoffMax = 10*time.Millisecond, 50*time.Millisecond
	t.healthEvery = 50 * time.Millisecond
	t.startWait = patience
	t.rescan = 20 * time.Millisecond
	return t
}

// world is a running host and what it said.
type world struct {
	*Host
	t        testing.TB
	dir      string
	registry *prometheus.Registry
	stop     func()

	mu      sync.Mutex
	events  []Event
	changes []string
	logs    []string
}

// newWorld runs a host whose plugin directory holds evil under the given
// names. It ends with the test, and leaves no process behind.
func newWorld(t testing.TB, tune func(*timing), bundled ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), registry: prometheus.NewRegistry()}
	for _, name := range bundled {
		w.bundle(name)
	}
	timing := quick()
	if tune != nil {
		tune(&timing)
	}
	h, err := newHost(Options{
		PluginDir: w.dir, Registerer: w.registry,
		Logger: funcr.New(func(prefix, args string) { w.note(func() { w.logs = append(w.logs, prefix+" "+args) }) }, funcr.Options{Verbosity: 1}),
		Events: func(e Event) { w.note(func() { w.events = append(w.events, e) }) },
	}, timing)
	require.NoError(t, err)
	h.OnChange(func(name string) { w.note(func() { w.changes = append(w.changes, name) }) })
	w.Host = h

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h.Run(ctx)
	}()
	w.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(w.stop)
	return w
}

func (w *world) note(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) bundle(name string) {
	require.NoError(w.t, os.Symlink(evil, filepath.Join(w.dir, name)))
}

func (w *world) router(name string) *Router {
	w.t.Helper()
	r, problem := w.Router(name)
	require.Nil(w.t, problem)
	return r
}

// eventually polls; the message is computed when it is too late.
func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()
	require.Eventually(w.t, condition, patience, 5*time.Millisecond, what)
}

func (w *world) waitEvent(reason, part string) Event {
	w.t.Helper()
	var found Event
	w.eventually("event "+reason+" with "+part, func() bool {
		var ok bool
		w.note(func() {
			for _, e := range w.events {
				if e.Reason == reason && strings.Contains(e.Message, part) {
					found, ok = e, true
				}
			}
		})
		return ok
	})
	return found
}

// problemOf waits until asking the router fails, and says how.
func (w *world) problemOf(name, part string) *rollout.Problem {
	w.t.Helper()
	var last *rollout.Problem
	defer func() {
		if w.t.Failed() {
			w.t.Logf("the last problem was: %v", last)
		}
	}()
	w.eventually(name+" failing with "+part, func() bool {
		r, problem := w.Router(name)
		if problem == nil {
			_, problem = r.Observe(context.Background(), request(""))
		}
		last = problem
		return problem != nil && strings.Contains(problem.Message, part)
	})
	return last
}

// pid of the process that is asked now; 0 while there is none.
func (w *world) pid(name string) int {
	w.Host.mu.Lock()
	s := w.supervisors[name]
	w.Host.mu.Unlock()
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return 0
	}
	return s.current.proc.pid
}

func (w *world) count(name string, labels ...string) float64 {
	w.t.Helper()
	switch name {
	case "calls":
		return testutil.ToFloat64(w.metrics.calls.WithLabelValues(labels...))
	case "health":
		return testutil.ToFloat64(w.metrics.health.WithLabelValues(labels...))
	default:
		return testutil.ToFloat64(w.metrics.restarts.WithLabelValues(labels...))
	}
}

func alive(pid int) bool {
	// A zombie is gone for everyone but its parent.
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

func kill(t testing.TB, pid int, signal unix.Signal) {
	t.Helper()
	require.NotZero(t, pid)
	require.NoError(t, unix.Kill(pid, signal))
}

// request asks evil to do something.
func request(do string, arg ...string) rollout.ObserveRequest {
	config := fmt.Sprintf(`{"do":%q,"arg":%q}`, do, strings.Join(arg, " "))
	return rollout.ObserveRequest{
		Target:      rollout.Target{Namespace: "shop", Name: "web", UID: "u1", StableService: "web", CanaryService: "web-canary"},
		Config:      []byte(config),
		TotalWeight: 100,
	}
}

func observe(w *world, name, do string, arg ...string) (rollout.ObserveAnswer, *rollout.Problem) {
	w.t.Helper()
	return w.router(name).Observe(context.Background(), request(do, arg...))
}

// mustObserve answers with the pid that answered.
func mustObserve(w *world, name string) rollout.ObserveAnswer {
	w.t.Helper()
	answer, problem := observe(w, name, "")
	require.Nil(w.t, problem, "%v", problem)
	return answer
}

// list is a ConfigMap with one list of routers.
func list(items ...string) map[string]string {
	return map[string]string{"trafficRouterPlugins": "- " + strings.Join(items, "\n- ")}
}
