package supervise

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	ossignal "os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopGrace is how long processes that are no foundation have between SIGTERM
// and SIGKILL when the cluster stops.
const stopGrace = 5 * time.Second

// ServeConfig says how a supervisor runs.
type ServeConfig struct {
	// LocalPrefixes are address ranges that shall be local in this network
	// namespace, in CIDR notation; one of a single address is put on the loopback
	// interface. Set only inside a namespace of one's own: it brings up that
	// interface there.
	LocalPrefixes []string
	// Remove is a folder to delete at the end; empty for none.
	Remove string
	// Groups is the name of control groups, directly below the root of each
	// hierarchy, to remove at the end with all below; empty for none.
	Groups string
}

// server owns the children. All its state belongs to the goroutine of loop,
// which is locked to its thread: the kernel sends a child its parent-death
// signal when the thread that forked it ends.
type server struct {
	wire *wire
	cfg  ServeConfig
	// children that were asked for and not reaped yet, to whether they are a
	// foundation.
	children map[int]bool
	detached bool
	listener []net.Listener
}

type incoming struct {
	request request
	files   []*os.File
	err     error
}

// Serve is the supervisor's main: it serves the control socket on file
// descriptor 3 until it is told to stop, gets SIGTERM, or the client is gone,
// then ends every process below it and deletes cfg.Remove. It returns the first
// error that kept it from working; an error of a single request goes to the client.
func Serve(cfg ServeConfig) error {
	runtime.LockOSThread()
	w, err := newWire(os.NewFile(controlFD, "control"))
	if err != nil {
		return fmt.Errorf("%w; the supervisor is started by package devcluster, not by hand", err)
	}
	s := &server{wire: w, cfg: cfg, children: map[int]bool{}}
	if err := s.setUp(); err != nil {
		_ = w.send(reply{Error: err.Error()})
		return errors.Join(err, s.cleanUp())
	}
	if err := w.send(reply{}); err != nil {
		return errors.Join(err, s.cleanUp())
	}
	return s.loop()
}

func (s *server) setUp() error {
	// Orphans of the processes started here become children of this one.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming the subreaper: %w", err)
	}
	if len(s.cfg.LocalPrefixes) > 0 {
		return makeLocal(s.cfg.LocalPrefixes)
	}
	return nil
}

func (s *server) loop() error {
	child := make(chan os.Signal, 1)
	ossignal.Notify(child, syscall.SIGCHLD)
	term := make(chan os.Signal, 1)
	ossignal.Notify(term, syscall.SIGTERM)
	// A terminal's interrupt is for the process that the user started; that one
	// says what becomes of the cluster. Caught and dropped, not ignored: children
	// would inherit the latter.
	ossignal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGHUP)
	requests := make(chan incoming)
	go s.read(requests)

	for {
		select {
		case <-child:
			s.reap()
		case <-term:
			return s.shutDown()
		case in, open := <-requests:
			switch {
			case !open && s.detached:
				requests = nil
			case !open:
				return s.shutDown()
			case in.request.Stop:
				err := s.shutDown()
				_ = s.wire.send(reply{ID: in.request.ID, Error: message(err)})
				return err
			default:
				s.answer(in)
			}
		}
	}
}

// read passes requests on and closes the channel when the client is gone.
func (s *server) read(out chan<- incoming) {
	defer close(out)
	for {
		var in incoming
		in.files, in.err = s.wire.receive(&in.request)
		if in.err != nil {
			if !errors.Is(in.err, io.EOF) {
				fmt.Fprintf(os.Stderr, "supervisor: control socket: %v\n", in.err)
			}
			return
		}
		out <- in
	}
}

func (s *server) answer(in incoming) {
	out := reply{ID: in.request.ID}
	var err error
	switch r := in.request; {
	case r.Start != nil:
		out.PID, err = s.start(r.Start, in.files)
	case r.Signal != nil:
		err = s.signal(r.Signal)
	case r.Forward != nil:
		err = s.forward(r.Forward, in.files)
	case r.Dial != nil:
		go s.dial(r.ID, r.Dial)
		return
	case r.Detach:
		s.detached = true
	default:
		err = errors.New("empty request")
	}
	closeAll(in.files)
	out.Error = message(err)
	if err := s.wire.send(out); err != nil {
		fmt.Fprintf(os.Stderr, "supervisor: answering: %v\n", err)
	}
}

// shutDown ends everything below this process and deletes the cluster's folder.
func (s *server) shutDown() error {
	for _, l := range s.listener {
		_ = l.Close()
	}
	s.terminate()
	return errors.Join(s.killAll(), s.cleanUp())
}

func (s *server) cleanUp() error {
	err := removeGroups(s.cfg.Groups)
	if s.cfg.Remove == "" {
		return err
	}
	if err := os.RemoveAll(s.cfg.Remove); err != nil {
		return fmt.Errorf("deleting the cluster's folder: %w", err)
	}
	return err
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
