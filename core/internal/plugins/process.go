package plugins

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"
)

// process is one plugin process, run for go-plugin. It takes over what
// go-plugin does in a way a hostile plugin can abuse: it reads stderr itself
// (go-plugin's log parser panics on {"@message": 1}, and with it the
// controller), kills the whole process group, and accepts no address but a
// unix socket in the plugin's own directory.
type process struct {
	cmd       *exec.Cmd
	spawn     *spawner
	logs      *logSink
	socketDir string

	handshake *io.PipeReader
	announce  *io.PipeWriter
	stdout    *os.File
	stderr    *os.File

	// exited is closed when the process has been reaped and its output read.
	exited  chan struct{}
	exitErr error

	mu sync.Mutex
	// killed forbids a start that comes after a kill; reaped forbids a kill
	// that could meet a recycled pid.
	killed, reaped bool
	pid            int
}

var _ runner.Runner = (*process)(nil)

// handshakeLimit bounds the handshake line; it holds a certificate of ~1 KiB.
const handshakeLimit = 64 << 10

// drainLimit is how long output may be read after the process has ended: a
// grandchild outside of the group could hold the pipe open for ever.
const drainLimit = time.Second

var errKilled = errors.New("killed before it was started")

func newProcess(spawn *spawner, logs *logSink) *process {
	r, w := io.Pipe()
	return &process{spawn: spawn, logs: logs, handshake: r, announce: w, exited: make(chan struct{})}
}

// prepare says what is run, and in which directory alone it may listen.
func (p *process) prepare(cmd *exec.Cmd, socketDir string) {
	p.cmd, p.socketDir = cmd, socketDir
}

// Start implements runner.Runner.
func (p *process) Start(context.Context) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return errKilled
	}
	var outW, errW *os.File
	if p.stdout, outW, err = os.Pipe(); err != nil {
		return fmt.Errorf("opening a pipe: %w", err)
	}
	defer outW.Close() //nolint:errcheck // The child has its own copy.
	if p.stderr, errW, err = os.Pipe(); err != nil {
		_ = p.stdout.Close()
		return fmt.Errorf("opening a pipe: %w", err)
	}
	defer errW.Close() //nolint:errcheck // The child has its own copy.

	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = nil, outW, errW
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.spawn.do(func() { err = p.cmd.Start() })
	if err != nil {
		_, _ = p.stdout.Close(), p.stderr.Close()
		return err
	}
	p.pid = p.cmd.Process.Pid
	go p.watch()
	if err := limit(p.pid); err != nil && !errors.Is(err, unix.ESRCH) {
		p.end()
		return fmt.Errorf("limiting its memory and files: %w", err)
	}
	return nil
}

// watch reads the output, waits for the end, and leaves no member of the
// process group behind.
func (p *process) watch() {
	var readers sync.WaitGroup
	readers.Go(p.readStdout)
	readers.Go(func() { p.logs.read(p.stderr, true) })

	awaitExit(p.pid)
	// The zombie still holds the pid, so the group cannot be somebody else's.
	p.end()
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()
	p.exitErr = p.cmd.Wait()

	read := make(chan struct{})
	go func() {
		defer close(read)
		readers.Wait()
	}()
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	select {
	case <-read:
	case <-limit.C:
	}
	_, _ = p.stdout.Close(), p.stderr.Close()
	<-read
	close(p.exited)
}

// awaitExit returns when the process has ended, and leaves it unreaped.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// readStdout hands go-plugin the handshake line, which is all it may have, and
// logs the rest.
func (p *process) readStdout() {
	buf := bufio.NewReaderSize(p.stdout, handshakeLimit)
	line, err := buf.ReadSlice('\n')
	if err == nil {
		_, _ = p.announce.Write(line) // Fails only when go-plugin no longer reads.
	}
	_ = p.announce.Close()
	p.logs.read(buf, false)
}

// terminate kills the process with everything in its group. It returns at once
// and may be called at any time, also before the start, which then fails.
func (p *process) terminate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	again := p.killed
	p.killed = true
	if p.pid != 0 && !p.reaped {
		p.end()
		if !again {
			go p.release()
		}
	}
}

// end kills the process and its group. The process by itself too: it may have
// joined the controller's own group, and would never end then.
func (p *process) end() {
	_, _ = unix.Kill(-p.pid, unix.SIGKILL), unix.Kill(p.pid, unix.SIGKILL)
}

// release buries the threads of a killed process that made us their debugger:
// until that is done the process cannot be reaped. Most have none and are gone
// before the first look.
func (p *process) release() {
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		p.mu.Lock()
		if p.reaped {
			p.mu.Unlock()
			tick.Stop()
			return
		}
		threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.pid))
		for _, thread := range threads {
			if id, _ := strconv.Atoi(thread.Name()); id != p.pid {
				_, _ = unix.Wait4(id, nil, unix.WALL|unix.WNOHANG, nil)
			}
		}
		p.mu.Unlock()
	}
}

// Wait implements runner.AttachedRunner.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return p.exitErr
}

// Kill implements runner.AttachedRunner.
func (p *process) Kill(context.Context) error {
	p.terminate()
	return nil
}

// Stdout implements runner.Runner: the handshake line and no more.
func (p *process) Stdout() io.ReadCloser { return p.handshake }

// Stderr implements runner.Runner: nothing, see process.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(eof{}) }

// Name implements runner.Runner.
func (p *process) Name() string { return p.cmd.Path }

// ID implements runner.AttachedRunner.
func (p *process) ID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid == 0 {
		return "" // go-plugin's word for a process that never was.
	}
	return strconv.Itoa(p.pid)
}

// Diagnose implements runner.Runner; ownFate says more, and later.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.AddrTranslator. It is the host's word on
// where a plugin may be reached.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" {
		return "", "", fmt.Errorf("it announced a %q address; only unix sockets are accepted", network)
	}
	if filepath.Dir(filepath.Clean(address)) != p.socketDir {
		return "", "", errors.New("it announced a socket outside of its own directory")
	}
	if info, err := os.Lstat(address); err != nil || info.Mode()&os.ModeSocket == 0 {
		return "", "", errors.New("it announced a socket that is not there")
	}
	p.mu.Lock()
	group := p.pid
	p.mu.Unlock()
	if err := listensIn(group, address); err != nil {
		return "", "", err
	}
	return network, address, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// ending is the end of a process. The whole text is for the administrator;
// everybody else gets how alone: the plugin's last words may hold what is none
// of a tenant's business.
type ending struct{ how, last string }

func (e *ending) Error() string {
	if e.last == "" {
		return e.how
	}
	return e.how + "; it said last: " + e.last
}

// forEverybody is the text of an error without the last words of a plugin.
func forEverybody(err error) string {
	var end *ending
	if errors.As(err, &end) {
		return end.how
	}
	return err.Error()
}

// fate says how the process ended, after what it did, and what it said last.
// Only after exited.
func (p *process) fate(what string) *ending {
	how := "exit status 0"
	if p.exitErr != nil {
		how = p.exitErr.Error()
	}
	return &ending{how: what + ": " + how, last: p.logs.lastWords()}
}

// ownFate is the fate of a process that ended by itself, nil for one that we
// killed, never started, or that has not ended.
func (p *process) ownFate(what string) *ending {
	select {
	case <-p.exited:
	default:
		return nil
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed && ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return nil
	}
	return p.fate(what)
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
