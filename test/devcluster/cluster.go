package devcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
	"github.com/sluice-rollouts/sluice/test/devcluster/internal/supervise"
)

// startLimit bounds how long a cluster may take to be ready, builds excluded.
// It is generous for machines that do other things at the same time.
const startLimit = 2 * time.Minute

// ErrNoNamespace is what StartNet fails with where the kernel refuses network
// namespaces to this user; the message says what would allow them.
var ErrNoNamespace = supervise.ErrNoNamespace

// Options say what cluster to start. The zero value is a good cluster.
type Options struct {
	// Nodes is the number of simulated nodes; 0 means 3.
	Nodes int
	// APIServerOnly leaves out the controller-manager, the scheduler and the
	// nodes: faster and smaller, but nothing happens to what is created.
	APIServerOnly bool
	// APIServerFlags are added to the API server's command line, for example
	// "--feature-gates=…".
	APIServerFlags []string
	// Log receives progress lines of long work, that is building; nil means
	// standard error.
	Log io.Writer
	// LogDir is a folder for the logs of the components, created if need be,
	// that stays after Stop. Empty means a folder that goes with the cluster.
	LogDir string
	// Binaries are used instead of building.
	Binaries Binaries
}

// Binaries are paths of programs that exist already; empty ones are built.
type Binaries struct {
	ControlPlane, Supervisor string
}

// Cluster is a running cluster. Its methods may be called from several
// goroutines.
type Cluster struct {
	opts       Options
	dir        string // everything of this cluster; the supervisor deletes it
	logs       string
	supervisor *supervise.Client
	namespaced bool
	server     string // URL of the API server, the same inside and outside
	ca         *authority
	admin      *rest.Config
	clients    func() (*clients, error)
}

// Start starts a cluster on 127.0.0.1 and returns when its API server is ready
// and its nodes are. The first call ever builds the control plane, which takes
// minutes and is told on opts.Log. The cluster runs until Stop, or until this
// process ends; ctx bounds only the start. An error holds the end of the log of
// the component that failed.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	return start(ctx, opts, false)
}

// StartNet is Start in a network namespace of the cluster's own, where every
// address of PodCIDR is local: a program started there with Command that listens
// on 0.0.0.0 answers for all pods. Ordinary users need user namespaces; where
// the kernel refuses them the error is ErrNoNamespace. The API server is
// reachable from outside under the same URL as inside.
func StartNet(ctx context.Context, opts Options) (*Cluster, error) {
	return start(ctx, opts, true)
}

func start(ctx context.Context, opts Options, namespaced bool) (_ *Cluster, err error) {
	if opts.Nodes == 0 {
		opts.Nodes = 3
	}
	if opts.Log == nil {
		opts.Log = os.Stderr
	}
	if err := opts.build(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	c := &Cluster{opts: opts, namespaced: namespaced}
	c.clients = sync.OnceValues(c.newClients)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("starting a development cluster: %w", err), c.Stop())
		}
	}()
	if err := c.makeFolders(); err != nil {
		return nil, err
	}
	if err := c.launch(ctx); err != nil {
		return nil, err
	}
	port, release, err := c.reservePort(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	c.server = "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if err := c.makeIdentities(); err != nil {
		return nil, err
	}
	if err := c.startControlPlane(ctx, port); err != nil {
		return nil, err
	}
	if opts.APIServerOnly {
		return c, nil
	}
	return c, c.startNodes(ctx)
}

// build fills in the binaries that were not given.
func (o *Options) build(ctx context.Context) error {
	var missing []*foreign.Program
	var into []*string
	if o.Binaries.ControlPlane == "" {
		missing, into = append(missing, foreign.ControlPlane), append(into, &o.Binaries.ControlPlane)
	}
	if o.Binaries.Supervisor == "" {
		missing, into = append(missing, foreign.Supervisor), append(into, &o.Binaries.Supervisor)
	}
	if len(missing) == 0 {
		return nil
	}
	paths, err := foreign.Build(ctx, o.Log, missing...)
	if err != nil {
		return err
	}
	for i, path := range paths {
		*into[i] = path
	}
	return nil
}

func (c *Cluster) makeFolders() error {
	dir, err := os.MkdirTemp("", "sluice-cluster-")
	if err != nil {
		return err
	}
	c.dir = dir
	// A unix socket's path has at most 107 bytes.
	if socket := c.path("etcd-peer.sock"); len(socket) > 100 {
		return fmt.Errorf("the temporary folder's path is too long for a socket in it (%s); set TMPDIR to a shorter one", dir)
	}
	c.logs = c.opts.LogDir
	if c.logs == "" {
		c.logs = c.path("logs")
	}
	return os.MkdirAll(c.logs, 0o755)
}

func (c *Cluster) launch(ctx context.Context) error {
	log, err := os.Create(filepath.Join(c.logs, "supervisor.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cfg := supervise.LaunchConfig{
		Program:   c.opts.Binaries.Supervisor,
		Namespace: c.namespaced,
		Serve:     supervise.ServeConfig{Remove: c.dir, Groups: c.groups()},
		Log:       log,
	}
	if c.namespaced {
		cfg.Serve.LocalPrefixes = []string{PodCIDR, apiServiceIP + "/32", realNodeIP + "/32"}
	}
	c.supervisor, err = supervise.Launch(ctx, cfg)
	return err
}

// Stop ends the cluster and everything started with Command, and deletes its
// folder. Commands get SIGTERM and five seconds first. It may be called more
// than once, and on a cluster whose processes have died.
func (c *Cluster) Stop() error {
	var err error
	if c.supervisor != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = c.supervisor.Stop(ctx)
	}
	if c.dir == "" {
		return err
	}
	// The supervisor has done it, unless it was killed or never started.
	return errors.Join(err, os.RemoveAll(c.dir))
}

// Detach lets the cluster and its commands outlive this process and returns the
// process id that ends all of it on SIGTERM. Afterwards Stop must not be called.
// Output of commands that does not go to a file is lost, and may fail them.
func (c *Cluster) Detach(ctx context.Context) (pid int, err error) {
	return c.supervisor.PID(), c.supervisor.Detach(ctx)
}

// LogDir is the folder with one log file per component.
func (c *Cluster) LogDir() string { return c.logs }

// Dir is a folder for files that belong to the cluster and shall go with it.
func (c *Cluster) Dir() string { return c.dir }

// Binaries are the programs that this cluster was started from.
func (c *Cluster) Binaries() Binaries { return c.opts.Binaries }

// Server is the URL of the API server, valid inside and outside of the
// cluster's namespace.
func (c *Cluster) Server() string { return c.server }

// Done is closed when the cluster has ended, by Stop or otherwise.
func (c *Cluster) Done() <-chan struct{} { return c.supervisor.Gone() }

func (c *Cluster) path(name string) string { return filepath.Join(c.dir, name) }
