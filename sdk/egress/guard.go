package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a Client unless its Options say otherwise.
const (
	DefaultTimeout   = 10 * time.Second
	DefaultMaxBody   = 1 << 20
	DefaultRedirects = 3
)

// apiServer is the name the API server has in every cluster, and how long its addresses are remembered.
const (
	apiServer    = "kubernetes.default.svc"
	apiServerFor = time.Minute
)

// RefusedError says that an address may not be asked. Its text is for users: it names the host and what an administrator
// can do, and never the rest of the URL.
type RefusedError struct {
	// Host as the request named it, with its port.
	Host string
	// Why it is refused.
	Why string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s may not be asked: %s; an administrator can list it under egress.allow", e.Host, e.Why)
}

// Guard decides where requests may go. It is safe for concurrent use; a new one has no exceptions.
type Guard struct {
	rules atomic.Pointer[Rules]
	// lookup and dial are replaced in tests.
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	own    func() map[netip.Addr]bool
	proxy  func(*http.Request) (*url.URL, error)

	mu       sync.Mutex
	api      map[netip.Addr]bool
	apiUntil time.Time

	once      sync.Once
	transport map[transportKey]*http.Transport
}

// transportKey: connections that an allowed name or URL opened are never used for anything else.
type transportKey struct {
	insecure bool
	way      way
}

// way is how a request gets where it goes.
type way int

const (
	// guarded: each address is checked when it is dialled.
	guarded way = iota
	// trusted: an administrator allowed the name or the URL.
	trusted
	// proxied: through the proxy in the environment of the process, which an administrator set. The proxy resolves the
	// name again, so it has to refuse by itself what only it can reach.
	proxied
)

// NewGuard returns a Guard without exceptions.
func NewGuard() *Guard {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	g := &Guard{dial: dialer.DialContext, own: ownAddresses, proxy: http.ProxyFromEnvironment}
	g.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	g.rules.Store(&Rules{})

	return g
}

// Set replaces the exceptions. Nil: none.
func (g *Guard) Set(rules *Rules) {
	if rules == nil {
		rules = &Rules{}
	}
	g.rules.Store(rules)
	g.once.Do(g.open)
	for _, t := range g.transport {
		t.CloseIdleConnections() // What they were opened under may not hold any more.
	}
}

// Options of a Client. The zero value is the default.
type Options struct {
	// Timeout of a whole request, redirects and body included. 0: DefaultTimeout. Negative: none but that of the context.
	Timeout time.Duration
	// MaxBody bounds an answer in bytes, after decompression. 0: DefaultMaxBody.
	MaxBody int
	// Redirects that are followed. 0: DefaultRedirects. Negative: none.
	Redirects int
	// Insecure accepts every certificate.
	Insecure bool
}

// Client returns a client that asks only what may be asked. Clients of one Guard share connections. A refusal is a
// *RefusedError inside the *url.Error that http.Client returns.
func (g *Guard) Client(o Options) *http.Client {
	redirects := o.Redirects
	if redirects == 0 {
		redirects = DefaultRedirects
	}
	timeout := o.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}

	return &http.Client{
		Transport: g.Transport(o),
		Timeout:   max(timeout, 0),
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > max(redirects, 0) {
				return fmt.Errorf("stopped after %d redirects", max(redirects, 0))
			}

			return nil
		},
	}
}

// Transport is the round tripper of Client, for libraries that make their own client. Of the options it uses MaxBody and
// Insecure.
func (g *Guard) Transport(o Options) http.RoundTripper {
	g.once.Do(g.open)
	limit := o.MaxBody
	if limit == 0 {
		limit = DefaultMaxBody
	}

	return &tripper{guard: g, insecure: o.Insecure, limit: limit}
}

func (g *Guard) open() {
	g.transport = map[transportKey]*http.Transport{}
	for _, insecure := range []bool{false, true} {
		for _, way := range []way{guarded, trusted, proxied} {
			dial, proxy := g.dialGuarded, (func(*http.Request) (*url.URL, error))(nil)
			if way != guarded {
				dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					return g.dial(ctx, network, address)
				}
			}
			if way == proxied {
				proxy = func(req *http.Request) (*url.URL, error) { return g.proxy(req) }
			}
			g.transport[transportKey{insecure, way}] = &http.Transport{
				Proxy:                  proxy,
				DialContext:            dial,
				TLSHandshakeTimeout:    10 * time.Second,
				TLSClientConfig:        &tls.Config{InsecureSkipVerify: insecure}, //nolint:gosec // the metric's own choice
				ForceAttemptHTTP2:      true,
				MaxIdleConns:           100,
				IdleConnTimeout:        90 * time.Second,
				MaxResponseHeaderBytes: 64 << 10,
			}
		}
	}
}

// tripper chooses the transport and bounds the answer.
type tripper struct {
	guard    *Guard
	insecure bool
	limit    int
}

// RoundTrip implements http.RoundTripper.
func (t *tripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := checkURL(req.URL); err != nil {
		return nil, err
	}
	way, err := t.guard.way(req)
	if err != nil {
		return nil, err
	}
	resp, err := t.guard.transport[transportKey{t.insecure, way}].RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &limited{ReadCloser: resp.Body, left: t.limit, limit: t.limit}

	return resp, nil
}

func (g *Guard) way(req *http.Request) (way, error) {
	rules := g.rules.Load()
	allowed := rules.below(req.URL) || rules.named(req.URL.Hostname(), number(portOf(req.URL)))
	proxy, err := g.proxy(req)
	switch {
	case err != nil:
		return guarded, fmt.Errorf("the proxy in the environment: %w", err)
	case proxy != nil && !allowed:
		_, err := g.permitted(req.Context(), req.URL.Hostname(), portOf(req.URL))

		return proxied, err
	case proxy != nil:
		return proxied, nil
	case allowed:
		return trusted, nil
	}

	return guarded, nil
}

// checkURL refuses what is no address on a network.
func checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return &RefusedError{Host: u.Redacted(), Why: "only http and https are asked"}
	case u.Hostname() == "":
		return &RefusedError{Host: "an address without a host", Why: "it has no host"}
	case strings.ContainsAny(u.Hostname(), "%\\ \t\r\n"):
		return &RefusedError{Host: strconv.Quote(u.Host), Why: "it is not a host name"}
	}

	return nil
}

// dialGuarded resolves the host and dials the first of its addresses that may be dialled. A host that has one that may not
// be dialled is refused as a whole: an honest name does not have such addresses.
func (g *Guard) dialGuarded(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	addresses, err := g.permitted(ctx, host, port)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, a := range addresses {
		conn, err := g.dial(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		failed = append(failed, err)
	}

	return nil, errors.Join(failed...)
}

// permitted are the addresses of a host, if all of them may be dialled.
func (g *Guard) permitted(ctx context.Context, host, port string) ([]netip.Addr, error) {
	addresses, err := g.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addresses {
		if why := g.refusal(ctx, netip.AddrPortFrom(a.Unmap().WithZone(""), number(port))); why != "" {
			return nil, &RefusedError{Host: net.JoinHostPort(host, port), Why: fmt.Sprintf("%s is %s", a, why)}
		}
	}

	return addresses, nil
}

func (g *Guard) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	found, err := g.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}

	return found, nil
}

// refusal says why an address may not be dialled; "" means that it may.
func (g *Guard) refusal(ctx context.Context, a netip.AddrPort) string {
	rules := g.rules.Load()
	switch {
	case rules.allowed(a):
		return ""
	case rules.refused(a):
		return "the API server, or another address this cluster keeps to itself"
	}
	if what := danger(a.Addr()); what != "" {
		return what
	}
	if g.own()[a.Addr()] {
		return "an address of the controller itself"
	}
	if g.isAPIServer(ctx, a.Addr()) {
		return "the API server"
	}

	return ""
}

// isAPIServer asks the cluster's DNS at most once a minute. No lock is held meanwhile: a slow DNS holds up nobody else.
func (g *Guard) isAPIServer(ctx context.Context, a netip.Addr) bool {
	g.mu.Lock()
	known, fresh := g.api, time.Now().Before(g.apiUntil)
	g.mu.Unlock()
	if fresh {
		return known[a]
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if found, err := g.lookup(ctx, apiServer); err == nil || known == nil {
		known = map[netip.Addr]bool{}
		for _, f := range found {
			known[f.Unmap()] = true
		}
	}
	g.mu.Lock()
	g.api, g.apiUntil = known, time.Now().Add(apiServerFor)
	g.mu.Unlock()

	return known[a]
}

func number(port string) uint16 {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0
	}

	return uint16(n)
}
