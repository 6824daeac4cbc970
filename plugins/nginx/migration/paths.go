package migration

import (
	"cmp"
	"regexp"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// literal is a path without anything that a regular expression would take for more than a character.
var literal = regexp.MustCompile(`^/[-A-Za-z0-9/_~.%]*$`)

// Shapes of paths that people write for rewrites, and which a prefix says as well.
var shapes = []struct {
	path *regexp.Regexp
	// rest is the group of the path that has what follows the prefix, without its slash if it is `slashed`.
	rest    string
	slashed bool
}{
	{regexp.MustCompile(`^(/[-A-Za-z0-9/_~]*?)\(/\|\$\)\(\.\*\)\$?$`), "$2", false},
	{regexp.MustCompile(`^(/[-A-Za-z0-9/_~]*?)/\??\(\.\*\)\$?$`), "$1", false},
	{regexp.MustCompile(`^()/\(\.\*\)\$?$`), "$1", false},
	{regexp.MustCompile(`^(/[-A-Za-z0-9/_~]*?)\(/\.\*\)\??\$?$`), "$1", true},
	{regexp.MustCompile(`^(/[-A-Za-z0-9/_~]*[-A-Za-z0-9_~])\(\.\*\)\$?$`), "$1", true},
}

// rewritesAny says whether ingress-nginx rewrites at all: then it takes the paths for regular expressions.
func (t *translation) rewritesAny() bool { return t.annotation("rewrite-target") != "" }

// path is what matches what an Ingress's path matches in ingress-nginx, and the filters of its annotations. Not ok: it
// cannot be said, and is left out with a warning.
func (t *translation) path(at string, p networkingv1.HTTPIngressPath) (match []gatewayv1.HTTPRouteMatch, filters []gatewayv1.HTTPRouteFilter, ok bool) {
	value, kind := cmp.Or(p.Path, "/"), networkingv1.PathTypeImplementationSpecific
	if p.PathType != nil {
		kind = *p.PathType
	}
	rewrite := gatewayv1.HTTPURLRewriteFilter{}
	if host := t.annotation("upstream-vhost"); host != "" {
		rewrite.Hostname = new(gatewayv1.PreciseHostname(host))
	}
	switch {
	case t.regex:
		match, rewrite.Path, ok = t.regexPath(at, value, kind)
	case kind == networkingv1.PathTypeExact:
		match, ok = matchOf(gatewayv1.PathMatchExact, value), true
	case kind == networkingv1.PathTypePrefix:
		match, ok = matchOf(gatewayv1.PathMatchPathPrefix, value), true
	case !literal.MatchString(value):
		// Without use-regex ingress-nginx compares character by character, and refuses most others.
		t.warn("%s.path: %q looks like a regular expression, and the Ingress does not say use-regex: it is left out", at, value)
	default:
		if !strings.HasSuffix(value, "/") {
			t.warn("%s.path: ingress-nginx also sends %sx to this path of type ImplementationSpecific; the route matches whole elements only: add a path if that is needed", at, value)
		}
		match, ok = matchOf(gatewayv1.PathMatchPathPrefix, value), true
	}
	if ok && (rewrite.Path != nil || rewrite.Hostname != nil) {
		filters = append(filters, gatewayv1.HTTPRouteFilter{Type: gatewayv1.HTTPRouteFilterURLRewrite, URLRewrite: &rewrite})
	}

	return match, filters, ok
}

// regexPath is a path that ingress-nginx takes for a regular expression: case-insensitive, from the beginning, open at the
// end, whatever its type says.
func (t *translation) regexPath(at, value string, kind networkingv1.PathType) (match []gatewayv1.HTTPRouteMatch, change *gatewayv1.HTTPPathModifier, ok bool) {
	target := t.annotation("rewrite-target")
	groups := strings.Contains(target, "$")
	if literal.MatchString(value) {
		if groups {
			t.warn("%s.path: rewrite-target %q names a group, and path %q has none: it is left out; write its rule by hand", at, target, value)

			return nil, nil, false
		}
		if value != "/" {
			t.warn("%s.path: with use-regex or rewrite-target ingress-nginx takes %q (%s) for a regular expression that matches %sx and other case too; the route matches whole elements as written",
				at, value, kind, strings.TrimSuffix(value, "/"))
		}
		if target != "" && target != value {
			change = fullPath(target)
		}

		return matchOf(gatewayv1.PathMatchPathPrefix, value), change, true
	}
	if prefix, rest, slashed, found := prefixOf(value); found {
		if change, ok = rewriteOf(target, prefix, rest, slashed); ok {
			return matchOf(gatewayv1.PathMatchPathPrefix, cmp.Or(prefix, "/")), change, true
		}
	}
	if groups {
		t.warn("%s.path: an HTTPRoute cannot rewrite %q to %q: it is left out; rewrite in the application, or write a rule for each prefix", at, value, target)

		return nil, nil, false
	}
	if target != "" {
		change = fullPath(target)
	}
	t.warn("%s.path: %q is a regular expression, which not every Gateway has, and each in its own dialect: check it there", at, value)

	return matchOf(gatewayv1.PathMatchRegularExpression, wholeRegex(value)), change, true
}

// prefixOf is the prefix a regular expression says, and the group that has the rest.
func prefixOf(value string) (prefix, rest string, slashed, ok bool) {
	for _, s := range shapes {
		if found := s.path.FindStringSubmatch(value); found != nil {
			return strings.TrimSuffix(found[1], "/"), s.rest, s.slashed, true
		}
	}

	return "", "", false, false
}

// rewriteOf is the rewrite of a prefix that a target says. Nil and ok: nothing changes.
func rewriteOf(target, prefix, rest string, slashed bool) (change *gatewayv1.HTTPPathModifier, ok bool) {
	if target == "" {
		return nil, true
	}
	if !strings.Contains(target, "$") {
		return fullPath(target), true
	}
	becomes, found := strings.CutSuffix(target, rest)
	if rest == "$2" {
		if short, both := strings.CutSuffix(target, "$1$2"); both {
			becomes, slashed = short, true
		}
	}
	switch {
	case !found || strings.Contains(becomes, "$"):
		return nil, false
	case slashed == strings.HasSuffix(becomes, "/"): // The slash would be there twice, or not at all.
		return nil, false
	}
	becomes = cmp.Or(strings.TrimSuffix(becomes, "/"), "/")
	if becomes == cmp.Or(prefix, "/") {
		return nil, true
	}

	return &gatewayv1.HTTPPathModifier{Type: gatewayv1.PrefixMatchHTTPPathModifier, ReplacePrefixMatch: &becomes}, true
}

// wholeRegex is an expression that means the same to Gateways that compare the whole path and to those that search in it.
func wholeRegex(value string) string {
	value = "^" + strings.TrimPrefix(value, "^")
	if !strings.HasSuffix(value, "$") && !strings.HasSuffix(value, ".*") && !strings.HasSuffix(value, "(.*)") {
		value += ".*"
	}

	return "(?i)" + value
}
