package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// start forks a child with the three files as its standard streams.
func (s *server) start(r *Start, files []*os.File) (int, error) {
	if len(files) != maxFiles {
		return 0, fmt.Errorf("starting %s: got %d standard streams instead of %d", r.Path, len(files), maxFiles)
	}
	attr := &syscall.ProcAttr{
		Dir:   r.Dir,
		Env:   r.Env,
		Files: []uintptr{files[0].Fd(), files[1].Fd(), files[2].Fd()},
		Sys: &syscall.SysProcAttr{
			// A group of its own, so that a terminal's interrupt does not reach it.
			Setpgid:   true,
			Pdeathsig: syscall.SIGKILL,
		},
	}
	pid, err := syscall.ForkExec(r.Path, append([]string{r.Path}, r.Args...), attr)
	if err != nil {
		return 0, fmt.Errorf("starting %s: %w", r.Path, err)
	}
	s.children[pid] = r.Foundation
	return pid, nil
}

func (s *server) signal(r *signal) error {
	if _, ok := s.children[r.PID]; !ok {
		return os.ErrProcessDone
	}
	pid := r.PID
	if r.Group {
		pid = -pid
	}
	return syscall.Kill(pid, syscall.Signal(r.Number))
}

// reap collects every child that has ended and tells the client of those it
// asked for. It reports whether children are left, known ones or adopted.
func (s *server) reap() (left bool) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil: // ECHILD
			return false
		case pid == 0:
			return true
		}
		if _, asked := s.children[pid]; !asked {
			continue
		}
		delete(s.children, pid)
		// After a detach nobody listens any more.
		_ = s.wire.send(reply{Exited: &exit{PID: pid, Status: status}})
	}
}

// terminate asks all children but foundations to stop, and waits for that as
// long as stopGrace.
func (s *server) terminate() {
	deadline := time.Now().Add(stopGrace)
	for first := true; ; first = false {
		s.reap()
		waiting := false
		for pid, foundation := range s.children {
			if foundation {
				continue
			}
			waiting = true
			if first {
				_ = syscall.Kill(pid, syscall.SIGTERM)
			}
		}
		if !waiting || time.Now().After(deadline) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// killAll kills children until there are none: the children of a killed one
// become children of this process, and are killed in the next round.
func (s *server) killAll() error {
	deadline := time.Now().Add(30 * time.Second)
	for s.reap() {
		pids, err := children(os.Getpid())
		if err != nil {
			return err
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not die; they are likely stuck in the kernel", pids)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// children lists the processes whose parent is pid.
func children(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		child, parent, err := parseStat(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if parent == pid {
			found = append(found, child)
		}
	}
	return found, nil
}

// parseStat reads "pid (name) state ppid …"; the name may hold any character.
func parseStat(data []byte) (pid, parent int, err error) {
	open, closing := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || closing < open {
		return 0, 0, errors.New("no process name in parentheses")
	}
	if pid, err = strconv.Atoi(string(bytes.TrimSpace(data[:open]))); err != nil {
		return 0, 0, err
	}
	fields := bytes.Fields(data[closing+1:])
	if len(fields) < 2 {
		return 0, 0, errors.New("no parent")
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return pid, parent, err
}
