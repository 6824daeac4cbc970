package main

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// podKey is the context key of the pod a connection belongs to.
type podKey struct{}

// newServer returns a server for connections of a listener of this package.
func newServer() *http.Server {
	return &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, podKey{}, c.(*podConn).pod)
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Context().Value(podKey{}).(*pod).ServeHTTP(w, r)
		}),
	}
}

// listener accepts connections to live pods and resets the others.
type listener struct {
	net.Listener
	pods  *directory
	grace time.Duration

	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
	err      error
}

func newListener(inner net.Listener, pods *directory, grace time.Duration) *listener {
	l := &listener{Listener: inner, pods: pods, grace: grace, accepted: make(chan net.Conn), closed: make(chan struct{})}
	go l.acceptAll()
	return l
}

// acceptAll sorts connections, each in a goroutine of its own, because one to
// an unknown address waits.
func (l *listener) acceptAll() {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			l.shut(err)
			return
		}
		go l.sort(c)
	}
}

func (l *listener) sort(c net.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), l.grace)
	defer cancel()
	p := l.pods.find(ctx, localAddress(c))
	if p == nil {
		reset(c)
		return
	}
	pc := &podConn{Conn: c, pod: p}
	if !p.adopt(pc) {
		reset(c)
		return
	}
	select {
	case l.accepted <- pc:
	case <-l.closed:
		_ = pc.Close()
	}
}

// Accept returns the next connection to a live pod, a *podConn.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.closed:
		return nil, l.err
	}
}

// Close stops listening.
func (l *listener) Close() error {
	l.shut(net.ErrClosed)
	return l.Listener.Close()
}

func (l *listener) shut(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.closed)
	})
}

// podConn is a connection to a pod.
type podConn struct {
	net.Conn
	pod *pod
}

// Close ends the connection, and the pod's memory of it.
func (c *podConn) Close() error {
	c.pod.forget(c)
	return c.Conn.Close()
}

// at is the live pod of a local address.
func (l *listener) at(address net.Addr) (*pod, bool) {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return nil, false
	}
	// The connection is there, so its pod is, or it has just gone.
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	p := l.pods.find(gone, tcp.AddrPort().Addr().Unmap())
	return p, p != nil
}

func localAddress(c net.Conn) netip.Addr {
	tcp, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}

// reset closes a connection so that the other side sees a reset, not an end.
func reset(c net.Conn) {
	if pc, ok := c.(*podConn); ok {
		c = pc.Conn
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
