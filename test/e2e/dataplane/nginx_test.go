package dataplane

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
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
	weights := []int{10, 33, 50, 75}
	steps := []string{testers, pause}
	for _, share := range weights {
		steps = append(steps, weight(share), pause)
	}
	w.apply(ingressYAML(ns, strings.Join(append(steps, noTest), ", "))...)
	w.await(ns, "v1 is healthy", alone)
	plain := overHTTP(w.cluster.Dial, "http://"+gateway.Inside, appHost, nil)
	tester := overHTTP(w.cluster.Dial, "http://"+gateway.Inside, appHost, http.Header{"X-Test": {"canary-7"}})
	awaitServing(t, plain)
	traffic := run(plain, 600)

	w.update(ns, "v2")
	w.await(ns, "header route only", paused(1, 0))
	m.share("header route at weight 0, others", 0, "v2", count(t, 2000, plain))
	m.share("header route at weight 0, testers", 100, "v2", count(t, 400, tester))
	w.resume(ns)
	for i, share := range weights {
		w.await(ns, fmt.Sprintf("paused at %d", share), paused(int64(3+2*i), int64(share)))
		m.share(fmt.Sprintf("setWeight %d", share), float64(share), "v2", count(t, 4000, plain))
		m.share(fmt.Sprintf("setWeight %d, testers", share), 100, "v2", count(t, 400, tester))
		w.resume(ns)
	}
	w.await(ns, "v2 is promoted, v1 scaled down", alone)
	m.share("promoted", 100, "v2", count(t, 2000, plain))
	w.noCanaryIngress(ns)

	w.update(ns, "v3")
	w.await(ns, "header route of v3", paused(1, 0))
	w.resume(ns)
	w.await(ns, "v3 at 10", paused(3, 10))
	w.patch(ns, `{"status":{"abort":true}}`, "status")
	w.await(ns, "v3 is aborted and scaled down", aborted)
	m.share("aborted at 10", 0, "v3", count(t, 2000, plain))
	m.share("aborted at 10, testers", 0, "v3", count(t, 400, tester))
	w.noCanaryIngress(ns)

	w.update(ns, "v4")
	w.await(ns, "header route of v4", paused(1, 0))
	w.resume(ns)
	w.await(ns, "v4 at 10", paused(3, 10))
	w.update(ns, "v2")
	w.await(ns, "v4 is rolled back to v2 and scaled down", alone)
	m.share("rolled back", 100, "v2", count(t, 2000, plain))
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
