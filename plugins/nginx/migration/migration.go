// Package migration translates Ingresses of the community's ingress-nginx, which is retired, into HTTPRoutes of the Gateway
// API. It reads what ingress-nginx does with an Ingress, not what the Ingress API promises: see Translate.
package migration

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Options say what an Ingress does not.
type Options struct {
	// GatewayName and GatewayNamespace name the Gateway the routes attach to. Name is required; an empty namespace is that
	// of the Ingress.
	GatewayName, GatewayNamespace string
	// Listener is the listener of the Gateway that serves the routes. Empty: all that take them.
	Listener string
	// RedirectListener is the listener for plain HTTP. If it is set, hosts that ingress-nginx redirects to HTTPS get a route
	// there that does. Empty: a warning instead.
	RedirectListener string
	// AnnotationPrefix of the controller. Empty: nginx.ingress.kubernetes.io.
	AnnotationPrefix string
	// StableService and CanaryService of a Rollout: wherever the Ingress sends to the one, the route splits between the two,
	// everything to stable, as the plugin gatewayapi needs it. Empty: nothing is split.
	StableService, CanaryService string
	// Port returns the number of a Service's port, since HTTPRoutes know no names. Nil: named ports are an error.
	Port func(service, name string) (number int32, ok bool)
}

// Result of a translation.
type Result struct {
	// Routes in the order of the Ingress's hosts. They carry what they were made from in no label: they are the user's.
	Routes []*gatewayv1.HTTPRoute
	// Warnings are sentences about what has no counterpart or behaves a little differently, each with the field it is about.
	Warnings []string
}

// DefaultPrefix is that of ingress-nginx's annotations.
const DefaultPrefix = "nginx.ingress.kubernetes.io"

// maxRules is how many rules one HTTPRoute takes.
const maxRules = 16

// Translate makes the HTTPRoutes that do what ingress-nginx does with an Ingress: hosts, paths of all types, regular
// expressions as far as Gateways have them, rewrites, redirects. What has no counterpart becomes a warning; a path whose
// rewrite cannot be expressed is left out with one, since a route that sends other paths to the backend would be worse.
//
// An error names the field and the cure: an Ingress that is somebody's canary, a named port that nobody can resolve, no
// backend at all.
func Translate(ingress *networkingv1.Ingress, o Options) (Result, error) {
	o.AnnotationPrefix = cmp.Or(o.AnnotationPrefix, DefaultPrefix)
	if o.GatewayName == "" {
		return Result{}, errors.New("no Gateway is named: say which one the routes attach to")
	}
	t := &translation{ingress: ingress, options: o}
	if t.is("canary") {
		return Result{}, fmt.Errorf("%s is a canary Ingress (annotation %s/canary): translate the stable one; its canary becomes a weight of the same HTTPRoute",
			t.name(), o.AnnotationPrefix)
	}
	t.regex = t.is("use-regex") || t.rewritesAny()
	t.checkAnnotations()
	if err := t.hosts(); err != nil {
		return Result{}, err
	}
	if len(t.result.Routes) == 0 {
		return Result{}, fmt.Errorf("%s has no rule with a path and no defaultBackend: there is nothing to route", t.name())
	}

	return t.result, nil
}

// translation is one run of Translate.
type translation struct {
	ingress *networkingv1.Ingress
	options Options
	// regex: ingress-nginx takes every path of the Ingress's hosts for a regular expression.
	regex  bool
	result Result
}

func (t *translation) name() string {
	return fmt.Sprintf("Ingress %q", t.ingress.Namespace+"/"+t.ingress.Name)
}

func (t *translation) annotation(name string) string {
	return strings.TrimSpace(t.ingress.Annotations[t.options.AnnotationPrefix+"/"+name])
}

func (t *translation) is(name string) bool { return t.annotation(name) == "true" }

func (t *translation) warn(format string, args ...any) {
	if sentence := fmt.Sprintf(format, args...); !slices.Contains(t.result.Warnings, sentence) {
		t.result.Warnings = append(t.result.Warnings, sentence)
	}
}

// hosts makes the routes: one for each host, or for several hosts with the same rules.
func (t *translation) hosts() error {
	type one struct {
		hosts []string
		rules []gatewayv1.HTTPRouteRule
		key   string
	}
	var all []one
	for _, host := range t.inOrder() {
		rules, err := t.rulesOf(host)
		if err != nil {
			return err
		}
		if len(rules) == 0 {
			continue
		}
		key := fmt.Sprintf("%+v", shape(rules))
		same := slices.IndexFunc(all, func(o one) bool { return o.key == key && o.hosts[0] != "" && host != "" })
		if same >= 0 {
			all[same].hosts = append(all[same].hosts, host)

			continue
		}
		all = append(all, one{[]string{host}, rules, key})
	}
	for i, o := range all {
		name := t.ingress.Name
		if i > 0 {
			name = fmt.Sprintf("%s-%d", name, i+1)
		}
		t.add(name, t.hostnames(o.hosts, i == 0), o.rules)
	}
	t.redirectToHTTPS()

	return nil
}

// inOrder are the hosts in the order of the Ingress, each once; "" is every host that nobody names.
func (t *translation) inOrder() []string {
	var hosts []string
	for _, rule := range t.ingress.Spec.Rules {
		if !slices.Contains(hosts, rule.Host) {
			hosts = append(hosts, rule.Host)
		}
	}
	if len(hosts) == 0 && t.ingress.Spec.DefaultBackend != nil {
		hosts = append(hosts, "")
	}

	return hosts
}

// hostnames are those of a route. The aliases of an Ingress are the first host's, since ingress-nginx gives each to one.
func (t *translation) hostnames(hosts []string, aliases bool) []gatewayv1.Hostname {
	var names []gatewayv1.Hostname
	for _, host := range hosts {
		if host != "" {
			names = append(names, gatewayv1.Hostname(host))
		}
	}
	if len(names) == 0 || !aliases {
		return names
	}
	for alias := range strings.SplitSeq(t.annotation("server-alias"), ",") {
		alias = strings.TrimSpace(alias)
		switch {
		case alias == "" || slices.Contains(names, gatewayv1.Hostname(alias)):
		case strings.HasPrefix(alias, "~"):
			t.warn("annotation server-alias: %q is a regular expression; an HTTPRoute takes names and *.example.com only: add the names it stands for to hostnames", alias)
		default:
			names = append(names, gatewayv1.Hostname(alias))
		}
	}

	return names
}

// add appends the routes of some hosts, as many as their rules need.
func (t *translation) add(name string, hosts []gatewayv1.Hostname, rules []gatewayv1.HTTPRouteRule) {
	for i := 0; i*maxRules < len(rules); i++ {
		part := name
		if i > 0 {
			part = fmt.Sprintf("%s-part-%d", name, i+1)
		}
		t.result.Routes = append(t.result.Routes, t.route(part, hosts, rules[i*maxRules:min(len(rules), (i+1)*maxRules)], t.options.Listener))
	}
}

func (t *translation) route(name string, hosts []gatewayv1.Hostname, rules []gatewayv1.HTTPRouteRule, listener string) *gatewayv1.HTTPRoute {
	parent := gatewayv1.ParentReference{Name: gatewayv1.ObjectName(t.options.GatewayName)}
	if ns := t.options.GatewayNamespace; ns != "" && ns != t.ingress.Namespace {
		parent.Namespace = new(gatewayv1.Namespace(ns))
	}
	if listener != "" {
		parent.SectionName = new(gatewayv1.SectionName(listener))
	}

	return &gatewayv1.HTTPRoute{
		TypeMeta:   metav1.TypeMeta{APIVersion: gatewayv1.GroupVersion.String(), Kind: "HTTPRoute"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: t.ingress.Namespace, Labels: t.ingress.Labels},
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{parent}},
			Hostnames:       hosts,
			Rules:           rules,
		},
	}
}

// redirectToHTTPS is what ingress-nginx does for hosts with TLS unless it is told not to.
func (t *translation) redirectToHTTPS() {
	var secured []gatewayv1.Hostname
	for _, tls := range t.ingress.Spec.TLS {
		hosts := tls.Hosts
		if len(hosts) == 0 {
			hosts = t.inOrder()
		}
		t.warn("spec.tls: certificates belong to the Gateway: give its HTTPS listener for %s certificateRefs [{name: %s}]", strings.Join(hosts, ", "), tls.SecretName)
		for _, host := range hosts {
			if host != "" {
				secured = append(secured, gatewayv1.Hostname(host))
			}
		}
	}
	if t.is("force-ssl-redirect") {
		secured = nil
		for _, host := range t.inOrder() {
			if host != "" {
				secured = append(secured, gatewayv1.Hostname(host))
			}
		}
	} else if len(t.ingress.Spec.TLS) == 0 || t.annotation("ssl-redirect") == "false" {
		return
	}
	if t.options.RedirectListener == "" {
		t.warn("ssl-redirect: ingress-nginx redirects plain HTTP to HTTPS here: name the listener for plain HTTP to get a route that does")

		return
	}
	rule := gatewayv1.HTTPRouteRule{Filters: []gatewayv1.HTTPRouteFilter{redirect(gatewayv1.HTTPRequestRedirectFilter{
		Scheme: new("https"), StatusCode: new(301),
	})}}
	t.warn("ssl-redirect: ingress-nginx answers 308, the route 301, which every Gateway knows")
	t.result.Routes = append(t.result.Routes, t.route(t.ingress.Name+"-to-https", secured, []gatewayv1.HTTPRouteRule{rule}, t.options.RedirectListener))
}
