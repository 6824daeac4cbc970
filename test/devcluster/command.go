package devcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-rollouts/sluice/test/devcluster/internal/supervise"
)

// drainLimit is how long Wait waits for output after the process has ended: a
// child of it may hold the other end of the pipe.
const drainLimit = 2 * time.Second

// ExitError is the exit status, other than 0, of a Command; it is found in
// errors with errors.As.
type ExitError = supervise.ExitError

// Command is a process in the cluster's network, used like an exec.Cmd. Stop
// ends it, and all processes it has left behind.
type Command struct {
	// Path of the program, as for exec.Command.
	Path string
	// Args are the arguments, without the program's name.
	Args []string
	// Env is the environment; nil means that of this process.
	Env []string
	// Dir is the working directory; empty means that of this process.
	Dir string
	// Stdin, Stdout and Stderr are nothing when nil. Files are handed to the
	// process as they are; anything else is copied through a pipe.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	ctx     context.Context
	cluster *Cluster
	process *supervise.Process
	ours    []*os.File // ends of pipes that copying reads or writes
	theirs  []*os.File // ends that the process gets
	copying sync.WaitGroup
}

// Command prepares a process in the cluster's network; for a cluster of Start
// that is this machine's. When ctx is done before the process has ended it is
// killed.
func (c *Cluster) Command(ctx context.Context, path string, args ...string) *Command {
	return &Command{Path: path, Args: args, ctx: ctx, cluster: c}
}

// Start starts the process and returns without waiting for its end.
func (c *Command) Start() error {
	if c.process != nil {
		return errors.New("devcluster: Command started twice")
	}
	spec, err := c.spec()
	if err != nil {
		return err
	}
	stdin, err := c.input()
	stdout, err2 := c.output(c.Stdout)
	stderr, err3 := stdout, error(nil)
	if !sameWriter(c.Stdout, c.Stderr) {
		stderr, err3 = c.output(c.Stderr)
	}
	defer func() { closeFiles(c.theirs) }()
	if err := errors.Join(err, err2, err3); err != nil {
		closeFiles(c.ours)
		return err
	}
	c.process, err = c.cluster.supervisor.Start(c.ctx, spec, stdin, stdout, stderr)
	if err != nil {
		closeFiles(c.ours)
		return err
	}
	go func() {
		select {
		case <-c.process.Done():
		case <-c.ctx.Done():
			_ = c.Signal(syscall.SIGKILL)
		}
	}()
	return nil
}

// sameWriter reports whether both streams shall go through one pipe, which keeps
// their lines in order and the writer free of races.
func sameWriter(a, b io.Writer) (same bool) {
	defer func() { _ = recover() }() // a writer of a type that cannot be compared
	return a != nil && a == b
}

func (c *Command) spec() (supervise.Start, error) {
	path, err := exec.LookPath(c.Path)
	if err != nil {
		return supervise.Start{}, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return supervise.Start{}, err
	}
	dir, env := c.Dir, c.Env
	if dir == "" {
		if dir, err = os.Getwd(); err != nil {
			return supervise.Start{}, err
		}
	}
	if env == nil {
		env = os.Environ()
	}
	return supervise.Start{Path: path, Args: c.Args, Env: env, Dir: dir}, nil
}

func (c *Command) input() (*os.File, error) {
	if f, ok := c.Stdin.(*os.File); ok {
		return f, nil
	}
	if c.Stdin == nil {
		return c.null(os.O_RDONLY)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.theirs = append(c.theirs, r)
	// Not waited for: the reader may block for longer than the process lives.
	go func() {
		_, _ = io.Copy(w, c.Stdin)
		_ = w.Close()
	}()
	return r, nil
}

func (c *Command) output(to io.Writer) (*os.File, error) {
	if f, ok := to.(*os.File); ok {
		return f, nil
	}
	if to == nil {
		return c.null(os.O_WRONLY)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.ours, c.theirs = append(c.ours, r), append(c.theirs, w)
	c.copying.Go(func() { _, _ = io.Copy(to, r) })
	return w, nil
}

func (c *Command) null(mode int) (*os.File, error) {
	f, err := os.OpenFile(os.DevNull, mode, 0)
	if err == nil {
		c.theirs = append(c.theirs, f)
	}
	return f, err
}

// Wait waits for the end of a started process and of the copying of its output.
// It returns nil for exit status 0, an error with an ExitError for another, and
// ctx's error when that was why the process was killed. It may be called again.
func (c *Command) Wait() error {
	if c.process == nil {
		return errors.New("devcluster: Wait of a Command that was not started")
	}
	<-c.process.Done()
	drained := make(chan struct{})
	go func() {
		c.copying.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-time.After(drainLimit):
	}
	closeFiles(c.ours) // ends copying, if it has not ended
	<-drained
	err := c.process.Err()
	if err != nil && c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(c.Path), err)
	}
	return nil
}

// Run is Start and Wait.
func (c *Command) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Done is closed when a started process has ended.
func (c *Command) Done() <-chan struct{} { return c.process.Done() }

// PID of a started process, valid inside and outside of the namespace.
func (c *Command) PID() int { return c.process.PID() }

// Signal sends a signal to a started process. It returns os.ErrProcessDone when
// the process has ended.
func (c *Command) Signal(sig syscall.Signal) error {
	return c.process.Signal(context.Background(), sig, false)
}

// SignalGroup sends a signal to a started process and those of its children that
// did not leave its process group.
func (c *Command) SignalGroup(sig syscall.Signal) error {
	return c.process.Signal(context.Background(), sig, true)
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
