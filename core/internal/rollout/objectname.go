package rollout

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ObjectName names an object in claims and holds, whatever version it is served
// in: "HTTPRoute.gateway.networking.k8s.io/shop/web", "Service/shop/web", and
// for a cluster-scoped one "GatewayClass.gateway.networking.k8s.io//traefik".
func ObjectName(gk schema.GroupKind, namespace, name string) string {
	return gk.String() + "/" + namespace + "/" + name
}

// ParseObjectName takes apart what ObjectName put together; ok is false for
// anything else.
func ParseObjectName(s string) (gk schema.GroupKind, namespace, name string, ok bool) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 || parts[0] == "" || parts[2] == "" {
		return schema.GroupKind{}, "", "", false
	}
	return schema.ParseGroupKind(parts[0]), parts[1], parts[2], true
}
