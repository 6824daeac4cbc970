package plugins

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Options of a Host. The zero value is a host without any plugin.
type Options struct {
	// PluginDir holds the bundled plugins: executable files, the file's name
	// is the plugin's. Listed again every 10 s. "" or absent: none.
	PluginDir string
	// Logger gets the host's and the plugins' logs; the zero value drops them.
	Logger logr.Logger
	// Events is told what an administrator should know. It must not block. Nil
	// drops them.
	Events func(Event)
	// Registerer gets the metrics sluice_plugin_*; nil leaves them out.
	Registerer prometheus.Registerer
	// Version of the controller, told to plugins for their logs.
	Version string
	// Refuse are addresses no user may aim a plugin at unless `egress.allow`
	// lists them, such as those of the API server; see sdk/egress.Parse.
	Refuse []string
	// RequireDigest refuses plugins for Argo Rollouts' net/rpc protocol that are
	// listed without a sha256. Otherwise they are run, with a Warning.
	RequireDigest bool
	// CacheDir keeps downloaded plugins across restarts. "" is a folder of the
	// system's directory for temporary files.
	CacheDir string
	// Secrets reads a Secret of the controller's namespace, for the headers of
	// downloads. Nil: entries with headersFrom cannot be downloaded.
	Secrets func(ctx context.Context, name string) (map[string][]byte, error)
	// RunDir is where processes get their directories (0700, removed with
	// them). Its path must be short, at most ~50 bytes: a socket's address
	// holds 108. "" is the system's directory for temporary files.
	RunDir string
}

// Host knows the plugins and runs them. Its methods may be called at any time
// from any goroutine, before Run as well, and none but Run blocks.
type Host struct {
	deps
	pluginDir string
	refuse    []string
	policy    policy
	hidden    []string
	starts    atomic.Uint64

	mu          sync.Mutex
	data, files map[string]string
	catalog     *catalog
	supervisors map[string]*supervised
	listeners   []func(string)
	// running is nil before Run; closed is set when it ends.
	running context.Context
	closed  bool
	ended   sync.WaitGroup
}

// supervised is a supervisor and how to end it.
type supervised struct {
	*supervisor
	cancel context.CancelFunc
}

// New returns a host that knows the bundled plugins. It starts nothing. The only
// error is a metric of the same name, but of another kind, in the registry.
func New(o Options) (*Host, error) {
	return newHost(o, defaultTiming())
}

// maxRunDir leaves room in the 107 bytes of a unix socket's address for
// /sluice-<10 digits>/<plugin's own file name>.
const maxRunDir = 64

func newHost(o Options, t timing) (*Host, error) {
	h := &Host{
		pluginDir: o.PluginDir, policy: policy{requireDigest: o.RequireDigest}, hidden: secretPlaces(), refuse: o.Refuse,
		supervisors: map[string]*supervised{}, files: map[string]string{},
	}
	h.deps = deps{
		log: o.Logger, metrics: newMetrics(), timing: t, runDir: o.RunDir, version: o.Version,
		emit: o.Events, notify: h.changed, generation: func() uint64 { return h.starts.Add(1) },
	}
	if dir := h.workplace(); len(dir) > maxRunDir {
		return nil, fmt.Errorf("plugin sockets cannot be in %q: an address holds 107 bytes, which leaves %d for the folder; set TMPDIR to a shorter path", dir, maxRunDir)
	}
	h.fetch = &fetcher{dir: o.CacheDir, secrets: o.Secrets, transport: http.DefaultTransport, size: maxPluginFile, time: maxDownload}
	if h.fetch.dir == "" {
		h.fetch.dir = filepath.Join(h.workplace(), "sluice-downloads")
	}
	if h.log.GetSink() == nil {
		h.log = logr.Discard()
	}
	if h.emit == nil {
		h.emit = func(Event) {}
	}
	if o.Registerer != nil {
		if err := h.metrics.register(o.Registerer); err != nil {
			return nil, fmt.Errorf("registering plugin metrics: %w", err)
		}
	}
	h.catalog = buildCatalog(nil, nil, nil, h.policy)
	h.rescan()
	return h, nil
}

// Run runs plugins until the context ends. Then calls in flight get 10 s, and
// when it returns no process of a plugin is left. It is called once. Stop what
// calls plugins first, then cancel the context.
func (h *Host) Run(ctx context.Context) error {
	if err := shut(); err != nil {
		return fmt.Errorf("keeping debuggers from the controller: %w", err)
	}
	spawn, err := newSpawner(func() error { return hide(h.hidden, h.workplace()) })
	defer spawn.stop()
	if err != nil {
		h.log.Error(err, "Plugins can read the files with the controller's credentials; "+
			"keep them from it with a Linux kernel that has Landlock (5.13), or run only plugins you trust", "files", h.hidden)
	}
	trusted, _ := newSpawner(func() error { return nil })
	defer trusted.stop()

	h.mu.Lock()
	h.spawn, h.trusted, h.running = spawn, trusted, ctx
	for _, s := range h.supervisors {
		h.launchLocked(s)
	}
	h.mu.Unlock()

	rescan := time.NewTicker(h.timing.rescan)
	defer rescan.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-rescan.C:
			h.rescan()
		}
	}
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.ended.Wait()
	return nil
}

// workplace is the folder in which processes get their directories.
func (h *Host) workplace() string {
	if h.runDir != "" {
		return h.runDir
	}
	return os.TempDir()
}

// SetConfig takes the data of the plugin ConfigMap; nil when there is none.
// What is wrong in it is refused, named in an event and in the log, and takes
// nothing else down.
func (h *Host) SetConfig(data map[string]string) {
	h.mu.Lock()
	if h.data != nil && maps.Equal(h.data, data) {
		h.mu.Unlock()
		return
	}
	h.data = maps.Clone(data)
	if h.data == nil {
		h.data = map[string]string{}
	}
	h.rebuild()
}

// rescan lists the plugin directory.
func (h *Host) rescan() {
	files, err := scanBundled(h.pluginDir)
	if err != nil {
		h.log.Error(err, "Keeping the bundled plugins known so far")
		return
	}
	h.mu.Lock()
	if maps.Equal(h.files, files) {
		h.mu.Unlock()
		return
	}
	h.files = files
	h.rebuild()
}

// rebuild makes a catalog of data and files and puts it in force. Called with
// mu held, it returns with mu released: listeners are told without it.
func (h *Host) rebuild() {
	old := h.catalog
	c := buildCatalog(h.data, h.files, old, h.policy)
	c.obeyEgress(h.data, h.refuse)
	h.catalog = c
	entries := c.processes()
	for id, s := range h.supervisors {
		if e := entries[id]; e != nil {
			s.propose(e)
			continue
		}
		s.close()
		s.cancel()
		delete(h.supervisors, id)
	}
	h.mu.Unlock()

	for where, complaint := range c.complaints {
		if old.complaints[where] == complaint {
			continue
		}
		h.log.Info("Plugin configuration refused", "complaint", complaint)
		h.emit(Event{Warning: true, Reason: EventConfigRefused, Message: complaint})
	}
	known := map[string]bool{}
	for _, name := range append(old.names(), c.names()...) {
		if !known[name] && old.answers(name) != c.answers(name) {
			h.changed(name)
		}
		known[name] = true
	}
}

// OnChange registers a function that is told the name (see Canonical) of a
// plugin whose answers may differ from now on: it became ready, failed, came
// or went. It must not block.
func (h *Host) OnChange(f func(name string)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners = append(h.listeners, f)
}

func (h *Host) changed(name string) {
	h.mu.Lock()
	listeners := h.listeners
	h.mu.Unlock()
	for _, tell := range listeners {
		tell(name)
	}
}

// Canonical is the one name of a plugin that has several: "gatewayapi" for
// "argoproj-labs/gatewayAPI". Other names are their own.
func (h *Host) Canonical(name string) string { return canonical(name) }

// Installed returns nil when the name, or alias, is in the catalog for the
// kind, otherwise why it is not. It starts nothing. Of bundled plugins the kind
// is not known before they ran; they count as installed for each.
func (h *Host) Installed(name string, kind Kind) *rollout.Problem {
	h.mu.Lock()
	c := h.catalog
	h.mu.Unlock()
	_, problem := c.lookup(kind, name)
	return problem
}

// Router returns the traffic router of that name or alias, and sees to it that
// its process is started.
func (h *Host) Router(name string) (*Router, *rollout.Problem) {
	s, problem := h.supervisor(KindTrafficRouter, name)
	if problem != nil {
		return nil, problem
	}
	return &Router{s: s}, nil
}

// Provider returns the metric provider of that name, and sees to it that its
// process is started.
func (h *Host) Provider(name string) (*Provider, *rollout.Problem) {
	s, problem := h.supervisor(KindMetricProvider, name)
	if problem != nil {
		return nil, problem
	}
	return &Provider{s: s}, nil
}

// Step returns the step plugin of that name, and sees to it that its process is
// started.
func (h *Host) Step(name string) (*Step, *rollout.Problem) {
	s, problem := h.supervisor(KindStep, name)
	if problem != nil {
		return nil, problem
	}
	return &Step{s: s}, nil
}

// Disabled reports that the plugin ConfigMap switches the name off for the kind.
// Steps of such a plugin are over at once, as in Argo Rollouts.
func (h *Host) Disabled(name string, kind Kind) bool {
	h.mu.Lock()
	c := h.catalog
	h.mu.Unlock()
	l, _ := c.find(kind, canonical(name))
	return l.disabled
}

func (h *Host) supervisor(kind Kind, name string) (*supervisor, *rollout.Problem) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, problem := h.catalog.lookup(kind, name)
	if problem != nil {
		return nil, problem
	}
	s := h.supervisors[e.id]
	if s == nil {
		s = &supervised{supervisor: newSupervisor(&h.deps, e), cancel: func() {}}
		h.supervisors[e.id] = s
		if h.running != nil {
			h.launchLocked(s)
		}
	}
	s.need()
	return s.supervisor, nil
}

// launchLocked begins to supervise, with mu held and Run running.
func (h *Host) launchLocked(s *supervised) {
	if h.closed {
		s.close()
		return
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(h.running)
	h.ended.Go(func() {
		defer s.cancel()
		s.run(ctx)
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, still := h.supervisors[s.id]; !still && ctx.Err() != nil {
			h.metrics.forget(s.id)
		}
	})
}

// State of the plugin with that name, alias or metrics id; StateStopped when
// nobody needed it yet, or there is no such plugin.
func (h *Host) State(name string) State {
	h.mu.Lock()
	s := h.supervisors[canonical(name)]
	h.mu.Unlock()
	if s == nil {
		return StateStopped
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}
