package migration

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// rulesOf are the rules of one host. Gateways prefer the longer path themselves, so their order is that of the Ingress.
func (t *translation) rulesOf(host string) ([]gatewayv1.HTTPRouteRule, error) {
	var (
		rules []gatewayv1.HTTPRouteRule
		root  bool
	)
	if filter := t.redirectOfAll(); filter != nil {
		return []gatewayv1.HTTPRouteRule{{Filters: []gatewayv1.HTTPRouteFilter{*filter}}}, nil
	}
	if target := t.annotation("app-root"); target != "" {
		rules = append(rules, gatewayv1.HTTPRouteRule{
			Matches: matchOf(gatewayv1.PathMatchExact, "/"),
			Filters: []gatewayv1.HTTPRouteFilter{redirect(gatewayv1.HTTPRequestRedirectFilter{Path: fullPath(target), StatusCode: new(302)})},
		})
	}
	for i, rule := range t.ingress.Spec.Rules {
		if rule.Host != host || rule.HTTP == nil {
			continue
		}
		for j, path := range rule.HTTP.Paths {
			at := fmt.Sprintf("spec.rules[%d].http.paths[%d]", i, j)
			backends, err := t.backends(at+".backend", path.Backend)
			if err != nil {
				return nil, err
			}
			match, filters, ok := t.path(at, path)
			if !ok {
				continue
			}
			root = root || *match[0].Path.Type == gatewayv1.PathMatchPathPrefix && *match[0].Path.Value == "/"
			rules = append(rules, gatewayv1.HTTPRouteRule{Matches: match, Filters: filters, BackendRefs: backends})
		}
	}
	if backend := t.ingress.Spec.DefaultBackend; backend != nil && !root {
		backends, err := t.backends("spec.defaultBackend", *backend)
		if err != nil {
			return nil, err
		}
		rules = append(rules, gatewayv1.HTTPRouteRule{Matches: matchOf(gatewayv1.PathMatchPathPrefix, "/"), BackendRefs: backends})
	}

	return rules, nil
}

// backends are the Service of a path, or the two of a Rollout.
func (t *translation) backends(at string, b networkingv1.IngressBackend) ([]gatewayv1.HTTPBackendRef, error) {
	if r := b.Resource; r != nil {
		t.warn("%s.resource: ingress-nginx does not serve resources; the route refers to %s %s, which the Gateway has to know", at, r.Kind, r.Name)
		ref := gatewayv1.BackendObjectReference{Kind: new(gatewayv1.Kind(r.Kind)), Name: gatewayv1.ObjectName(r.Name)}
		if r.APIGroup != nil {
			ref.Group = new(gatewayv1.Group(*r.APIGroup))
		}

		return []gatewayv1.HTTPBackendRef{{BackendRef: gatewayv1.BackendRef{BackendObjectReference: ref}}}, nil
	}
	if b.Service == nil {
		return nil, fmt.Errorf("%s of %s names no Service", at, t.name())
	}
	one := func(service string, weight *int32) (gatewayv1.HTTPBackendRef, error) {
		port, err := t.port(at, service, b.Service.Port)

		return gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{Weight: weight, BackendObjectReference: gatewayv1.BackendObjectReference{
			Name: gatewayv1.ObjectName(service), Port: new(port),
		}}}, err
	}
	if t.options.CanaryService == "" || b.Service.Name != t.options.StableService {
		ref, err := one(b.Service.Name, nil)

		return []gatewayv1.HTTPBackendRef{ref}, err
	}
	stable, err := one(t.options.StableService, new(int32(100)))
	if err != nil {
		return nil, err
	}
	canary, err := one(t.options.CanaryService, new(int32(0)))

	return []gatewayv1.HTTPBackendRef{stable, canary}, err
}

func (t *translation) port(at, service string, port networkingv1.ServiceBackendPort) (int32, error) {
	if port.Name == "" {
		return port.Number, nil
	}
	if t.options.Port != nil {
		if number, ok := t.options.Port(service, port.Name); ok {
			return number, nil
		}
	}

	return 0, fmt.Errorf("%s.service.port.name of %s is %q, and an HTTPRoute takes numbers only: give Service %q along, or write the number",
		at, t.name(), port.Name, service)
}

// redirectOfAll is the redirect that an Ingress as a whole is.
func (t *translation) redirectOfAll() *gatewayv1.HTTPRouteFilter {
	for _, kind := range []struct {
		name, code string
		status     int
	}{{"permanent-redirect", "permanent-redirect-code", 301}, {"temporal-redirect", "temporal-redirect-code", 302}} {
		target := t.annotation(kind.name)
		if target == "" {
			continue
		}
		to, err := url.Parse(target)
		if err != nil || strings.Contains(target, "$") {
			t.warn("annotation %s: %q cannot be said in an HTTPRoute: write the redirect by hand", kind.name, target)

			continue
		}
		r := gatewayv1.HTTPRequestRedirectFilter{StatusCode: new(kind.status)}
		if code := t.annotation(kind.code); code != "" {
			number, err := strconv.Atoi(code)
			if err == nil && slices.Contains([]int{301, 302, 303, 307, 308}, number) {
				r.StatusCode = new(number)
			} else {
				t.warn("annotation %s: %q is not a status an HTTPRoute redirects with: it is %d", kind.code, code, kind.status)
			}
		}
		if to.Scheme != "" {
			r.Scheme = new(to.Scheme)
		}
		if host := to.Hostname(); host != "" {
			r.Hostname = new(gatewayv1.PreciseHostname(host))
		}
		if port, err := strconv.ParseInt(to.Port(), 10, 32); err == nil {
			r.Port = new(gatewayv1.PortNumber(port))
		}
		if to.Path != "" {
			r.Path = fullPath(to.Path)
		} else if r.Hostname != nil {
			r.Path = fullPath("/") // ingress-nginx answers with the target as it is, whatever was asked for.
		}

		return new(redirect(r))
	}

	return nil
}

func redirect(r gatewayv1.HTTPRequestRedirectFilter) gatewayv1.HTTPRouteFilter {
	return gatewayv1.HTTPRouteFilter{Type: gatewayv1.HTTPRouteFilterRequestRedirect, RequestRedirect: &r}
}

func fullPath(path string) *gatewayv1.HTTPPathModifier {
	return &gatewayv1.HTTPPathModifier{Type: gatewayv1.FullPathHTTPPathModifier, ReplaceFullPath: &path}
}

func matchOf(kind gatewayv1.PathMatchType, value string) []gatewayv1.HTTPRouteMatch {
	return []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Type: &kind, Value: &value}}}
}

// shape is a text that is equal for rules that are.
func shape(rules []gatewayv1.HTTPRouteRule) string {
	raw, _ := json.Marshal(rules) // Encoding these cannot fail: texts, numbers and lists.

	return string(raw)
}
