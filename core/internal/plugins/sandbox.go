package plugins

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Limits of a plugin process. RLIMIT_DATA bounds its memory; RLIMIT_AS would keep
// Go programs from starting at all, since they reserve far more than they use.
const (
	maxPluginMemory = 1 << 30
	maxPluginFiles  = 1024
)

// limit bounds what a process can take from the others of this machine.
func limit(pid int) error {
	return errors.Join(
		unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: maxPluginMemory, Max: maxPluginMemory}, nil),
		unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: maxPluginFiles, Max: maxPluginFiles}, nil),
		unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil),
	)
}

// secretPlaces are where the controller's credentials lie.
func secretPlaces() []string {
	places := []string{"/var/run/secrets"}
	places = append(places, filepath.SplitList(os.Getenv("KUBECONFIG"))...)
	if home, err := os.UserHomeDir(); err == nil {
		places = append(places, filepath.Join(home, ".kube"))
	}
	return places
}

// hide keeps the calling thread, and every process it starts from now on, from
// reading anything in the places, and from tracing and, on newer kernels,
// signalling a process that is not one of them, for good: a debugger or a SIGSTOP
// could stop the controller for ever. It uses Landlock, which needs no privileges
// and forbids the tracing by itself, with no place to hide too; the error says
// that the kernel has none.
//
// Landlock knows what is allowed only, so what is allowed is everything beside
// the way to each place. What is created later on that way itself is hidden too,
// but for what is below workplace, where plugins have their own folders.
func hide(places []string, workplace string) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up privileges: %w", err)
	}
	var hidden []string
	for _, place := range places {
		if real, err := filepath.EvalSymlinks(place); err == nil {
			hidden = append(hidden, real)
		}
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_READ_FILE}
	if canScopeSignals() {
		attr.Scoped = unix.LANDLOCK_SCOPE_SIGNAL
	}
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return fmt.Errorf("this kernel has no Landlock: %w", errno)
	}
	defer unix.Close(int(ruleset)) //nolint:errcheck // It is only read.
	for _, path := range append(beside("/", hidden), beside(workplace, hidden)...) {
		if err := allow(int(ruleset), path); err != nil {
			return err
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0); errno != 0 {
		return fmt.Errorf("restricting a thread: %w", errno)
	}
	return nil
}

// canScopeSignals reports whether Landlock can keep signals inside (Linux 6.12).
// The first kernels that could kept them from the other threads of the same
// process too, and with them those of Go's own scheduler: the second erratum
// tells that a kernel is none of these.
func canScopeSignals() bool {
	const scopes, betweenThreads = 6, 1 << 1
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || version < scopes {
		return false
	}
	errata, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_ERRATA)
	return errno == 0 && errata&betweenThreads != 0
}

// shut keeps processes of the same user from tracing this one and from reading
// its memory, also those outside of hide and on kernels without Landlock. It costs
// core dumps. A process may still look at itself in /proc.
func shut() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// beside lists what makes up root without the hidden paths.
func beside(root string, hidden []string) []string {
	if slices.Contains(hidden, root) {
		return nil
	}
	prefix := strings.TrimSuffix(root, "/") + "/"
	if !slices.ContainsFunc(hidden, func(h string) bool { return strings.HasPrefix(h, prefix) }) {
		return []string{root}
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil // What we cannot list, plugins cannot read either.
	}
	var out []string
	for _, e := range entries {
		if e.Type()&os.ModeSymlink == 0 { // Where it leads to is decided there.
			out = append(out, beside(prefix+e.Name(), hidden)...)
		}
	}
	return out
}

func allow(ruleset int, path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // It is gone, or out of reach.
	}
	defer unix.Close(fd)                                                                                          //nolint:errcheck // It is only a name.
	rule := unix.LandlockPathBeneathAttr{Allowed_access: unix.LANDLOCK_ACCESS_FS_READ_FILE, Parent_fd: int32(fd)} //nolint:gosec // Descriptors are small.
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("allowing %s: %w", path, errno)
	}
	return nil
}

// listensIn reports whether it is the process, or one of its group, that listens
// on the socket: another one could have been faster.
func listensIn(group int, socket string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("making a socket: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // Nothing was written.
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fmt.Errorf("asking who listens: %w", err)
	}
	if of, err := unix.Getpgid(int(peer.Pid)); err != nil || of != group {
		return errors.New("it announced a socket on which another process listens")
	}
	return nil
}
