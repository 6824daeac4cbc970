package main

import (
	"fmt"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// narrowed returns the matches of a route that only takes requests which both the source and a managed route match: each
// match of the source with each of the managed route. Combinations no request can satisfy are left out. Empty: every
// request; nil: none.
//
// The headers of a header route are alternatives, each a match of its own: so Argo's manifests for Istio mean them.
func narrowed(source any, m trafficrouter.ManagedRoute) ([]any, error) {
	var wanted []trafficrouter.RequestMatch
	if m.Header != nil {
		for _, h := range m.Header.Match {
			wanted = append(wanted, trafficrouter.RequestMatch{Headers: []trafficrouter.HeaderMatch{h}})
		}
	} else if m.Mirror != nil {
		wanted = m.Mirror.Match
	}
	matches, _ := source.([]any)
	if len(wanted) == 0 {
		return append([]any{}, matches...), nil
	}
	if len(matches) == 0 {
		matches = []any{map[string]any{}}
	}
	var found []any
	for _, match := range matches {
		for _, want := range wanted {
			tree, ok := objects.Clone(match).(map[string]any)
			if !ok {
				continue
			}
			possible, err := narrow(tree, want)
			if err != nil {
				return nil, err
			}
			if !possible {
				continue
			}
			if len(tree) == 0 {
				return []any{}, nil
			}
			found = append(found, tree)
		}
	}

	return found, nil
}

func narrow(match map[string]any, want trafficrouter.RequestMatch) (bool, error) {
	headers, _ := match["headers"].(map[string]any)
	for _, h := range want.Headers {
		name := h.Name
		for have := range headers {
			if strings.EqualFold(have, h.Name) {
				name = have
			}
		}
		both, possible, err := combined(headers[name], h.Value)
		if !possible || err != nil {
			return false, wrap("header "+h.Name, err)
		}
		if headers == nil {
			headers = map[string]any{}
		}
		headers[name] = both
		match["headers"] = headers
	}
	for field, value := range map[string]trafficrouter.StringMatch{"method": want.Method, "uri": want.Path} {
		if value == (trafficrouter.StringMatch{}) {
			continue
		}
		both, possible, err := combined(match[field], value)
		if !possible || err != nil {
			return false, wrap(field, err)
		}
		match[field] = both
	}

	return true, nil
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}

	return fmt.Errorf("%s: %w", what, err)
}

// combined is the match that is satisfied by what satisfies both. Istio's prefixes are of characters.
func combined(have any, want trafficrouter.StringMatch) (any, bool, error) {
	tree, _ := have.(map[string]any)
	fresh := stringMatch(want)
	if len(fresh) == 0 { // Any value: what is there says more.
		if have == nil {
			return fresh, true, nil
		}

		return have, true, nil
	}
	if len(tree) == 0 {
		return fresh, true, nil
	}
	for kind, value := range tree {
		text, _ := value.(string)
		other, same := fresh[kind].(string)
		switch {
		case same && other == text:
			return have, true, nil
		case kind == "exact" && want.Kind == trafficrouter.MatchExact:
			return nil, false, nil
		case kind == "exact" && want.Kind == trafficrouter.MatchPrefix:
			return have, strings.HasPrefix(text, want.Value), nil
		case kind == "prefix" && want.Kind == trafficrouter.MatchExact:
			return fresh, strings.HasPrefix(want.Value, text), nil
		case kind == "prefix" && want.Kind == trafficrouter.MatchPrefix && strings.HasPrefix(text, want.Value):
			return have, true, nil
		case kind == "prefix" && want.Kind == trafficrouter.MatchPrefix:
			return fresh, strings.HasPrefix(want.Value, text), nil
		}
	}

	return nil, false, fmt.Errorf("%v of the route and %v of the managed route cannot be combined: match something else, or the same", tree, fresh)
}

// stringMatch is Istio's form of a match; empty, which tests for presence, where any text will do.
func stringMatch(m trafficrouter.StringMatch) map[string]any {
	switch m.Kind {
	case trafficrouter.MatchExact:
		return map[string]any{"exact": m.Value}
	case trafficrouter.MatchPrefix:
		return map[string]any{"prefix": m.Value}
	case trafficrouter.MatchRegex:
		return map[string]any{"regex": m.Value}
	case trafficrouter.MatchAny:
		fallthrough
	default:
		return map[string]any{}
	}
}

// CheckHeaderRoute refuses what istiod would refuse later.
func (router) CheckHeaderRoute(route trafficrouter.HeaderRoute) error {
	for _, h := range route.Match {
		if h.Name == "" {
			return plugin.InvalidConfig("", "a header has no name")
		}
	}

	return nil
}

// CheckMirrorRoute accepts every mirror: Istio matches methods, paths and headers in every way there is.
func (router) CheckMirrorRoute(trafficrouter.MirrorRoute) error { return nil }
