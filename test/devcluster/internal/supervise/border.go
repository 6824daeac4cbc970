package supervise

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// dialLimit bounds dialing inside for a forwarded connection.
const dialLimit = 10 * time.Second

// makeLocal makes every address of the prefixes belong to this network
// namespace (AnyIP), which is what gives simulated pods reachable addresses.
func makeLocal(prefixes []string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding the loopback interface: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bringing up the loopback interface: %w%s", err, permissionCure(err))
	}
	for _, prefix := range prefixes {
		ip, dst, err := net.ParseCIDR(prefix)
		if err != nil {
			return err
		}
		// A single address is one that programs look for on the interfaces.
		if ones, bits := dst.Mask.Size(); ones == bits {
			if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: dst.Mask}}); err != nil {
				return fmt.Errorf("adding the address %s: %w%s", prefix, err, permissionCure(err))
			}
			continue
		}
		route := &netlink.Route{
			LinkIndex: lo.Attrs().Index,
			Dst:       dst,
			Table:     unix.RT_TABLE_LOCAL,
			Type:      unix.RTN_LOCAL,
			Scope:     netlink.SCOPE_HOST,
		}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("adding the local route for %s: %w%s", prefix, err, permissionCure(err))
		}
	}
	return nil
}

func permissionCure(err error) string {
	if !errors.Is(err, unix.EPERM) {
		return ""
	}
	return "; this kernel gives user namespaces no rights over their network: set sysctl kernel.apparmor_restrict_unprivileged_userns=0 or run as root"
}

// forward serves a listener, usually one of the outside, by dialing in here.
func (s *server) forward(r *forward, files []*os.File) error {
	l, err := r.listen(files)
	if err != nil {
		return fmt.Errorf("forwarding to %s: %w", r.Address, err)
	}
	s.listener = append(s.listener, l)
	go func() {
		for {
			outer, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					fmt.Fprintf(os.Stderr, "supervisor: forward to %s: %v\n", r.Address, err)
				}
				return
			}
			go relay(outer, r.Address)
		}
	}()
	return nil
}

func (r *forward) listen(files []*os.File) (net.Listener, error) {
	if r.Listen != "" {
		return net.Listen("tcp", r.Listen)
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("got %d listeners instead of 1", len(files))
	}
	return net.FileListener(files[0])
}

// relay joins a connection with one to address. When nothing answers there the
// outer connection is reset rather than closed, so that its client sees a
// failure and no empty answer.
func relay(outer net.Conn, address string) {
	defer func() { _ = outer.Close() }()
	inner, err := net.DialTimeout("tcp", address, dialLimit)
	if err != nil {
		reset(outer)
		return
	}
	defer func() { _ = inner.Close() }()

	var both sync.WaitGroup
	both.Go(func() { pump(inner, outer) })
	both.Go(func() { pump(outer, inner) })
	both.Wait()
}

// pump copies one direction and hands on how it ended: an orderly end closes
// the writing side, anything else resets both.
func pump(dst, src net.Conn) {
	if _, err := io.Copy(dst, src); err != nil {
		reset(dst)
		reset(src)
		return
	}
	if c, ok := dst.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
}

func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// dial connects in here and sends the connection itself to the client.
func (s *server) dial(id uint64, r *dial) {
	file, err := dialFile(r)
	out := reply{ID: id, Error: message(err)}
	var files []*os.File
	if file != nil {
		files = append(files, file)
	}
	if err := s.wire.send(out, files...); err != nil {
		fmt.Fprintf(os.Stderr, "supervisor: answering a dial: %v\n", err)
	}
	closeAll(files)
}

func dialFile(r *dial) (*os.File, error) {
	conn, err := net.DialTimeout("tcp", r.Address, r.Timeout)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, fmt.Errorf("dialing %s gave a %T", r.Address, conn)
	}
	return tcp.File()
}
