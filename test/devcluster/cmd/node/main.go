// Node is the first process of a real node: of containerd, the kubelet and all
// containers, in a mount and a process namespace of their own, which package
// devcluster gives it. What they mount is gone with the namespace, and nothing of
// them outlives this process.
//
//	node [-cgroup NAME] -first "PROGRAM ARG…" -socket PATH [-second "PROGRAM ARG…"] -logs DIR -keep DIR…
//
// starts the first program, and the second when the first listens on the socket;
// it ends with either. Without a second program it ends with the first, with its
// exit status.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socketPatience is how long the first program gets to listen.
const socketPatience = time.Minute

func main() {
	cgroup := flag.String("cgroup", "", "name of a control group to make in every hierarchy")
	first := flag.String("first", "", "command line, without quoting")
	second := flag.String("second", "", "command line, without quoting")
	socket := flag.String("socket", "", "unix socket of the first program")
	logs := flag.String("logs", "", "folder of first.log and second.log; empty: standard output")
	keep := flag.String("keep", "", "colon-separated files and folders that must stay visible")
	flag.Parse()
	status, err := run(*cgroup, *first, *second, *socket, *logs, filepath.SplitList(*keep))
	if err != nil {
		fmt.Fprintf(os.Stderr, "node: %v\n", err)
		status = 1
	}
	os.Exit(status)
}

func run(cgroup, first, second, socket, logs string, keep []string) (int, error) {
	if os.Getpid() != 1 {
		return 0, errors.New("not the first process of a process namespace; package devcluster starts it")
	}
	// A child gets its parent's death from the thread that forked it.
	runtime.LockOSThread()
	if err := furnish(keep); err != nil {
		return 0, err
	}
	if err := makeGroups(cgroup); err != nil {
		return 0, err
	}
	pid, err := start(first, logs, "first.log")
	if err != nil {
		return 0, err
	}
	started := map[int]string{pid: first}
	if second != "" {
		if err := listens(socket); err != nil {
			return 0, err
		}
		if pid, err = start(second, logs, "second.log"); err != nil {
			return 0, err
		}
		started[pid] = second
	}
	return reap(started)
}

// reap collects what ends, orphans too, until a started program does.
func reap(started map[int]string) (int, error) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if command, ours := started[pid]; ours {
			if len(started) > 1 {
				fmt.Fprintf(os.Stderr, "node: ended, status %d: %s\n", status, command)
			}
			return max(status.ExitStatus(), 0), nil
		}
	}
}

func start(command, logs, name string) (int, error) {
	fields := strings.Fields(command)
	if len(fields) == 0 {
		return 0, errors.New("-first is missing")
	}
	out := os.Stdout
	if logs != "" {
		file, err := os.Create(filepath.Join(logs, name))
		if err != nil {
			return 0, err
		}
		defer func() { _ = file.Close() }()
		out = file
	}
	pid, err := syscall.ForkExec(fields[0], fields, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{os.Stdin.Fd(), out.Fd(), out.Fd()},
	})
	if err != nil {
		return 0, fmt.Errorf("starting %s: %w", fields[0], err)
	}
	return pid, nil
}

func listens(socket string) error {
	deadline := time.Now().Add(socketPatience)
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nothing listens after %s: %w", socketPatience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
