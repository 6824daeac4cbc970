package dataplane

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

const nginxRouting = `{managedRoutes: [{name: testers}], nginx: {stableIngress: app}}`

var ingressResource = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}

func ingressYAML(namespace, steps string) []string {
	return []string{
		fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s}}`, namespace),
		serviceYAML(namespace, "app-stable"), serviceYAML(namespace, "app-canary"),
		fmt.Sprintf(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: app, namespace: %s}
spec:
  ingressClassName: nginx
  rules: [{host: %s, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app-stable, port: {number: 80}}}}]}}]
`, namespace, appHost),
		rolloutYAML(namespace, nginxRouting, steps),
	}
}

// A rollout through the community's ingress-nginx, by the block that Argo's users have: its own controller, template and
// Lua decide. Debian's nginx stands in for the one of its image, and a few lines for the library that takes turns among
// the endpoints of one backend.
func TestIngressNginx(t *testing.T) {
	w := open(t)
	gateway, err := w.cluster.StartIngressNginx(t.Context())
	if errors.Is(err, foreign.ErrNoNginx) {
		t.Skip(err)
	}
	require.NoError(t, err)
	w.control("nginx")
	m := &table{t: t, root: w.root, name: "ingress-nginx 1.11 on Debian's nginx 1.22"}
	defer m.publish()

	const ns = "ingress"
	request := overHTTP(w.cluster.Dial, "http://"+gateway.Inside, appHost, nil)
	j := journey{w: w, m: m, ns: ns, weights: []int{10, 33, 50, 75}, sample: 4000, plain: counting(t, request),
		tester: counting(t, overHTTP(w.cluster.Dial, "http://"+gateway.Inside, appHost, testerHeader))}
	w.apply(ingressYAML(ns, j.steps())...)
	w.await(ns, "v1 is healthy", alone)
	awaitServing(t, request)
	traffic := run(request, 600)

	j.promoted("v2")
	w.noCanaryIngress(ns)
	j.abortedAt("v3", 0)
	w.noCanaryIngress(ns)
	j.rolledBackAt("v4", 0, "v2")
	m.calm("promotion, abort, rollback and scale-down", traffic, 500)
}

// noCanaryIngress waits until the canary Ingress is gone.
func (w *world) noCanaryIngress(namespace string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		_, err := w.client.Resource(ingressResource).Namespace(namespace).Get(w.t.Context(), "app-app-canary", v1.GetOptions{})

		return apierrors.IsNotFound(err)
	}, patience, 100*time.Millisecond, "the canary Ingress is removed")
}
