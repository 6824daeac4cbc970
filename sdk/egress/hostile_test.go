package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// names is the DNS of these tests. A name with several answers gives the next one with each question.
var names = map[string][][]string{
	"metadata.google.internal":           {{"169.254.169.254"}},
	"localhost":                          {{"127.0.0.1", "::1"}},
	"anything.localhost":                 {{"127.0.0.1"}},
	"loopback.evil.example":              {{"127.0.0.1"}},
	"mapped.evil.example":                {{"::ffff:127.0.0.1"}},
	"nat64.evil.example":                 {{"64:ff9b::7f00:1"}},
	"both.evil.example":                  {{"203.0.113.7", "127.0.0.1"}},
	"rebinding.evil.example":             {{"127.0.0.1"}},
	"kubernetes.default.svc":             {{"10.96.0.1"}},
	"kubernetes.default":                 {{"10.96.0.1"}},
	"api.evil.example":                   {{"10.96.0.1"}},
	"endpoint.evil.example":              {{"192.0.2.10"}},
	"prometheus.monitoring":              {{"203.0.113.9"}},
	"redirects.evil.example":             {{"203.0.113.66"}},
	"kubernetes.default.svc.cluster.loc": {{"10.96.0.1"}},
}

// world has one server that counts who reaches it, whatever address was dialled. Only what the guard lets through gets
// there; 203.0.113.66 answers with a redirect to what its path says.
type world struct {
	guard *Guard
	// reached counts the requests, dialled the connections to anything but the redirecting server.
	reached, dialled atomic.Int32
}

func newWorld(t *testing.T, allow ...string) *world {
	t.Helper()
	w := &world{guard: NewGuard()}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(rw, r, to, http.StatusFound)

			return
		}
		w.reached.Add(1)
		_, _ = rw.Write([]byte("secret"))
	}))
	t.Cleanup(server.Close)
	rules, err := Parse(allow, []string{"192.0.2.10:6443"})
	require.NoError(t, err)
	w.guard.Set(rules)
	asked := map[string]int{}
	w.guard.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		answers := names[strings.ToLower(strings.TrimSuffix(host, "."))]
		if len(answers) == 0 {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		n := min(asked[host], len(answers)-1)
		asked[host]++
		var out []netip.Addr
		for _, a := range answers[n] {
			out = append(out, netip.MustParseAddr(a))
		}

		return out, nil
	}
	w.guard.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !strings.HasPrefix(address, "203.0.113.66:") {
			w.dialled.Add(1)
		}

		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	w.guard.own = func() map[netip.Addr]bool { return map[netip.Addr]bool{netip.MustParseAddr("10.1.2.3"): true} }

	return w
}

// get asks like a provider does.
func (w *world) get(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := w.guard.Client(Options{}).Do(req)
	if err != nil {
		return err
	}

	return resp.Body.Close()
}

// hostile are addresses a template author may try.
var hostile = []string{
	"http://127.0.0.1/", "http://127.0.0.1:8080/metrics", "http://127.255.255.254/", "http://127.1/", "http://0x7f000001/",
	"http://2130706433/", "http://0177.0.0.1/", "http://017700000001/", "http://0/", "http://0.0.0.0/", "http://0.1.2.3/",
	"http://localhost/", "http://LOCALHOST/", "http://localhost./", "http://anything.localhost/", "http://user:pass@127.0.0.1/",
	"http://[::1]/", "http://[0:0:0:0:0:0:0:1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/",
	"http://[::127.0.0.1]/", "http://[::ffff:0:127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://[64:ff9b:1::a9fe:a9fe]/",
	"http://[2002:7f00:1::]/", "http://[2002:a9fe:a9fe::1]/", "http://[2001:0:4136:e378:8000:63bf:5601:5601]/",
	"http://[fe80::1]/", "http://[fe80::1%25eth0]/", "http://[fec0::1]/", "http://[ff02::1]/",
	"http://[fe80::5efe:127.0.0.1]/", "http://[2001:db8::5efe:169.254.169.254]/",
	"http://169.254.169.254/latest/meta-data/iam/security-credentials/", "http://169.254.170.2/v2/credentials", "http://169.254.1.1/",
	"http://[fd00:ec2::254]/latest/meta-data/", "http://[fd20:ce::254]/computeMetadata/v1/", "http://metadata.google.internal/computeMetadata/v1/",
	"http://100.100.100.200/latest/meta-data/", "http://168.63.129.16/", "http://192.0.0.192/", "http://0xa9fea9fe/",
	"http://224.0.0.1/", "http://240.0.0.1/", "http://255.255.255.255/",
	"https://kubernetes.default.svc/api/v1/secrets", "https://kubernetes.default/version", "https://10.96.0.1/version",
	"http://api.evil.example/", "https://endpoint.evil.example:6443/", "http://10.1.2.3:8090/metrics",
	"http://loopback.evil.example/", "http://mapped.evil.example/", "http://nat64.evil.example/", "http://both.evil.example/",
	"file:///var/run/secrets/kubernetes.io/serviceaccount/token", "gopher://127.0.0.1:6379/_x", "ftp://127.0.0.1/", "unix:///var/run/docker.sock",
	"dict://127.0.0.1:11211/", "http:///x", "http://", "http://good.example\\@127.0.0.1/", "http://127.0.0.1%00.good.example/",
	"http://[::1", "http://①②⑦.⓪.⓪.①/", "//127.0.0.1/", "javascript:alert(1)",
}

// TestHostileAddresses: none of them has an effect, neither directly nor behind a redirect of a server that may be asked.
func TestHostileAddresses(t *testing.T) {
	require.GreaterOrEqual(t, len(hostile), 40)
	w := newWorld(t)
	for _, address := range hostile {
		assert.Error(t, w.get(t.Context(), address), address)
		assert.Error(t, w.get(t.Context(), "http://redirects.evil.example/?to="+url.QueryEscape(address)), "redirected to %s", address)
	}
	assert.Zero(t, w.reached.Load(), "requests that reached something")
	assert.Zero(t, w.dialled.Load(), "connections that were opened")
	t.Logf("%d hostile addresses, each also behind a redirect: %d effects", len(hostile), w.dialled.Load())
}

// TestRebinding: a name that is harmless when it is checked and loopback when it is used is used as it was checked.
func TestRebinding(t *testing.T) {
	names["rebinding.evil.example"] = [][]string{{"203.0.113.5"}, {"127.0.0.1"}}
	w := newWorld(t)
	var to []string
	dial := w.guard.dial
	w.guard.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		to = append(to, address)

		return dial(ctx, network, address)
	}
	require.NoError(t, w.get(t.Context(), "http://rebinding.evil.example/"))
	assert.Equal(t, []string{"203.0.113.5:80"}, to)
	w.guard.Set(nil) // Closes the connection: the next request asks the DNS again.
	var refused *RefusedError
	require.ErrorAs(t, w.get(t.Context(), "http://rebinding.evil.example/"), &refused)
}

func TestWhatMayBeAsked(t *testing.T) {
	for _, address := range []string{"http://prometheus.monitoring:9090/api/v1/query", "http://10.0.0.5/", "http://192.168.1.1/",
		"http://172.16.0.1/", "http://[fd12::1]/", "http://[2001:db8::1]/", "http://8.8.8.8/", "http://[64:ff9b::808:808]/"} {
		assert.NoError(t, newWorld(t).get(t.Context(), address), address)
	}
}

func TestAllowed(t *testing.T) {
	for _, tc := range []struct{ rule, fine, refused string }{
		{"127.0.0.1:9090", "http://127.0.0.1:9090/", "http://127.0.0.1:9091/"},
		{"127.0.0.0/8", "http://127.0.0.1/", "http://169.254.169.254/"},
		{"[::1]:80", "http://[::1]/", "http://[::1]:81/"},
		{"10.96.0.1", "http://10.96.0.1/version", "http://127.0.0.1/"},
		{"192.0.2.10:6443", "http://endpoint.evil.example:6443/", "http://10.96.0.1/"},
		{"localhost:8080", "http://LOCALHOST.:8080/", "http://localhost:8081/"},
		{"*.evil.example", "http://loopback.evil.example/", "http://localhost/"},
		{"http://kubernetes.default.svc/version", "http://kubernetes.default.svc/version", "http://kubernetes.default.svc/versions"},
		{"http://kubernetes.default.svc/version", "http://kubernetes.default.svc/version/x?y=z", "http://kubernetes.default.svc/version/../api"},
		{"http://kubernetes.default.svc/version", "http://kubernetes.default.svc:80/version", "http://kubernetes.default.svc/version%2f..%2fapi"},
		{"http://kubernetes.default.svc/version", "http://kubernetes.default.svc/version", "http://10.96.0.1/version"},
	} {
		w := newWorld(t, tc.rule)
		assert.NoError(t, w.get(t.Context(), tc.fine), "%s with %s", tc.fine, tc.rule)
		before := w.dialled.Load()
		assert.Error(t, w.get(t.Context(), tc.refused), "%s with %s", tc.refused, tc.rule)
		assert.Equal(t, before, w.dialled.Load(), "%s with %s", tc.refused, tc.rule)
	}
}

// TestConnectionsAreNotShared: a connection that an allowed URL opened carries no other request.
func TestConnectionsAreNotShared(t *testing.T) {
	w := newWorld(t, "http://kubernetes.default.svc/version")
	require.NoError(t, w.get(t.Context(), "http://kubernetes.default.svc/version"))
	require.Error(t, w.get(t.Context(), "http://kubernetes.default.svc/api/v1/secrets"))
	assert.EqualValues(t, 1, w.reached.Load())
}

func TestRefusalsSayWhatToDoAndNoSecret(t *testing.T) {
	err := newWorld(t).get(t.Context(), "http://user:hunter2@127.0.0.1:9090/path?token=hunter2")
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "127.0.0.1:9090 may not be asked: 127.0.0.1 is loopback; an administrator can list it under egress.allow", refused.Error())
}

func TestProxy(t *testing.T) {
	w := newWorld(t)
	w.guard.proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://proxy.example:3128") }
	require.NoError(t, w.get(t.Context(), "http://prometheus.monitoring:9090/"))
	before := w.reached.Load()
	for _, address := range hostile {
		assert.Error(t, w.get(t.Context(), address), address)
	}
	assert.Equal(t, before, w.reached.Load())
}

func TestRulesThatAreNone(t *testing.T) {
	for _, entry := range []string{"10.0.0.0/64", "https://", "ftp://x", "https://user@x", "a b", "host:0", "host:99999", "host:http", "*", "a*b", "http://x/?q"} {
		_, err := Parse([]string{entry}, nil)
		require.Error(t, err, entry)
		assert.Contains(t, err.Error(), fmt.Sprintf("%q", entry))
	}
	assert.Equal(t, []string{"10.0.0.0/8", "a:1", "b"}, Split("10.0.0.0/8, a:1 # why\n\n# nothing\n\tb\n"))
	_, err := Parse([]string{"", " "}, nil)
	require.NoError(t, err)
}

func TestBounds(t *testing.T) {
	w := newWorld(t)
	endless := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.Redirect(rw, r, r.URL.Path+"x", http.StatusFound)

			return
		}
		for range 64 {
			_, _ = rw.Write(make([]byte, 1<<16))
		}
	}))
	defer endless.Close()
	w.guard.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, endless.Listener.Addr().String())
	}
	assert.ErrorContains(t, w.get(t.Context(), "http://prometheus.monitoring/a"), "stopped after 3 redirects")

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://prometheus.monitoring/", nil)
	require.NoError(t, err)
	resp, err := w.guard.Client(Options{}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	read := 0
	for buffer := make([]byte, 4096); ; {
		n, err := resp.Body.Read(buffer)
		if read += n; err != nil {
			var large *TooLargeError
			require.True(t, errors.As(err, &large), err)

			break
		}
	}
	assert.LessOrEqual(t, read, DefaultMaxBody)
}
