package supervise

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is a child of the supervisor.
type Process struct {
	client *Client
	pid    int
	done   chan struct{}
	status unix.WaitStatus // valid once done is closed
}

// PID is the process id, the same inside and outside of the namespace.
func (p *Process) PID() int { return p.pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the process, or with group to its whole process
// group. It returns os.ErrProcessDone when the process has ended.
func (p *Process) Signal(ctx context.Context, sig syscall.Signal, group bool) error {
	select {
	case <-p.done:
		return os.ErrProcessDone
	default:
	}
	_, err := p.client.ask(ctx, request{Signal: &signal{PID: p.pid, Number: int(sig), Group: group}})
	if err != nil && err.Error() == os.ErrProcessDone.Error() {
		return os.ErrProcessDone
	}
	return err
}

// Err says how the process ended: nil for exit status 0. It must be called only
// after Done is closed.
func (p *Process) Err() error {
	switch {
	case p.status.Signaled():
		return fmt.Errorf("ended by signal: %s", p.status.Signal())
	case p.status.ExitStatus() != 0:
		return ExitError(p.status.ExitStatus())
	default:
		return nil
	}
}

// ExitError is the exit status, other than 0, that a process ended with.
type ExitError int

func (e ExitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }
