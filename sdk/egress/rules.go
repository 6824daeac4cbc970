package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Rules are an administrator's exceptions. The zero value has none. Immutable.
type Rules struct {
	allow  []rule
	refuse []rule
}

// rule matches by address, by name or by URL; exactly one of prefix, host and base is set.
type rule struct {
	text   string
	prefix netip.Prefix
	// host is lower case; a leading "." matches every name below it.
	host string
	// port 0 matches each.
	port uint16
	base *url.URL
}

// Parse reads rules. An entry is an address or a network (10.0.0.0/8, [::1]:9090, 127.0.0.1:9090), a name with or without a
// port (prometheus.monitoring:9090, *.monitoring.svc), or the beginning of a URL (https://kubernetes.default.svc/version),
// which allows the URLs below that path and nothing else on that host. refuse is for addresses a host knows to be special,
// such as that of the API server; names and URLs in allow win over it, addresses too. Empty entries are skipped. The error
// names each entry that is none.
func Parse(allow, refuse []string) (*Rules, error) {
	var errs []error
	read := func(texts []string) []rule {
		var out []rule
		for _, text := range texts {
			text = strings.TrimSpace(text)
			if text == "" {
				continue
			}
			r, err := parse(text)
			if err != nil {
				errs = append(errs, fmt.Errorf("egress entry %q: %w", text, err))
				continue
			}
			out = append(out, r)
		}

		return out
	}
	rules := &Rules{allow: read(allow), refuse: read(refuse)}

	return rules, errors.Join(errs...)
}

// Split reads the value of the ConfigMap key: entries separated by commas, blanks or lines; # starts a comment.
func Split(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		out = append(out, strings.FieldsFunc(line, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })...)
	}

	return out
}

func parse(text string) (rule, error) {
	r := rule{text: text}
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Scheme != "http" && u.Scheme != "https") {
			return r, errors.New("want the beginning of an http or https URL, such as https://kubernetes.default.svc/version")
		}
		r.base = u

		return r, nil
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		r.prefix = p.Masked()

		return r, nil
	}
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		r.prefix = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())

		return r, nil
	}
	if ap, err := netip.ParseAddrPort(text); err == nil {
		r.prefix, r.port = netip.PrefixFrom(ap.Addr().Unmap(), ap.Addr().Unmap().BitLen()), ap.Port()

		return r, nil
	}

	return parseHost(r, text)
}

func parseHost(r rule, text string) (rule, error) {
	host, port, found := strings.Cut(text, ":")
	if found {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return r, fmt.Errorf("%q is not a port", port)
		}
		r.port = uint16(n)
	}
	host = strings.TrimPrefix(normal(host), "*")
	if strings.Trim(host, ".") == "" || strings.ContainsAny(host, "*/@?#[]\\ ") {
		return r, errors.New("want an address, a network, a name such as prometheus.monitoring:9090 or *.monitoring.svc, or the beginning of a URL")
	}
	r.host = host

	return r, nil
}

// normal is how names are compared: lower case, without the final dot.
func normal(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

// named reports an allowed name. Whoever allows a name trusts whoever answers for it in DNS.
func (r *Rules) named(host string, port uint16) bool {
	host = normal(host)
	for _, e := range r.allow {
		if e.host == "" || e.port != 0 && e.port != port {
			continue
		}
		if host == e.host || strings.HasPrefix(e.host, ".") && strings.HasSuffix(host, e.host) {
			return true
		}
	}

	return false
}

// below reports a URL that an entry is the beginning of, path segment by path segment.
func (r *Rules) below(u *url.URL) bool {
	for _, e := range r.allow {
		if e.base == nil || e.base.Scheme != u.Scheme || normal(e.base.Hostname()) != normal(u.Hostname()) || portOf(e.base) != portOf(u) {
			continue
		}
		base, path := strings.TrimSuffix(e.base.EscapedPath(), "/"), u.EscapedPath()
		if dotted(path) {
			continue // The server may resolve it to somewhere else.
		}
		if path == base || strings.HasPrefix(path, base+"/") {
			return true
		}
	}

	return false
}

// dotted reports a path that does not stay where it begins, also in escaped form.
func dotted(path string) bool {
	plain, err := url.PathUnescape(path)
	if err != nil || strings.ContainsAny(plain, "\\%") {
		return true
	}
	for _, segment := range strings.Split(plain, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}

	return strings.Contains(strings.ToLower(path), "%2f")
}

func (r *Rules) allowed(a netip.AddrPort) bool { return matches(r.allow, a) }

func (r *Rules) refused(a netip.AddrPort) bool { return matches(r.refuse, a) }

func matches(rules []rule, a netip.AddrPort) bool {
	for _, e := range rules {
		if e.prefix.IsValid() && e.prefix.Contains(a.Addr()) && (e.port == 0 || e.port == a.Port()) {
			return true
		}
	}

	return false
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	default:
		return "80"
	}
}
