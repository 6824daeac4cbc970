package devcluster

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// reservePort finds the API server's port. On the host it is held by a socket
// that is bound but does not listen until release is called; the API server
// binds beside it (--permit-port-sharing), so that nobody can take the port in
// between. In a namespace of its own every port is free, and it takes the number
// of a listener outside that forwards to it.
func (c *Cluster) reservePort(ctx context.Context) (port int, release func(), err error) {
	if c.namespaced {
		port, err = c.forwardSamePort(ctx)
		return port, func() {}, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("reserving a port: %w", err)
	}
	release = func() { _ = unix.Close(fd) }
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
	)
	if err == nil {
		var address unix.Sockaddr
		if address, err = unix.Getsockname(fd); err == nil {
			return address.(*unix.SockaddrInet4).Port, release, nil
		}
	}
	release()
	return 0, nil, fmt.Errorf("reserving a port: %w", err)
}

func (c *Cluster) forwardSamePort(ctx context.Context) (int, error) {
	l, err := listenLoopback()
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	if err := c.supervisor.Forward(ctx, l, l.Addr().String()); err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Forward makes a TCP address of the cluster's network reachable from outside
// and returns the address to use there, on 127.0.0.1, until Stop. Nothing needs
// to listen inside yet; connections are reset while nothing does.
func (c *Cluster) Forward(ctx context.Context, inside string) (outside string, err error) {
	l, err := listenLoopback()
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	if err := c.supervisor.Forward(ctx, l, inside); err != nil {
		return "", err
	}
	return l.Addr().String(), nil
}

// Dial connects to an address of the cluster's network. The connection is made
// inside and handed out as it is, without a relay in between; it fits the
// DialContext of an http.Transport. Only network "tcp" is supported.
func (c *Cluster) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" {
		return nil, fmt.Errorf("dialing %s in the cluster's network: network %q is not supported, only tcp", address, network)
	}
	return c.supervisor.Dial(ctx, address)
}

func listenLoopback() (*net.TCPListener, error) {
	return net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
}
