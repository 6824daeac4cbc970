package dataplane

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/test/devcluster"
)

const appHost = "app.example.com"

// appYAML is a namespace with a Rollout behind an HTTPRoute of Traefik's gateway.
func appYAML(namespace, routing, steps string) []string {
	return []string{
		fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s}}`, namespace),
		serviceYAML(namespace, "app-stable"), serviceYAML(namespace, "app-canary"),
		fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app, namespace: %s}
spec:
  parentRefs: [{name: traefik, namespace: gateway-system}]
  hostnames: [%s]
  rules:
    - name: main
      filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-team, value: checkout}]}}]
      backendRefs: [{name: app-stable, port: 80, weight: 100}, {name: app-canary, port: 80, weight: 0}]
`, namespace, appHost),
		rolloutYAML(namespace, routing, steps),
	}
}

func serviceYAML(namespace, name string) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: %s, namespace: %s}, spec: {selector: {app: app},
		ports: [{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 90, targetPort: 9090, appProtocol: kubernetes.io/h2c}, {name: tls, port: 443, targetPort: 8443}]}}`, name, namespace)
}

func rolloutYAML(namespace, routing, steps string) string {
	return fmt.Sprintf(`
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: app, namespace: %s}
spec:
  replicas: 4
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: "example.com/app:v1", ports: [{containerPort: 8080}]}]}
  strategy:
    canary:
      stableService: app-stable
      canaryService: app-canary
      scaleDownDelaySeconds: 2
      abortScaleDownDelaySeconds: 2
      trafficRouting: %s
      steps: [%s]
`, namespace, routing, steps)
}

const traefikRouting = `{managedRoutes: [{name: testers}], plugins: {argoproj-labs/gatewayAPI: {httpRoute: app, drainSeconds: %d}}}`

const (
	testers = `{setHeaderRoute: {name: testers, match: [{headerName: x-test, headerValue: {prefix: "can"}}]}}`
	noTest  = `{setHeaderRoute: {name: testers}}`
	pause   = `{pause: {}}`
)

func weight(w int) string { return fmt.Sprintf("{setWeight: %d}", w) }

// A rollout through a real gateway: each step's share is what clients get, the
// header route leads to the canary, and nobody notices promotion, abort,
// rollback and scale-down.
func TestGatewayAPIOnTraefik(t *testing.T) {
	w := open(t)
	gateway, err := w.cluster.StartTraefik(t.Context())
	require.NoError(t, err)
	w.control("gatewayapi")
	m := &table{t: t, root: w.root, name: "Gateway API on Traefik 3.6"}
	defer m.publish()

	const ns = "plain"
	weights := []int{10, 33, 50, 75}
	steps := []string{testers, pause}
	for _, share := range weights {
		steps = append(steps, weight(share), pause)
	}
	w.apply(appYAML(ns, fmt.Sprintf(traefikRouting, 1), strings.Join(append(steps, noTest), ", "))...)
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
		m.share(fmt.Sprintf("setWeight %d", share), float64(share), "v2", count(t, 2000, plain))
		m.share(fmt.Sprintf("setWeight %d, testers", share), 100, "v2", count(t, 400, tester))
		w.resume(ns)
	}
	w.await(ns, "v2 is promoted, v1 scaled down", alone)
	m.share("promoted", 100, "v2", count(t, 2000, plain))

	w.update(ns, "v3")
	w.await(ns, "header route of v3", paused(1, 0))
	w.resume(ns)
	w.await(ns, "v3 at 10", paused(3, 10))
	w.patch(ns, `{"status":{"abort":true}}`, "status")
	w.await(ns, "v3 is aborted and scaled down", aborted)
	m.share("aborted at 10", 0, "v3", count(t, 2000, plain))
	m.share("aborted at 10, testers", 0, "v3", count(t, 400, tester))

	w.update(ns, "v4")
	w.await(ns, "header route of v4", paused(1, 0))
	for range 3 {
		w.resume(ns)
		time.Sleep(500 * time.Millisecond) // The step behind the pause has to begin before the next resume means it.
		w.await(ns, "the next pause of v4", func(ro map[string]any) bool {
			return paused(3, 10)(ro) || paused(5, 33)(ro) || paused(7, 50)(ro)
		})
	}
	w.update(ns, "v2")
	w.await(ns, "v4 is rolled back to v2 and scaled down", alone)
	m.share("rolled back", 100, "v2", count(t, 2000, plain))
	m.calm("promotion, abort, rollback and scale-down", traffic, 500)
}

// The same with a gateway that serves changes seconds after it says it has
// accepted them: drainSeconds stands in for what it does not say.
func TestGatewayAPIOnALaggingTraefik(t *testing.T) {
	w := open(t)
	gateway, err := w.cluster.StartTraefikWith(t.Context(), devcluster.TraefikOptions{Throttle: 3 * time.Second})
	require.NoError(t, err)
	w.control("gatewayapi")
	m := &table{t: t, root: w.root, name: "Gateway API on a Traefik that lags by 3 s"}
	defer m.publish()

	const ns = "lagging"
	w.apply(appYAML(ns, fmt.Sprintf(traefikRouting, 5), strings.Join([]string{weight(25), pause, weight(60), pause}, ", "))...)
	w.await(ns, "v1 is healthy", alone)
	plain := overHTTP(w.cluster.Dial, "http://"+gateway.Inside, appHost, nil)
	awaitServing(t, plain)
	traffic := run(plain, 600)

	w.update(ns, "v2")
	w.await(ns, "v2 at 25", paused(1, 25))
	m.share("setWeight 25", 25, "v2", count(t, 2000, plain))
	w.resume(ns)
	w.await(ns, "v2 at 60", paused(3, 60))
	m.share("setWeight 60", 60, "v2", count(t, 2000, plain))
	w.patch(ns, `{"status":{"abort":true}}`, "status")
	w.await(ns, "v2 is aborted and scaled down", aborted)
	m.share("aborted at 60", 0, "v2", count(t, 2000, plain))
	w.update(ns, "v3")
	w.await(ns, "v3 at 25", paused(1, 25))
	w.resume(ns)
	w.await(ns, "v3 at 60", paused(3, 60))
	w.resume(ns)
	w.await(ns, "v3 is promoted, v1 scaled down", alone)
	m.share("promoted", 100, "v3", count(t, 2000, plain))
	m.calm("abort, promotion and scale-down", traffic, 500)
}

// awaitServing waits until the gateway answers.
func awaitServing(t testing.TB, request ask) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := request(t.Context())
		assert.NoError(c, err)
	}, patience, 50*time.Millisecond)
}
