package devcluster_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluice-rollouts/sluice/test/devcluster"
)

// The test binary plays other programs when one of these variables is set.
const (
	// playEcho: an HTTP server on the address given that answers with the address
	// it was asked on, and on /metrics with one metric.
	playEcho = "DEVCLUSTER_TEST_ECHO"
	// playOwner: a process that starts a cluster, and a command in it that leaves
	// an orphan, and prints the cluster's folder. Then it waits to be killed; if
	// the value is "detach" it detaches, prints process id and URL, and ends.
	playOwner = "DEVCLUSTER_TEST_OWNER"
	// binaries names a folder with binaries to use instead of building, for a
	// user who cannot read the cache.
	binaries = "DEVCLUSTER_TEST_BINARIES"
)

func TestMain(m *testing.M) {
	var err error
	switch {
	case os.Getenv(playEcho) != "":
		err = echo(os.Getenv(playEcho))
	case os.Getenv(playOwner) != "":
		err = own(context.Background())
	default:
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func echo(address string) error {
	return http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			_, _ = io.WriteString(w, "echo_up 1\n")
			return
		}
		local := r.Context().Value(http.LocalAddrContextKey).(fmt.Stringer)
		_, _ = io.WriteString(w, local.String())
	}))
}

func own(ctx context.Context) error {
	c, err := devcluster.Start(ctx, devcluster.Options{APIServerOnly: true})
	if err != nil {
		return err
	}
	if err := leaveOrphan(ctx, c); err != nil {
		return err
	}
	fmt.Println(c.Dir())
	if os.Getenv(playOwner) != "detach" {
		select {}
	}
	pid, err := c.Detach(ctx)
	if err != nil {
		return err
	}
	fmt.Println(pid)
	fmt.Println(c.KubeconfigPath())
	os.Exit(0)
	return nil
}

// leaveOrphan runs a command that ends at once and leaves a process in a session
// of its own behind, which names the cluster's folder and ignores SIGTERM.
func leaveOrphan(ctx context.Context, c *devcluster.Cluster) error {
	orphan := `trap "" TERM; while true; do sleep 1; done; : ` + c.Dir()
	return c.Command(ctx, "sh", "-c", "setsid sh -c '"+orphan+"' >/dev/null 2>&1 &").Run()
}

func TestStopEndsCommandsAndOrphans(t *testing.T) {
	c := startCluster(t, devcluster.Options{APIServerOnly: true})
	if err := leaveOrphan(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	polite := c.Command(t.Context(), "sh", "-c", "trap 'echo stopped; exit 3' TERM; echo started; while true; do sleep 0.05; done")
	polite.Stdout = &output
	if err := polite.Start(); err != nil {
		t.Fatal(err)
	}
	poll(t, "the orphan to run", func() error {
		for _, p := range processesOf(t, c.Dir()) {
			if strings.Contains(p, "while true") {
				return nil
			}
		}
		return errors.New("it does not")
	})
	// startCluster checks that nothing is left after this.
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	err := polite.Wait()
	var status devcluster.ExitError
	if !errors.As(err, &status) || status != 3 {
		t.Errorf("the command ended with %v, want exit status 3", err)
	}
	if got := output.String(); !strings.HasSuffix(got, "stopped\n") {
		t.Errorf("the command wrote %q, want its handler of SIGTERM to have run", got)
	}
}

func TestNothingOutlivesAKilledOwner(t *testing.T) {
	owner := ownerCommand(t, "wait")
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	dir, err := bufio.NewReader(out).ReadString('\n')
	if err := errors.Join(err, owner.Process.Kill()); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait()
	awaitGone(t, strings.TrimSpace(dir))
}

func TestDetachedClusterOutlivesItsOwner(t *testing.T) {
	out, err := ownerCommand(t, "detach").Output()
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Fields(string(out))
	if len(said) != 3 {
		t.Fatalf("the owner says %q", out)
	}
	pid, err := strconv.Atoi(said[1])
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", said[2])
	if err != nil {
		t.Fatal(err)
	}
	version, err := clientFor(t, cfg).Discovery().ServerVersion()
	if err != nil || !strings.HasPrefix(version.GitVersion, "v1.") {
		t.Errorf("the detached API server says %v, %v; want a stamped version", version, err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, said[0])
}

func ownerCommand(t *testing.T, mode string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	owner := exec.Command(self)
	owner.Env = append(os.Environ(), playOwner+"="+mode)
	owner.Stderr = os.Stderr
	return owner
}

func awaitGone(t *testing.T, dir string) {
	t.Helper()
	poll(t, "the killed process's cluster to go", func() error {
		if left := processesOf(t, dir); len(left) > 0 {
			return fmt.Errorf("processes are still there: %q", left)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			return fmt.Errorf("folder %s is still there (%v)", dir, err)
		}
		return nil
	})
}

func TestFailedStartSaysWhyAndLeavesNothing(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		opts devcluster.Options
		want string
	}{
		"component": {ctx: t.Context(), opts: devcluster.Options{APIServerFlags: []string{"--no-such-flag"}}, want: "unknown flag: --no-such-flag"},
		"cancelled": {ctx: cancelled, want: context.Canceled.Error()},
		"no program": {
			ctx:  t.Context(),
			opts: devcluster.Options{Binaries: devcluster.Binaries{ControlPlane: "/no/such/cluster"}},
			want: "/no/such/cluster: no such file",
		},
	} {
		t.Run(name, func(t *testing.T) {
			// Not t.TempDir, whose path is too long for sockets.
			dir, err := os.MkdirTemp("", "failed-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			t.Setenv("TMPDIR", dir)
			c, err := devcluster.Start(test.ctx, test.opts)
			if err == nil {
				t.Fatal(errors.Join(errors.New("it started"), c.Stop()))
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %q, want it to hold %q", err, test.want)
			}
			if left := processesOf(t, dir); len(left) > 0 {
				t.Errorf("processes are still there: %q", left)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left in the temporary folder: %v, %v", left, err)
			}
		})
	}
}

func TestCommandsAreKilledWithTheirContext(t *testing.T) {
	c := startCluster(t, devcluster.Options{APIServerOnly: true})
	ctx, cancel := context.WithCancel(t.Context())
	sleeper := c.Command(ctx, "sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(sleeper.PID(), 0); err != nil {
		t.Errorf("process %d of the running command: %v", sleeper.PID(), err)
	}
	cancel()
	if err := sleeper.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v, want the context's error", err)
	}
	if err := sleeper.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Signal after the end: %v, want os.ErrProcessDone", err)
	}
	if err := c.Command(t.Context(), "no-such-program").Run(); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a program that is not there: %v, want exec.ErrNotFound", err)
	}
}

// TestNamespaceWithoutRoot repeats a test of namespaces as user nobody.
func TestNamespaceWithoutRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this user is not root: the other tests of namespaces have shown it already")
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	copyBinaries(t, dir)
	if err := errors.Join(os.Chown(dir, nobody, nobody), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	const repeated = "TestPodAddressesAnswerInTheNamespace"
	child := exec.Command(filepath.Join(dir, "self"), "-test.run=^"+repeated+"$", "-test.v")
	child.Dir = dir
	child.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir, binaries+"="+dir)
	child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%s as nobody: %v\n%s", repeated, err, out)
	}
	if bytes.Contains(out, []byte("--- SKIP")) {
		t.Skipf("%s", out)
	}
	t.Logf("as nobody:\n%s", out)
}

// copyBinaries puts what the tests need where every user can read it.
func copyBinaries(t *testing.T, dir string) {
	t.Helper()
	c := startCluster(t, devcluster.Options{APIServerOnly: true})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	used := c.Binaries()
	for name, path := range map[string]string{"self": self, "cluster": used.ControlPlane, "supervisor": used.Supervisor} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func givenBinaries() devcluster.Binaries {
	dir := os.Getenv(binaries)
	if dir == "" {
		return devcluster.Binaries{}
	}
	return devcluster.Binaries{ControlPlane: filepath.Join(dir, "cluster"), Supervisor: filepath.Join(dir, "supervisor")}
}
