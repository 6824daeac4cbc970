package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// The limits of the CRDs, the same for HTTPRoute and GRPCRoute. An API server refuses what exceeds one, in the middle of a
// rollout.
const (
	maxRules        = 16
	maxBackendRefs  = 16
	maxMatches      = 64
	maxRouteMatches = 128
	maxHeaders      = 16
	maxFilters      = 16
)

// ruleNamePattern is that of the CRD's rules[].name.
var ruleNamePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// checkEnvelope makes sure that a route has room for everything the steps will ask for at once.
func (c *call) checkEnvelope(r steered, path string, envelope trafficrouter.Envelope) error {
	if r.headers {
		if err := c.checkNames(r, path, envelope); err != nil {
			return err
		}
	}
	want := state{keep: true}
	for i := range envelope.MaxExperiments {
		want.experiments = append(want.experiments, share{service: fmt.Sprintf("\x00%d", i)})
	}
	for _, m := range envelope.ManagedRoutes {
		at := slices.IndexFunc(want.routes, func(have trafficrouter.ManagedRoute) bool { return have.Name == m.Name })
		if at < 0 {
			want.routes = append(want.routes, m)
		} else if width(m) > width(want.routes[at]) { // Of several contents of one name the widest counts.
			want.routes[at] = m
		}
	}
	made, err := c.made(r, want)
	if err != nil {
		return plugin.InvalidConfig(path, "%v", err)
	}
	if err := checkLimits(made); err != nil {
		return plugin.InvalidConfig(path, "%v would need more than its API allows with all managed routes and experiments of the steps: %v", r.object.Ref, err)
	}

	return nil
}

// width is how many matches a managed route makes of one.
func width(m trafficrouter.ManagedRoute) int {
	if m.Mirror == nil {
		return 1
	}

	return max(1, len(m.Mirror.Match))
}

// made are the rules a route would have in a state.
func (c *call) made(r steered, want state) ([]any, error) {
	there, err := c.probe(r, want)
	if err != nil {
		return nil, err
	}
	rules, _ := there.Value("spec", "rules")
	made, _ := rules.([]any)

	return made, nil
}

func (c *call) checkNames(r steered, path string, envelope trafficrouter.Envelope) error {
	var names []string
	for _, m := range envelope.ManagedRoutes {
		if !ruleNamePattern.MatchString(m.Name) || len(m.Name) > 250 {
			return plugin.InvalidConfig("", "managed route %q cannot name a rule of %v: want lower-case letters, digits, - and .", m.Name, r.object.Ref)
		}
		for n := range r.splits {
			names = append(names, ownName(m.Name, n))
		}
	}
	for i, rule := range r.object.View.Spec.Rules {
		if r.own.by[i] == "" && slices.Contains(names, rule.Name) {
			return plugin.InvalidConfig(path, "%v has a rule %q already, which is also what a managed route would be called: rename one of the two",
				r.object.Ref, rule.Name)
		}
	}

	return nil
}

// checkLimits names the first limit of the CRD that rules exceed.
func checkLimits(rules []any) error {
	if len(rules) > maxRules {
		return fmt.Errorf("%d rules of at most %d", len(rules), maxRules)
	}
	var matches int
	for i, rule := range rules {
		tree, _ := rule.(map[string]any)
		name, _ := tree["name"].(string)
		if name == "" {
			name = fmt.Sprintf("#%d", i)
		}
		counts := []struct {
			field string
			most  int
		}{{"backendRefs", maxBackendRefs}, {"matches", maxMatches}, {"filters", maxFilters}}
		for _, c := range counts {
			list, _ := tree[c.field].([]any)
			if len(list) > c.most {
				return fmt.Errorf("rule %s has %d %s of at most %d", name, len(list), c.field, c.most)
			}
		}
		list, _ := tree["matches"].([]any)
		matches += len(list)
		for _, match := range list {
			fields, _ := match.(map[string]any)
			if headers, _ := fields["headers"].([]any); len(headers) > maxHeaders {
				return fmt.Errorf("rule %s matches %d headers at once of at most %d", name, len(headers), maxHeaders)
			}
		}
	}
	if matches > maxRouteMatches {
		return fmt.Errorf("%d matches in all rules of at most %d", matches, maxRouteMatches)
	}

	return nil
}

// CheckHeaderRoute refuses matches that Gateway API has no form for.
func (router) CheckHeaderRoute(route trafficrouter.HeaderRoute) error {
	return checkHeaders(route.Match)
}

// CheckMirrorRoute refuses matches that Gateway API has no form for: methods by anything but their name, and paths that
// are none.
func (router) CheckMirrorRoute(route trafficrouter.MirrorRoute) error {
	for _, m := range route.Match {
		if err := checkHeaders(m.Headers); err != nil {
			return err
		}
		if k := m.Method.Kind; k != trafficrouter.MatchAny && (k != trafficrouter.MatchExact || !slices.Contains(httpMethods, m.Method.Value)) {
			return plugin.InvalidConfig("", "method %q: Gateway API matches a method exactly, one of %s", m.Method.Value, strings.Join(httpMethods, ", "))
		}
		if k := m.Path.Kind; k != trafficrouter.MatchAny && k != trafficrouter.MatchRegex && !strings.HasPrefix(m.Path.Value, "/") {
			return plugin.InvalidConfig("", "path %q: want one that begins with /", m.Path.Value)
		}
	}

	return nil
}
