// Package supervise is the parent of every process of a development cluster: a
// small program started once per cluster, and the client that talks to it.
//
// A supervisor exists for three guarantees that a test process cannot give by
// itself. Nothing outlives the cluster: when the process that started the
// supervisor goes away, by whatever signal, the kernel closes its end of the
// socket, and the supervisor kills every process below it, adopted orphans
// included, and removes the cluster's folder. Processes can run in a network
// namespace that the test itself is not in. And connections cross that border:
// the supervisor accepts on listeners of the outside and dials inside.
package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// controlFD is the supervisor's end of the socket pair.
	controlFD = 3
	// maxMessage bounds one message; the largest is a Start with its environment.
	maxMessage = 192 << 10
	// maxFiles is the most file descriptors one message carries.
	maxFiles = 3
)

// request is what the client asks; exactly one of the fields after ID is set.
type request struct {
	ID      uint64   `json:"id"`
	Start   *Start   `json:"start,omitempty"`
	Signal  *signal  `json:"signal,omitempty"`
	Forward *forward `json:"forward,omitempty"`
	Dial    *dial    `json:"dial,omitempty"`
	Detach  bool     `json:"detach,omitempty"`
	Stop    bool     `json:"stop,omitempty"`
}

// Start describes a process to start. With the request travel its standard
// input, output and error, in this order.
type Start struct {
	// Path of the program; must be absolute.
	Path string `json:"path"`
	// Args are the arguments without the program's name.
	Args []string `json:"args,omitempty"`
	// Env is the whole environment, as in os/exec.
	Env []string `json:"env,omitempty"`
	// Dir is the working directory.
	Dir string `json:"dir,omitempty"`
	// Foundation marks a process that others need: it is killed, without a
	// SIGTERM, only after the others had their time to stop.
	Foundation bool `json:"foundation,omitempty"`
}

type signal struct {
	PID    int  `json:"pid"`
	Number int  `json:"number"`
	Group  bool `json:"group,omitempty"`
}

// forward asks to serve the listener that travels with it, or one in here on
// Listen, by dialing Address.
type forward struct {
	Address string `json:"address"`
	Listen  string `json:"listen,omitempty"`
}

// dial asks for a TCP connection to Address; its descriptor travels with the reply.
type dial struct {
	Address string        `json:"address"`
	Timeout time.Duration `json:"timeout"`
}

// reply answers the request of the same ID. ID 0 is what the supervisor says by
// itself: first that it is set up, later each exit.
type reply struct {
	ID     uint64 `json:"id"`
	PID    int    `json:"pid,omitempty"`
	Error  string `json:"error,omitempty"`
	Exited *exit  `json:"exited,omitempty"`
}

type exit struct {
	PID    int             `json:"pid"`
	Status unix.WaitStatus `json:"status"`
}

// wire exchanges messages with descriptors over a SOCK_SEQPACKET socket, which
// keeps message boundaries. send may be called from several goroutines,
// receive from one.
type wire struct {
	conn *net.UnixConn
	mu   sync.Mutex
	buf  []byte
}

func newWire(f *os.File) (*wire, error) {
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	// The conn works on a duplicate. Left open, the original would hide that
	// the other side is gone.
	if err := f.Close(); err != nil {
		return nil, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.New("the control descriptor is not a unix socket")
	}
	return &wire{conn: conn, buf: make([]byte, maxMessage)}, nil
}

func (w *wire) send(message any, files ...*os.File) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(data) > maxMessage {
		return fmt.Errorf("message of %d bytes is over the limit of %d; shorten the arguments or the environment", len(data), maxMessage)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _, err = w.conn.WriteMsgUnix(data, rights, nil)
	return err
}

// receive reads one message. It returns io.EOF when the other side is gone.
func (w *wire) receive(message any) ([]*os.File, error) {
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, _, _, err := w.conn.ReadMsgUnix(w.buf, oob)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	files, err := receivedFiles(oob[:oobn])
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(w.buf[:n], message); err != nil {
		closeAll(files)
		return nil, fmt.Errorf("reading a message: %w", err)
	}
	return files, nil
}

func receivedFiles(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
