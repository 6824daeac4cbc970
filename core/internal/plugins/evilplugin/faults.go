package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// faults is what a process can do to its host at any moment. Those that return
// leave the process able to answer.
var faults = map[string]func(){
	"exit":            func() { os.Exit(7) },
	"exit-well":       func() { os.Exit(0) },
	"panic":           func() { go panic("boom"); time.Sleep(time.Hour) },
	"panic-here":      func() { panic("boom") },
	"segv":            func() { signalSelf(syscall.SIGSEGV) },
	"abort":           func() { signalSelf(syscall.SIGABRT) },
	"kill":            func() { signalSelf(syscall.SIGKILL) },
	"stop":            func() { signalSelf(syscall.SIGSTOP) },
	"stop-group":      func() { _ = syscall.Kill(0, syscall.SIGSTOP); time.Sleep(time.Hour) },
	"hang":            func() { time.Sleep(time.Hour) },
	"deadlock":        func() { select {} },
	"spin":            func() { spin() },
	"spin-everywhere": func() { spinEverywhere() },
	"stack":           func() { _ = deep(1) },
	"memory":          func() { kept = [][]byte{make([]byte, 2<<30)} },
	"memory-slowly":   func() { grow() },
	"files":           func() { leakFiles() },
	"goroutines":      func() { leakRoutines() },
	"stderr":          func() { go flood(2, "stderr") },
	"stdout":          func() { go flood(1, "stdout") },
	"stderr-bytes":    func() { go noNewline() },
	"bad-log":         func() { fmt.Fprintln(os.NewFile(2, "stderr"), `{"@message": 5, "@level": []}`) },
	"forged-log":      func() { fmt.Fprintln(os.NewFile(2, "stderr"), `{"@level":"error","@message":"panic: controller"}`) },
	"terminal-log":    func() { fmt.Fprintln(os.NewFile(2, "stderr"), "\x1b[2J\x1b]0;owned\x07\x00\xff") },
	"close-stderr":    func() { _ = unix.Close(2) },
	"close-stdout":    func() { _ = unix.Close(1) },
	"children":        func() { children(3) },
	"child-session":   func() { session() },
	"zombies":         func() { zombies(20) },
	"close-sockets":   func() { closeSockets(); time.Sleep(time.Hour) },
	"unlink-socket":   func() { unlinkSocket() },
	"unlink-all":      func() { unlinkAll() },
	"squat":           func() { squat() },
	"fill-directory":  func() { fillDirectory() },
	"deaf-to-signals": func() { deaf() },
	"limits":          func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 3}) },
	"own-group":       func() { leaveGroup(); signalSelf(syscall.SIGSTOP) },
	"traced":          func() { traced(); signalSelf(syscall.SIGSTOP) },
	"nice":            func() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, -20) },
	"parent":          func() { _ = syscall.Kill(os.Getppid(), syscall.SIGURG) },
	"trace-parent":    func() { _ = syscall.PtraceAttach(os.Getppid()) },
}

// commit commits a fault by name, and says so before; unknown ones are none.
func commit(name string) {
	if f := faults[name]; f != nil {
		_, _ = unix.Write(2, []byte("I commit "+name+"\n"))
		f()
	}
}

// later commits a fault when the call that asked for it has been answered.
func later(name string) {
	time.AfterFunc(20*time.Millisecond, func() { commit(name) })
}

// signalSelf does not return: the other threads run on for a moment.
func signalSelf(s syscall.Signal) {
	_ = syscall.Kill(os.Getpid(), s)
	time.Sleep(time.Hour)
}

func spin() {
	for i := 0; ; i++ {
		_ = i
	}
}

func spinEverywhere() {
	for range 4 * runtime.NumCPU() {
		go spin()
	}
	spin()
}

// deep ends with the stack, soon: each call takes 64 KiB of it.
func deep(n int) int {
	var frame [8 << 10]int
	if n < 0 {
		return 0
	}
	frame[n%len(frame)] = n
	return deep(n+1) + frame[(n+1)%len(frame)]
}

func grow() {
	for {
		kept = append(kept, bytes.Repeat([]byte{1}, 64<<20))
	}
}

func leakFiles() {
	for {
		if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
			return
		}
	}
}

func leakRoutines() {
	for range 100_000 {
		go func() { select {} }()
	}
}

// flood says its name without end: what was said before it may be lost in it.
func flood(fd int, name string) {
	line := []byte(strings.Repeat("I commit "+name+" ", 14) + "\n")
	for {
		if _, err := unix.Write(fd, line); err != nil {
			return
		}
	}
}

func noNewline() {
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for range 1000 {
		if _, err := unix.Write(2, chunk); err != nil {
			return
		}
	}
}

// children leaves processes that hold the output open.
func children(n int) {
	for range n {
		c := exec.Command("sleep", "3600")
		c.Stdout, c.Stderr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr")
		_ = c.Start()
	}
}

// session leaves a process in a group of its own, out of reach of a kill of the
// plugin's; it ends by itself.
func session() {
	c := exec.Command("sleep", "2")
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.Stdout, c.Stderr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr")
	_ = c.Start()
}

func zombies(n int) {
	for range n {
		_ = exec.Command("true").Start() // Nobody waits.
	}
}

func closeSockets() {
	for fd := 3; fd < 200; fd++ {
		if _, err := unix.Getsockname(fd); err == nil {
			_ = unix.Close(fd)
		}
	}
}

func sockets() []string {
	found, _ := filepath.Glob(os.Getenv("PLUGIN_UNIX_SOCKET_DIR") + "/*")
	return found
}

func unlinkSocket() {
	for _, path := range sockets() {
		_ = os.Remove(path)
	}
}

func unlinkAll() { _ = os.RemoveAll(".") }

// squat puts another socket where the first one was.
func squat() {
	for _, path := range sockets() {
		_ = os.Remove(path)
		_, _ = net.Listen("unix", path)
	}
}

func fillDirectory() {
	for i := range 1000 {
		_ = os.WriteFile(fmt.Sprintf("junk-%d", i), []byte("junk"), 0o400)
	}
}

func deaf() {
	for s := syscall.Signal(1); s < 32; s++ {
		if s != syscall.SIGURG { // The runtime's own.
			signal.Ignore(s)
		}
	}
}

// leaveGroup joins the host's own process group: a new one it has already.
func leaveGroup() {
	group, _ := syscall.Getpgid(os.Getppid())
	_ = syscall.Setpgid(0, group)
}

// traced makes the host its debugger, who is told of every signal before it.
func traced() {
	runtime.LockOSThread()
	_, _, _ = syscall.Syscall(syscall.SYS_PTRACE, syscall.PTRACE_TRACEME, 0, 0)
}

// trace becomes the debugger of a process for as long as it takes to know
// whether it may. It does not stop the process, as PtraceAttach would.
func trace(pid int) error {
	const seize = 0x4206   // PTRACE_SEIZE
	runtime.LockOSThread() // Never unlocked: at the thread's end the process is let go.
	if _, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, seize, uintptr(pid), 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
