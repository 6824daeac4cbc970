package supervise

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setUpLimit bounds how long a supervisor may take to report that it is set up.
const setUpLimit = 20 * time.Second

// errGone is what requests fail with once the supervisor has ended.
var errGone = errors.New("the cluster has been stopped, or its supervisor has died")

// LaunchConfig says which supervisor to start and where.
type LaunchConfig struct {
	// Program is the supervisor's executable.
	Program string
	// Namespace starts it, and so everything below it, in a new network
	// namespace; for users other than root in a new user namespace as well,
	// where they are root.
	Namespace bool
	// Serve is what the supervisor does there.
	Serve ServeConfig
	// Log receives the supervisor's own messages; required.
	Log *os.File
}

// Client drives one supervisor. Its methods may be called from several goroutines.
type Client struct {
	wire *wire
	cmd  *exec.Cmd
	gone chan struct{}

	mu      sync.Mutex
	last    uint64
	pending map[uint64]chan answer
	running map[int]*Process
}

type answer struct {
	reply   reply
	files   []*os.File
	process *Process // of a Start
}

// Launch starts a supervisor and waits until it is set up. The supervisor ends
// with the calling process, unless Detach is called.
func Launch(ctx context.Context, cfg LaunchConfig) (*Client, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making the control socket: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer func() { _ = theirs.Close() }()
	w, err := newWire(ours)
	if err != nil {
		return nil, err
	}
	cmd, err := startProgram(cfg, theirs)
	if err != nil {
		_ = w.conn.Close()
		return nil, err
	}
	c := &Client{
		wire: w, cmd: cmd, gone: make(chan struct{}),
		pending: map[uint64]chan answer{}, running: map[int]*Process{},
	}
	setUp := c.expect(0)
	go c.receive()
	ctx, cancel := context.WithTimeout(ctx, setUpLimit)
	defer cancel()
	if _, err := c.await(ctx, 0, setUp); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the supervisor: %w", err), c.Close())
	}
	return c, nil
}

// startProgram starts the supervisor, falling back to a user namespace where
// root itself may not make a network namespace.
func startProgram(cfg LaunchConfig, control *os.File) (*exec.Cmd, error) {
	start := func(attr *syscall.SysProcAttr) (*exec.Cmd, error) {
		cmd := exec.Command(cfg.Program)
		if cfg.Serve.Remove != "" {
			cmd.Args = append(cmd.Args, "-remove="+cfg.Serve.Remove)
		}
		if cfg.Serve.Groups != "" {
			cmd.Args = append(cmd.Args, "-groups="+cfg.Serve.Groups)
		}
		for i, prefix := range cfg.Serve.LocalPrefixes {
			if i == 0 {
				cmd.Args = append(cmd.Args, "-local="+prefix)
				continue
			}
			cmd.Args[len(cmd.Args)-1] += "," + prefix
		}
		cmd.Stdout, cmd.Stderr = cfg.Log, cfg.Log
		cmd.ExtraFiles = []*os.File{control}
		cmd.SysProcAttr = attr
		return cmd, cmd.Start()
	}
	if !cfg.Namespace {
		return start(&syscall.SysProcAttr{Setpgid: true})
	}
	if os.Geteuid() == 0 {
		cmd, err := start(&syscall.SysProcAttr{Setpgid: true, Cloneflags: unix.CLONE_NEWNET})
		if !errors.Is(err, unix.EPERM) {
			return cmd, err
		}
	}
	cmd, err := start(&syscall.SysProcAttr{
		Setpgid:     true,
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("%w: %w; allow them (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns) or run as root", ErrNoNamespace, err)
	}
	return cmd, err
}

// ErrNoNamespace is returned by Launch when the kernel refuses namespaces.
var ErrNoNamespace = errors.New("this kernel refuses to make user and network namespaces")

// receive takes in all the supervisor says until it is gone.
func (c *Client) receive() {
	defer close(c.gone)
	for {
		var a answer
		var err error
		if a.files, err = c.wire.receive(&a.reply); err != nil {
			break
		}
		if a.reply.Exited != nil {
			c.exited(a.reply.Exited)
			continue
		}
		c.mu.Lock()
		to, ok := c.pending[a.reply.ID]
		delete(c.pending, a.reply.ID)
		// Registered here, before the next message, which may be its exit.
		if ok && a.reply.PID != 0 {
			a.process = &Process{client: c, pid: a.reply.PID, done: make(chan struct{})}
			c.running[a.reply.PID] = a.process
		}
		c.mu.Unlock()
		if !ok {
			closeAll(a.files) // whoever asked has given up
			continue
		}
		to <- a
	}
	// What still runs is being killed: nobody is left to say with which status.
	_ = c.cmd.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for pid, p := range c.running {
		p.status = unix.WaitStatus(unix.SIGKILL)
		close(p.done)
		delete(c.running, pid)
	}
}

func (c *Client) exited(e *exit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.running[e.PID]; ok {
		p.status = e.Status
		close(p.done)
		delete(c.running, e.PID)
	}
}

func (c *Client) expect(id uint64) chan answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	to := make(chan answer, 1)
	c.pending[id] = to
	return to
}

func (c *Client) await(ctx context.Context, id uint64, from chan answer) (answer, error) {
	var a answer
	select {
	case a = <-from:
	case <-c.gone:
		select { // the answer may have been the last message
		case a = <-from:
		default:
			return a, errGone
		}
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.pending, id)
		c.mu.Unlock()
		return a, ctx.Err()
	}
	if a.reply.Error != "" {
		return a, errors.New(a.reply.Error)
	}
	return a, nil
}

func (c *Client) ask(ctx context.Context, r request, files ...*os.File) (answer, error) {
	c.mu.Lock()
	c.last++
	r.ID = c.last
	c.mu.Unlock()
	from := c.expect(r.ID)
	if err := c.wire.send(r, files...); err != nil {
		select {
		case <-c.gone:
			return answer{}, errGone
		default:
			return answer{}, err
		}
	}
	return c.await(ctx, r.ID, from)
}

// Start starts a process with the given standard input, output and error. The
// files stay the caller's to close.
func (c *Client) Start(ctx context.Context, s Start, stdin, stdout, stderr *os.File) (*Process, error) {
	a, err := c.ask(ctx, request{Start: &s}, stdin, stdout, stderr)
	if err != nil {
		return nil, err
	}
	return a.process, nil
}

// Forward serves l by connections that the supervisor makes to address. The
// supervisor has its own copy of the listener; the caller closes l.
func (c *Client) Forward(ctx context.Context, l *net.TCPListener, address string) error {
	f, err := l.File()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = c.ask(ctx, request{Forward: &forward{Address: address}}, f)
	return err
}

// Relay makes the supervisor listen on a TCP address of its own network and serve
// it by connections to address there.
func (c *Client) Relay(ctx context.Context, listen, address string) error {
	_, err := c.ask(ctx, request{Forward: &forward{Address: address, Listen: listen}})
	return err
}

// Dial connects to a TCP address as seen by the supervisor. The connection is
// the real one, not a relay.
func (c *Client) Dial(ctx context.Context, address string) (net.Conn, error) {
	limit := dialLimit
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline))
	}
	a, err := c.ask(ctx, request{Dial: &dial{Address: address, Timeout: limit}})
	if err != nil {
		return nil, err
	}
	defer closeAll(a.files)
	if len(a.files) != 1 {
		return nil, fmt.Errorf("dialing %s: got no connection back", address)
	}
	return net.FileConn(a.files[0])
}

// Detach lets the supervisor and all below it outlive this process; SIGTERM to
// PID ends them. Processes whose output goes through a pipe to this process
// fail when they write after it has ended.
func (c *Client) Detach(ctx context.Context) error {
	_, err := c.ask(ctx, request{Detach: true})
	return err
}

// PID is the supervisor's process id.
func (c *Client) PID() int { return c.cmd.Process.Pid }

// Gone is closed when the supervisor has ended, and with it everything below.
func (c *Client) Gone() <-chan struct{} { return c.gone }

// Stop ends everything below the supervisor, and it. It may be called again.
func (c *Client) Stop(ctx context.Context) error {
	_, err := c.ask(ctx, request{Stop: true})
	if errors.Is(err, errGone) {
		err = nil
	}
	return errors.Join(err, c.Close())
}

// Close hangs up, on which the supervisor ends unless it is detached, and waits
// for that.
func (c *Client) Close() error {
	// Shut down rather than closed: the reader still waits for the end.
	_ = c.wire.conn.CloseWrite()
	select {
	case <-c.gone:
		_ = c.wire.conn.Close()
		return nil
	case <-time.After(stopGrace + 40*time.Second):
		return fmt.Errorf("the supervisor (pid %d) does not end", c.PID())
	}
}
