package conformance

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// handshakeLimit bounds the first line a plugin prints, as in the host.
const handshakeLimit = 64 << 10

// How much of what a plugin prints is kept, and how much of it is quoted.
const (
	saidLimit  = 64 << 10
	quoteLimit = 2 << 10
)

// drainLimit is how long output is read after a process has ended: a grandchild could hold the pipe open for ever.
const drainLimit = time.Second

// process runs an executable for go-plugin. It reads the output itself, because go-plugin's own sentences about a start
// that goes wrong ("Unrecognized remote plugin message") do not help an author.
type process struct {
	cmd       *exec.Cmd
	socketDir string
	log       io.Writer // besides what is kept

	announce *io.PipeWriter
	stdout   *io.PipeReader
	stderr   tail
	extra    tail // standard output after the handshake
	read     sync.WaitGroup
	exited   chan struct{}

	mu     sync.Mutex
	pid    int    // 0 before it is started
	killed bool   // forbids a start that comes after a kill
	line   string // the handshake
	bad    error  // what is wrong with it
	end    error  // how the process ended; after exited
}

var _ runner.Runner = (*process)(nil)

func newProcess(path string, args []string, log io.Writer) *process {
	r, w := io.Pipe()

	return &process{cmd: exec.Command(path, args...), log: log, stdout: r, announce: w, exited: make(chan struct{})}
}

// Start implements runner.Runner.
func (p *process) Start(context.Context) error {
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.cmd.Stderr = io.MultiWriter(&p.stderr, p.log)
	p.cmd.Stdin = nil
	// A group of its own: a plugin's children must not keep its pipes open after it is gone.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = drainLimit
	started := make(chan error)
	go p.run(out, started)

	return <-started
}

// run starts the process, waits for its end, and leaves nothing of it behind. Pdeathsig is about the thread that starts a
// process, so the goroutine keeps its thread until the process has ended.
func (p *process) run(out io.ReadCloser, started chan<- error) {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	defer close(p.exited)
	if err := p.start(); err != nil {
		_ = p.announce.Close()
		started <- err

		return
	}
	p.read.Go(func() { p.readStdout(out) })
	started <- nil
	state, _ := p.cmd.Process.Wait()          // how it ended is in the state
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // what it has started
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		p.read.Wait()
	}()
	select {
	case <-drained:
	case <-time.After(drainLimit):
		_ = out.Close()
		<-drained
	}
	_ = p.cmd.Wait() // closes the pipes; the process itself has been waited for
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end = errors.New("exit status unknown")
	if state != nil {
		p.end = errors.New(state.String())
	}
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return errLate
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.pid = p.cmd.Process.Pid

	return nil
}

// readStdout hands a handshake that is one to go-plugin, and keeps the rest.
func (p *process) readStdout(out io.Reader) {
	defer p.announce.Close()
	buf := bufio.NewReaderSize(out, handshakeLimit)
	line, err := buf.ReadString('\n')
	if line == "" {
		return // it ended, or closed its output; go-plugin notices
	}
	bad := checkHandshake(strings.TrimSpace(line), p.socketDir)
	if err != nil && bad == nil {
		bad = errors.New("its handshake is a line without an end: print a newline after it, and flush")
	}
	p.mu.Lock()
	p.line, p.bad = strings.TrimSpace(line), bad
	p.mu.Unlock()
	if bad == nil {
		_, _ = p.announce.Write([]byte(line)) // fails only when go-plugin no longer reads
		_ = p.announce.Close()
	} else {
		p.terminate()
	}
	_, _ = io.Copy(&p.extra, buf) // ends with the process
}

// checkHandshake says what is wrong with the first line on standard output, in the words of PROTOCOL.md.
func checkHandshake(line, socketDir string) error {
	fields := strings.Split(line, "|")
	if len(fields) < 5 {
		return fmt.Errorf("the first line on its standard output is %q, which is no handshake; standard output belongs to the "+
			"handshake, so print logs to standard error", cut(line))
	}
	certificate := ""
	if len(fields) > 5 {
		certificate = fields[5]
	}
	switch {
	case fields[0] != "1":
		return fmt.Errorf("its handshake begins with %q: want 1, the version of go-plugin's core protocol", cut(fields[0]))
	case fields[1] != "1":
		return fmt.Errorf("its handshake has protocol version %q: want 1", cut(fields[1]))
	case fields[4] != "grpc":
		return fmt.Errorf("its handshake says protocol %q: want grpc; plugins built for Argo Rollouts speak netrpc and are run "+
			"through an adapter that the suites do not cover", cut(fields[4]))
	case fields[2] != "unix":
		return fmt.Errorf("its handshake announces a %s address: want unix, a socket in the directory PLUGIN_UNIX_SOCKET_DIR names",
			cut(fields[2]))
	case filepath.Dir(filepath.Clean(fields[3])) != socketDir:
		return fmt.Errorf("its socket %s is not in the directory PLUGIN_UNIX_SOCKET_DIR names", cut(fields[3]))
	case len(certificate) <= 50: // go-plugin takes what is shorter for something else
		return errors.New("its handshake has no certificate in the sixth field: serve TLS with a self-signed one, and print it as " +
			"DER in base64 without padding")
	}

	return nil
}

// terminate kills the process and everything it started. It may be called at any time.
func (p *process) terminate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	if p.pid != 0 && p.end == nil {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
}

// explain says why the plugin did not start, given what go-plugin says about it. Only after terminate.
func (p *process) explain(err error) error {
	select {
	case <-p.exited:
	case <-time.After(2 * drainLimit):
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	said := p.stderr.words()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("it cannot be run: the interpreter its first line names is not there")
	case errors.Is(err, syscall.ENOEXEC):
		return errors.New("it cannot be run: it is neither a program for this machine nor a script that begins with #!")
	case p.pid == 0:
		return err
	case p.bad != nil:
		return p.bad
	case errors.Is(err, errLate):
		return withWords(err, said)
	case strings.Contains(said, "These are not meant to be executed directly"):
		return withWords(errors.New("it is a plugin of another host: it did not accept SLUICE_PLUGIN=sluice in its environment, and ended"), said)
	case p.line == "" && p.end != nil:
		return withWords(fmt.Errorf("it ended (%w) before it printed a handshake on its standard output; is it a plugin?", p.end), said)
	default:
		return withWords(err, said)
	}
}

// withWords adds what the process said last.
func withWords(err error, said string) error {
	if said == "" {
		return fmt.Errorf("%w; it said nothing on standard error", err)
	}

	return fmt.Errorf("%w; it said last: %s", err, said)
}

// Wait implements runner.AttachedRunner.
func (p *process) Wait(context.Context) error {
	<-p.exited

	return nil
}

// Kill implements runner.AttachedRunner.
func (p *process) Kill(context.Context) error {
	p.terminate()

	return nil
}

// Stdout implements runner.Runner: the handshake and no more.
func (p *process) Stdout() io.ReadCloser { return p.stdout }

// Stderr implements runner.Runner: nothing, the process keeps it.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(bytes.NewReader(nil)) }

// Name implements runner.Runner.
func (p *process) Name() string { return p.cmd.Path }

// ID implements runner.AttachedRunner.
func (p *process) ID() string { return p.cmd.Path }

// Diagnose implements runner.Runner; explain says more, and later.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.AddrTranslator.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// tail keeps the last bytes that were written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - saidLimit; over > 0 {
		t.kept = append([]byte(nil), t.kept[over:]...)
	}

	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()

	return strings.ToValidUTF8(string(t.kept), "?")
}

// words are what a sentence can hold: the end of what was written, or the beginning of a Go program's panic.
func (t *tail) words() string {
	said := strings.TrimSpace(t.String())
	if i := strings.LastIndex(said, "panic: "); i >= 0 {
		said = said[i:]

		return strings.ToValidUTF8(said[:min(len(said), quoteLimit)], "")
	}

	return strings.ToValidUTF8(said[max(0, len(said)-quoteLimit):], "")
}

// cut bounds what is quoted from a plugin.
func cut(text string) string {
	const limit = 200
	if len(text) <= limit {
		return text
	}

	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// find turns what an author typed into a path that can be run, or says why it cannot.
func find(path string) (string, error) {
	found := path
	if !strings.Contains(path, string(os.PathSeparator)) {
		if _, err := os.Stat(path); err != nil {
			looked, err := exec.LookPath(path)
			if err != nil {
				return "", fmt.Errorf("%s: there is no such file, neither here nor in PATH", path)
			}
			found = looked
		}
	}
	found, err := filepath.Abs(found)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	info, err := os.Stat(found)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s: there is no such file", path)
	case err != nil:
		return "", fmt.Errorf("%s: %w", path, err)
	case info.IsDir():
		return "", fmt.Errorf("%s: this is a directory; name the executable in it", path)
	case info.Mode()&0o111 == 0:
		return "", fmt.Errorf("%s: the file is not executable; chmod +x it", path)
	}

	return found, nil
}
