package migration

import (
	"maps"
	"slices"
	"strings"
)

// translated are the annotations that become part of a route, and those that mean nothing to one.
var translated = []string{
	"rewrite-target", "use-regex", "app-root", "server-alias", "upstream-vhost", "ssl-redirect", "force-ssl-redirect",
	"permanent-redirect", "permanent-redirect-code", "temporal-redirect", "temporal-redirect-code", "canary",
	"enable-access-log", "enable-rewrite-log", "preserve-trailing-slash",
}

// counterparts say where to look for what HTTPRoutes do not have. By the beginning of the annotation's name.
var counterparts = []struct{ prefix, where string }{
	{"auth-tls", "client certificates belong to the Gateway (spec.tls.frontend, or its listener)"},
	{"auth", "authentication is the Gateway's own extension, or a proxy of its own"},
	{"affinity", "stick clients with sessionPersistence of the rule (experimental), or the plugin gatewayapi's option of that name"},
	{"session-cookie", "stick clients with sessionPersistence of the rule (experimental)"},
	{"backend-protocol", "say the protocol in appProtocol of the Service's port (kubernetes.io/h2c, kubernetes.io/ws); for HTTPS add a BackendTLSPolicy; for gRPC write a GRPCRoute"},
	{"canary-", "weights and header routes are the rollout's: the plugin gatewayapi writes them"},
	{"configuration-snippet", "there are no snippets: use filters, or the Gateway's own extensions"},
	{"server-snippet", "there are no snippets: use filters, or the Gateway's own extensions"},
	{"cors", "use the CORS filter of the rule, where the Gateway has it"},
	{"enable-cors", "use the CORS filter of the rule, where the Gateway has it"},
	{"custom-headers", "use a ResponseHeaderModifier filter"},
	{"from-to-www-redirect", "write a route for the other name with a RequestRedirect filter"},
	{"limit", "rate limits are the Gateway's own extension"},
	{"mirror", "use a RequestMirror filter, or a setMirrorRoute step"},
	{"proxy-body-size", "limits of size are the Gateway's own extension; ingress-nginx refuses more than 1m unless told otherwise, most Gateways nothing"},
	{"proxy-connect-timeout", "use timeouts.request and timeouts.backendRequest of the rule: they bound the whole exchange, not the connection"},
	{"proxy-next-upstream", "use retry of the rule (experimental)"},
	{"proxy-read-timeout", "use timeouts.backendRequest of the rule: it bounds the whole exchange, not the time between two reads"},
	{"proxy-send-timeout", "use timeouts.request of the rule: it bounds the whole exchange, not the time between two writes"},
	{"proxy-ssl", "say it in a BackendTLSPolicy"},
	{"service-upstream", "Gateways choose themselves between pods and the Service's address"},
	{"ssl-passthrough", "write a TLSRoute"},
	{"whitelist-source-range", "rules by address are the Gateway's own extension"},
	{"allowlist-source-range", "rules by address are the Gateway's own extension"},
	{"denylist-source-range", "rules by address are the Gateway's own extension"},
	{"x-forwarded-prefix", "use a RequestHeaderModifier filter"},
}

// checkAnnotations warns of what a route cannot say.
func (t *translation) checkAnnotations() {
	for _, key := range slices.Sorted(maps.Keys(t.ingress.Annotations)) {
		name, ours := strings.CutPrefix(key, t.options.AnnotationPrefix+"/")
		if !ours || slices.Contains(translated, name) {
			continue
		}
		where := "look for an extension of the Gateway"
		for _, c := range counterparts {
			if strings.HasPrefix(name, c.prefix) {
				where = c.where

				break
			}
		}
		t.warn("annotation %s: %q has no counterpart in an HTTPRoute: %s", name, t.ingress.Annotations[key], where)
	}
}
