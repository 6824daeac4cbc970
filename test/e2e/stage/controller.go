package stage

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/sluice-rollouts/sluice/test/devcluster"
)

// Namespace and account of deploy/; every controller runs as that account.
const (
	controllerNamespace = "sluice"
	controllerAccount   = "sluice-controller"
)

// bundled are the plugins that come with the controller.
var bundled = []string{"gatewayapi", "prometheus", "job"}

// ControllerOptions say which controller to start.
type ControllerOptions struct {
	// Instance is what the --instance-id starts with; a number makes it unique.
	// Such a controller has a namespace, and thus a ConfigMap and a lease, of
	// its own. Empty is the controller of every object without the label.
	Instance string
	// Plugins are the bundled ones; nil means all.
	Plugins []string
	// ReplicaOf makes it another process of the same instance.
	ReplicaOf *Controller
	// Lease makes it take part in leader election.
	Lease bool
	// Reference works in the place of our controller; empty is our own.
	Reference Reference
}

var instances atomic.Int32

// Controller is a controller that a test starts, kills and starts again.
type Controller struct {
	// Namespace is its own: the ConfigMap of plugins is there.
	Namespace string
	Instance  string

	stage      *Stage
	lease      bool
	reference  Reference
	pluginDir  string
	kubeconfig string
	logPath    string
	tempDir    string
	metrics    string // host:port
	process    *devcluster.Command
}

// NewController prepares a controller without starting it. It is stopped when
// the test ends.
func (s *Stage) NewController(t testing.TB, o ControllerOptions) *Controller {
	t.Helper()
	if o.Plugins == nil {
		o.Plugins = bundled
	}
	c := &Controller{Namespace: controllerNamespace, stage: s, lease: o.Lease, reference: o.Reference}
	switch {
	case o.ReplicaOf != nil:
		c.Instance = o.ReplicaOf.Instance
	case o.Instance != "":
		c.Instance = fmt.Sprintf("%s-%d", o.Instance, instances.Add(1))
	}
	require.NoError(t, c.prepare(t.Context(), o))
	t.Cleanup(func() {
		c.Stop(t)
		c.clean()
	})
	return c
}

func (c *Controller) prepare(ctx context.Context, o ControllerOptions) (err error) {
	if c.Instance != "" {
		c.Namespace = controllerNamespace + "-" + c.Instance
		if err := c.ownNamespace(ctx); err != nil {
			return err
		}
	}
	if err := c.configure(ctx, map[string]any{}); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(c.stage.bin, "controller-")
	if err != nil {
		return err
	}
	if c.kubeconfig, err = c.stage.Cluster.KubeconfigFor("system:serviceaccount:" + controllerNamespace + ":" + controllerAccount); err != nil {
		return err
	}
	// Plugins in a folder of its own: the paths of the processes tell whose
	// they are.
	c.pluginDir = filepath.Join(dir, "plugins")
	if err := os.MkdirAll(c.pluginDir, 0o755); err != nil {
		return err
	}
	for _, p := range o.Plugins {
		if err := os.Link(c.stage.PluginBinary(p), filepath.Join(c.pluginDir, p)); err != nil {
			return err
		}
	}
	// Its own as well, so that what it leaves behind is seen. Sockets go there,
	// and their paths have at most 107 bytes.
	if c.tempDir, err = os.MkdirTemp("", "s"); err != nil {
		return err
	}
	c.logPath = filepath.Join(dir, "log")
	c.metrics, err = freePort(ctx)
	return err
}

// PluginBinary is the built binary of one of our plugins.
func (s *Stage) PluginBinary(name string) string { return filepath.Join(s.bin, "plugins", name) }

// ownNamespace makes the controller's namespace, with the roles that
// deploy/ gives the account in its own.
func (c *Controller) ownNamespace(ctx context.Context) error {
	file, err := os.Open(c.stage.path("deploy/base/rbac.yaml"))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
	namespace.SetName(c.Namespace)
	objects := []*unstructured.Unstructured{namespace}
	for decoder := yaml.NewYAMLOrJSONDecoder(file, 4096); ; {
		o := &unstructured.Unstructured{}
		if decoder.Decode(o) != nil {
			break
		}
		if o.GetKind() == "Role" || o.GetKind() == "RoleBinding" {
			o.SetNamespace(c.Namespace)
			objects = append(objects, o)
		}
	}
	return c.stage.Cluster.ApplyObjects(ctx, objects...)
}

func freePort(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// SharedController starts the controller of every object without an instance
// id. It ends with the stage.
func (s *Stage) SharedController() (*Controller, error) {
	c := &Controller{Namespace: controllerNamespace, stage: s}
	if err := c.prepare(context.Background(), ControllerOptions{Plugins: bundled}); err != nil {
		return nil, err
	}
	s.shared = c
	return c, c.start(context.Background())
}

// clean removes the temporary files of a controller that has ended.
func (c *Controller) clean() { _ = os.RemoveAll(c.tempDir) }

// Elsewhere stands for a controller that somebody else runs, for Apps that it
// serves: its instance id, and where its log is.
func (s *Stage) Elsewhere(instance, logPath string) *Controller {
	return &Controller{Instance: instance, stage: s, logPath: logPath}
}

// PluginDir holds the built plugins.
func (s *Stage) PluginDir() string { return filepath.Join(s.bin, "plugins") }

// Start starts the process and waits until it answers.
func (c *Controller) Start(t testing.TB) {
	t.Helper()
	require.NoError(t, c.start(t.Context()))
}

func (c *Controller) start(ctx context.Context) error {
	log, err := os.OpenFile(c.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	_, port, err := net.SplitHostPort(c.metrics)
	if err != nil {
		return err
	}
	path, args := filepath.Join(c.stage.bin, "controller"), []string{
		"--kubeconfig=" + c.kubeconfig, "--namespace=" + c.Namespace, "--instance-id=" + c.Instance,
		"--plugin-dir=" + c.pluginDir, "--leader-elect=" + strconv.FormatBool(c.lease), "--metricsPort=" + port, "--healthzPort=0",
		"--enable-pprof-address=" + os.Getenv("SLUICE_PPROF"),
	}
	if c.reference != "" {
		path, args = string(c.reference), c.reference.args(c, port)
	}
	c.process = c.stage.Cluster.Command(context.Background(), path, args...)
	c.process.Stdout, c.process.Stderr = log, log
	c.process.Env = append(os.Environ(), "TMPDIR="+c.tempDir)
	if err := c.process.Start(); err != nil {
		return fmt.Errorf("start the controller: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for tick := time.Tick(50 * time.Millisecond); ; {
		_, err := c.counters(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick:
		case <-c.process.Done():
			return fmt.Errorf("the controller ended by itself\n%s", c.LogTail(20))
		case <-ctx.Done():
			return fmt.Errorf("the controller does not answer: %w\n%s", err, c.LogTail(20))
		}
	}
}

// Kill ends the process the hard way, as a lost node would.
func (c *Controller) Kill(t testing.TB) {
	t.Helper()
	require.NoError(t, c.process.Signal(syscall.SIGKILL))
	<-c.process.Done()
	c.process = nil
}

// Stop ends the process in order. It may be stopped already.
func (c *Controller) Stop(t testing.TB) {
	t.Helper()
	if c.process == nil {
		return
	}
	if err := c.Faultless(context.Background()); err != nil {
		t.Error(err)
	}
	_ = c.process.Signal(syscall.SIGTERM)
	select {
	case <-c.process.Done():
	case <-time.After(patience):
		t.Errorf("the controller did not end within %s of SIGTERM", patience)
		_ = c.process.Signal(syscall.SIGKILL)
	}
	c.process = nil
}

// faults are what no log may hold, even where the story ends well: each is a
// bug, or a right that deploy/ lacks.
var faults = []string{"breaks an invariant", "panic", "forbidden"}

// Faultless fails when the controller has refused a plan of its own, or its log
// holds a fault.
func (c *Controller) Faultless(ctx context.Context) error {
	counted, err := c.counters(ctx)
	if err != nil {
		return fmt.Errorf("reading the controller's metrics: %w", err)
	}
	if len(counted.Violations) > 0 {
		return fmt.Errorf("plans broke invariants: %v\n%s", counted.Violations, c.LogAbout(faults[0], 20))
	}
	for _, fault := range faults {
		if found := c.LogAbout(fault, 5); found != "" {
			return fmt.Errorf("the controller's log speaks of %q:\n%s", fault, found)
		}
	}
	return nil
}

// PluginPIDs are the processes of one of this controller's bundled plugins.
func (c *Controller) PluginPIDs(plugin string) []int {
	return running(filepath.Join(c.pluginDir, plugin))
}

// running are the ids of processes of the program.
func running(program string) []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe")); err == nil && exe == program {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TempDir is where it and its plugins put temporary files.
func (c *Controller) TempDir() string { return c.tempDir }

// LogTail is the end of what the controller has written.
func (c *Controller) LogTail(lines int) string {
	data, err := os.ReadFile(c.logPath)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// LogAbout are the last lines of the log that mention the text.
func (c *Controller) LogAbout(text string, lines int) string {
	data, err := os.ReadFile(c.logPath)
	if err != nil {
		return err.Error()
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return strings.Join(found[max(0, len(found)-lines):], "")
}
