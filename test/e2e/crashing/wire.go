package crashing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Kind is how a write goes wrong.
type Kind string

// The four ways. A write that has no fault has the Kind None.
const (
	None   Kind = ""
	Before Kind = "crash-before"
	After  Kind = "crash-after"
	Error  Kind = "error"
	Lost   Kind = "lost-reply"
)

// Kinds of faults.
var Kinds = []Kind{Before, After, Error, Lost}

// Plan is one fault: the write it meets, counted from 1 since the wire was
// armed, and what happens to it.
type Plan struct {
	Write int
	Kind  Kind
}

// String names the plan in reports.
func (p Plan) String() string { return fmt.Sprintf("write-%d-%s", p.Write, p.Kind) }

// wire is what all lives of one controller send their requests through.
type wire struct {
	mu     sync.Mutex
	plan   Plan
	armed  bool
	writes []string
	fired  string
}

// arm starts the counting.
func (w *wire) arm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = true
}

// seen are the writes since the wire was armed, and the one that met the fault;
// "" when none has.
func (w *wire) seen() (writes []string, fired string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.writes...), w.fired
}

func (w *wire) next(req *http.Request) Kind {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.armed {
		return None
	}
	w.writes = append(w.writes, req.Method+" "+req.URL.Path)
	if w.fired != "" || len(w.writes) != w.plan.Write {
		return None
	}
	w.fired = w.writes[len(w.writes)-1]
	return w.plan.Kind
}

// life is the connection of one process: after its death nothing passes.
type life struct {
	wire *wire
	dead chan struct{}
	once sync.Once
}

var errDead = errors.New("this process is dead")

func (l *life) die() { l.once.Do(func() { close(l.dead) }) }

// through sends a request on, or lets the fault happen to it.
func (l *life) through(next http.RoundTripper, req *http.Request) (*http.Response, error) {
	select {
	case <-l.dead:
		return nil, errDead
	default:
	}
	if !effect(req) {
		return next.RoundTrip(req)
	}
	switch l.wire.next(req) {
	case Before:
		l.die()
		return nil, errDead
	case After:
		swallow(next, req)
		l.die()
		return nil, errDead
	case Error:
		return refusal(req), nil
	case Lost:
		swallow(next, req)
		return nil, errors.New("connection reset by peer")
	}
	return next.RoundTrip(req)
}

// swallow sends the request and loses the answer.
func swallow(next http.RoundTripper, req *http.Request) {
	if res, err := next.RoundTrip(req); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}

// effect reports a write that changes something for somebody: neither events
// nor leases, nor questions that have the form of a write.
func effect(req *http.Request) bool {
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		return false
	}
	for _, part := range strings.Split(req.URL.Path, "/") {
		switch part {
		case "events", "leases", "selfsubjectaccessreviews", "subjectaccessreviews":
			return false
		}
	}
	return true
}

func refusal(req *http.Request) *http.Response {
	body := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"InternalError","message":"etcdserver: request timed out","code":500}`
	return &http.Response{
		Status: "500 Internal Server Error", StatusCode: http.StatusInternalServerError, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewBufferString(body)),
		ContentLength: int64(len(body)), Request: req,
	}
}
