package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// takesRules says whether managed routes and sessions make sense for a kind of route: TCP and TLS have no headers.
func takesRules(kind string) bool { return kind == "HTTPRoute" || kind == "GRPCRoute" }

// narrowed returns the matches of a rule that only takes requests which both the source and a managed route match: each
// match of the source with each of the managed route. Combinations no request can satisfy are left out.
func narrowed(kind string, source any, m trafficrouter.ManagedRoute) ([]any, error) {
	var wanted []trafficrouter.RequestMatch
	switch {
	case m.Header != nil:
		wanted = []trafficrouter.RequestMatch{{Headers: m.Header.Match}}
	case m.Mirror != nil && len(m.Mirror.Match) > 0:
		wanted = m.Mirror.Match
	default:
		wanted = []trafficrouter.RequestMatch{{}}
	}
	matches, _ := source.([]any)
	if len(matches) == 0 {
		matches = []any{map[string]any{}} // No match at all is every request.
	}
	var found []any
	for _, match := range matches {
		for _, want := range wanted {
			tree, ok := objects.Clone(match).(map[string]any)
			if !ok {
				continue
			}
			possible, err := narrow(kind, tree, want)
			if err != nil {
				return nil, err
			}
			if possible {
				found = append(found, tree)
			}
		}
	}

	return found, nil
}

func narrow(kind string, match map[string]any, want trafficrouter.RequestMatch) (bool, error) {
	for _, h := range want.Headers {
		if possible, err := narrowHeader(match, h); !possible || err != nil {
			return false, err
		}
	}
	if kind == "GRPCRoute" {
		return narrowCall(match, want)
	}
	if possible, err := narrowMethod(match, want.Method); !possible || err != nil {
		return false, err
	}

	return narrowPath(match, want.Path)
}

// narrowHeader adds a header to a match. The API keeps one condition per header: a second one would be ignored.
func narrowHeader(match map[string]any, want trafficrouter.HeaderMatch) (bool, error) {
	kind, value := headerText(want.Value)
	headers, _ := match["headers"].([]any)
	for _, h := range headers {
		have, _ := h.(map[string]any)
		name, _ := have["name"].(string)
		if !strings.EqualFold(name, want.Name) {
			continue
		}
		haveKind, _ := have["type"].(string)
		if haveKind == "" {
			haveKind = "Exact"
		}
		switch {
		case haveKind == kind && have["value"] == value, haveKind == "Exact" && want.Value.Kind == trafficrouter.MatchAny:
			return true, nil
		case haveKind == "Exact" && kind == "Exact":
			return false, nil
		}

		return false, fmt.Errorf("the rule matches header %q already, and Gateway API takes one condition a header: "+
			"match another header", want.Name)
	}
	match["headers"] = append(headers, map[string]any{"name": want.Name, "type": kind, "value": value})

	return true, nil
}

// headerText is the API's form of a header's match. It knows no prefixes: they become regular expressions, anchored for
// data planes that search and complete for those that match the whole value.
func headerText(m trafficrouter.StringMatch) (kind, value string) {
	switch m.Kind {
	case trafficrouter.MatchExact:
		return "Exact", m.Value
	case trafficrouter.MatchPrefix:
		return "RegularExpression", "^" + regexp.QuoteMeta(m.Value) + ".*"
	case trafficrouter.MatchRegex:
		return "RegularExpression", m.Value
	case trafficrouter.MatchAny:
		fallthrough
	default:
		return "RegularExpression", ".*"
	}
}

func narrowMethod(match map[string]any, want trafficrouter.StringMatch) (bool, error) {
	switch have, _ := match["method"].(string); {
	case want.Kind == trafficrouter.MatchAny:
		return true, nil
	case have == "":
		match["method"] = want.Value

		return true, nil
	default:
		return have == want.Value, nil
	}
}

// narrowPath keeps the paths that both match. A prefix is one of whole path elements, as Gateway API has it.
func narrowPath(match map[string]any, want trafficrouter.StringMatch) (bool, error) {
	if want.Kind == trafficrouter.MatchAny {
		return true, nil
	}
	have, _ := match["path"].(map[string]any)
	kind, _ := have["type"].(string)
	value, _ := have["value"].(string)
	if kind == "" {
		kind = "PathPrefix"
	}
	if value == "" {
		value = "/"
	}
	wantKind := map[trafficrouter.MatchKind]string{
		trafficrouter.MatchExact: "Exact", trafficrouter.MatchPrefix: "PathPrefix", trafficrouter.MatchRegex: "RegularExpression",
	}[want.Kind]
	switch {
	case kind == wantKind && value == want.Value, wantKind == "PathPrefix" && want.Value == "/":
		return true, nil
	case kind == "PathPrefix" && value == "/":
	case kind == "RegularExpression" || wantKind == "RegularExpression":
		return false, fmt.Errorf("path %s %q and the rule's path %s %q cannot be combined: write the mirror's path as a prefix of the rule's, or the other way round",
			wantKind, want.Value, kind, value)
	case wantKind == "PathPrefix" && under(value, want.Value):
		return true, nil
	case kind == "PathPrefix" && under(want.Value, value):
	default:
		return false, nil
	}
	match["path"] = map[string]any{"type": wantKind, "value": want.Value}

	return true, nil
}

// under says whether a path lies under a prefix of whole elements.
func under(path, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")

	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// narrowCall keeps the gRPC calls that a match of HTTP's words means: a call is a POST to /service/method.
func narrowCall(match map[string]any, want trafficrouter.RequestMatch) (bool, error) {
	if want.Method.Kind != trafficrouter.MatchAny && want.Method.Value != "POST" {
		return false, nil
	}
	var service, method string
	switch path := strings.TrimPrefix(want.Path.Value, "/"); {
	case want.Path.Kind == trafficrouter.MatchAny, want.Path.Kind == trafficrouter.MatchPrefix && path == "":
		return true, nil
	case want.Path.Kind == trafficrouter.MatchPrefix && strings.Trim(path, "/") != "" && !strings.Contains(strings.Trim(path, "/"), "/"):
		service = strings.Trim(path, "/")
	case want.Path.Kind == trafficrouter.MatchExact && strings.Count(path, "/") == 1:
		service, method, _ = strings.Cut(path, "/")
	default:
		return false, fmt.Errorf("path %q means no gRPC calls: want the prefix /service/, or exactly /service/method", want.Path.Value)
	}
	have, _ := match["method"].(map[string]any)
	if have == nil {
		have = map[string]any{"type": "Exact"}
	}
	if have["type"] == "RegularExpression" {
		return false, fmt.Errorf("path %q and the rule's regular expression for methods cannot be combined", want.Path.Value)
	}
	for key, value := range map[string]string{"service": service, "method": method} {
		switch had, _ := have[key].(string); {
		case value == "" || had == value:
		case had != "":
			return false, nil
		default:
			have[key] = value
		}
	}
	match["method"] = have

	return true, nil
}

var (
	headerName  = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+\\-.^_`|~]{1,256}$")
	httpMethods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
)

// checkHeaders refuses what the API server would refuse later.
func checkHeaders(matches []trafficrouter.HeaderMatch) error {
	for _, m := range matches {
		if !headerName.MatchString(m.Name) {
			return plugin.InvalidConfig("", "%q is no name of a header", m.Name)
		}
		if _, value := headerText(m.Value); value == "" || len(value) > 4096 {
			return plugin.InvalidConfig("", "header %s: the value to match has %d characters: Gateway API takes 1 to 4096", m.Name, len(value))
		}
	}

	return nil
}
