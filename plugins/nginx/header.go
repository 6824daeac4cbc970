package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// Annotations of a canary Ingress, without their prefix.
const (
	isCanary        = "canary"
	weightOf        = "canary-weight"
	weightTotalOf   = "canary-weight-total"
	byHeader        = "canary-by-header"
	byHeaderValue   = "canary-by-header-value"
	byHeaderPattern = "canary-by-header-pattern"
	byCookie        = "canary-by-cookie"
)

// What ingress-nginx accepts in these annotations; what else is in them it drops with a line in its log, and the header
// then means something else.
var (
	plainValue   = regexp.MustCompile(`^[-/._~a-zA-Z0-9:]+$`)
	patternChars = regexp.MustCompile(`^[-/._~a-zA-Z0-9:^$\[\](){}*+?|&=\\]*$`)
)

// headerAnnotations are the annotations that send a header route's requests to the canary, without the prefix. The error
// says what ingress-nginx cannot do.
func headerAnnotations(m trafficrouter.ManagedRoute) (map[string]string, error) {
	if m.Header == nil {
		return nil, fmt.Errorf("managed route %q is a mirror, which ingress-nginx does not have for canaries", m.Name)
	}
	if n := len(m.Header.Match); n != 1 {
		return nil, fmt.Errorf("managed route %q matches %d headers, and ingress-nginx compares one: keep one", m.Name, n)
	}
	header := m.Header.Match[0]
	if !plainValue.MatchString(header.Name) {
		return nil, fmt.Errorf("managed route %q matches header %q, a name that ingress-nginx does not take", m.Name, header.Name)
	}
	all := map[string]string{byHeader: header.Name}
	value := header.Value.Value
	switch header.Value.Kind {
	case trafficrouter.MatchExact:
		if plainValue.MatchString(value) {
			all[byHeaderValue] = value

			return all, nil
		}
		all[byHeaderPattern] = "^" + regexp.QuoteMeta(value) + "$"
	case trafficrouter.MatchPrefix:
		all[byHeaderPattern] = "^" + regexp.QuoteMeta(value)
	case trafficrouter.MatchRegex:
		all[byHeaderPattern] = "^(?:" + value + ")$"
	case trafficrouter.MatchAny:
		all[byHeaderPattern] = ".*"
	}
	if !patternChars.MatchString(all[byHeaderPattern]) {
		return nil, fmt.Errorf("managed route %q matches value %q of header %s, and ingress-nginx takes letters, digits and the characters of regular expressions only",
			m.Name, value, header.Name)
	}

	return all, nil
}

// oneHeaderRoute says whether the header routes of all steps can be made, which share one place: the first name that needs
// a second is named.
func oneHeaderRoute(routes []trafficrouter.ManagedRoute) error {
	var names []string
	for _, m := range routes {
		if !slices.Contains(names, m.Name) {
			names = append(names, m.Name)
		}
		if _, err := headerAnnotations(m); err != nil {
			return err
		}
	}
	if len(names) > 1 {
		return fmt.Errorf("steps set the header routes %s, and ingress-nginx has room for one: use one name for all of them", strings.Join(names, ", "))
	}

	return nil
}
