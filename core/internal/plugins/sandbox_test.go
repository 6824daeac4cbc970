package plugins

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

func hasLandlock() bool {
	_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return errno == 0
}

// A plugin without credentials cannot read the file with the controller's, and
// can read its neighbour.
func TestTokensCannotBeRead(t *testing.T) {
	if !hasLandlock() {
		t.Skip("this kernel has no Landlock")
	}
	// Beside the folder for temporary files, in which plugins work.
	dir, err := filepath.Abs(".")
	require.NoError(t, err)
	dir, err = os.MkdirTemp(dir, "test-secrets-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	secrets, public := filepath.Join(dir, "secrets"), filepath.Join(dir, "public")
	require.NoError(t, os.MkdirAll(secrets, 0o755))
	token := filepath.Join(secrets, "token")
	for _, file := range []string{token, public} {
		require.NoError(t, os.WriteFile(file, []byte("x"), 0o644))
	}
	// The well-known folder is a link in most images.
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(secrets, link))
	t.Setenv("KUBECONFIG", link)

	w := newWorld(t, nil, "evil")
	w.SetConfig(map[string]string{})
	for path, want := range map[string]string{token: "permission denied", filepath.Join(link, "token"): "permission denied", public: "<nil>"} {
		_, problem := observe(w, "evil", "read", path)
		require.NotNil(t, problem)
		assert.Contains(t, problem.Message, want, path)
	}

	// One that is given the credentials reads them.
	w.SetConfig(list("{name: evil, credentials: inherit}"))
	w.eventually("the new process", func() bool {
		_, problem := observe(w, "evil", "read", token)
		return problem != nil && problem.Class == rollout.ProblemRefused && assert.ObjectsAreEqual(`plugin "evil" refuses TrafficRouter/Observe (FailedPrecondition): <nil>`, problem.Message)
	})
}

// A debugger can stop the controller for ever, and read the token from its
// memory; so can a signal stop it. A plugin can do neither, even if there is no
// file to hide from it.
func TestTheControllerCannotBeStopped(t *testing.T) {
	if !hasLandlock() {
		t.Skip("this kernel has no Landlock")
	}
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", t.TempDir())
	w := newWorld(t, nil, "evil")
	mustObserve(w, "evil")
	_, problem := observe(w, "evil", "trace")
	require.NotNil(t, problem)
	assert.Contains(t, problem.Message, "operation not permitted")
	if !canScopeSignals() {
		t.Log("this kernel's Landlock lets signals through")
		return
	}
	_, problem = observe(w, "evil", "signal", strconv.Itoa(int(unix.SIGURG)))
	require.NotNil(t, problem)
	assert.Contains(t, problem.Message, "operation not permitted")
}

// Without Landlock, and for plugins with the controller's credentials, the kernel
// asks what the controller says of itself.
func TestTheControllerIsShutToDebuggers(t *testing.T) {
	w := newWorld(t, nil, "evil")
	mustObserve(w, "evil")
	open, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	require.NoError(t, err)
	assert.Zero(t, open)
	_, err = os.ReadDir("/proc/self/fd")
	assert.NoError(t, err, "its own metrics count them")
}

// What a plugin takes is bounded; what it takes too much costs its own process.
func TestLimits(t *testing.T) {
	w := newWorld(t, nil, "evil", "other")
	mustObserve(w, "evil")
	mustObserve(w, "other")
	pid, other := w.pid("evil"), w.pid("other")
	_, problem := observe(w, "evil", "files")
	require.NotNil(t, problem)
	assert.Contains(t, problem.Message, "too many open files")
	assert.Equal(t, pid, w.pid("evil"))

	_, problem = observe(w, "evil", "allocate", strconv.Itoa(2<<30))
	require.NotNil(t, problem)
	assert.Equal(t, rollout.ProblemUnavailable, problem.Class)
	w.eventually("another process", func() bool {
		_, problem := observe(w, "evil", "")
		return problem == nil && w.pid("evil") != pid
	})
	w.waitEvent(EventFailed, "out of memory")
	_, problem = w.router("other").Observe(context.Background(), request(""))
	require.Nil(t, problem)
	assert.Equal(t, other, w.pid("other"))
}

// A plugin that announces somebody else's socket is not talked to.
func TestTheSocketIsThePluginsOwn(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: socket}))
	require.NoError(t, unix.Listen(fd, 1))
	assert.NoError(t, listensIn(unix.Getpgrp(), socket))
	assert.EqualError(t, listensIn(1, socket), "it announced a socket on which another process listens")
}

func TestBeside(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/b/c", "a/d", "e"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	require.NoError(t, os.Symlink(filepath.Join(dir, "a"), filepath.Join(dir, "l")))
	got := beside(dir, []string{filepath.Join(dir, "a/b")})
	assert.Equal(t, []string{filepath.Join(dir, "a/d"), filepath.Join(dir, "e")}, got)
	assert.Equal(t, []string{"/"}, beside("/", nil))
}
