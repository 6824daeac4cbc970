package dataplane

import (
	"fmt"
	"net/http"
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

// testerHeader is what the header route of the testers matches.
var testerHeader = http.Header{"X-Test": {"canary-7"}}

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
	request := overHTTP(w.cluster.Dial, "http://"+gateway.Inside, appHost, nil)
	j := journey{w: w, m: m, ns: ns, weights: []int{10, 33, 50, 75}, sample: 4000, plain: counting(t, request),
		tester: counting(t, overHTTP(w.cluster.Dial, "http://"+gateway.Inside, appHost, testerHeader))}
	w.apply(appYAML(ns, fmt.Sprintf(traefikRouting, 1), j.steps())...)
	w.await(ns, "v1 is healthy", alone)
	awaitServing(t, request)
	traffic := run(request, 600)

	j.promoted("v2")
	j.abortedAt("v3", 0)
	j.rolledBackAt("v4", 2, "v2")
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
	request := overHTTP(w.cluster.Dial, "http://"+gateway.Inside, appHost, nil)
	j := journey{w: w, m: m, ns: ns, weights: []int{25, 60}, sample: 4000, plain: counting(t, request)}
	w.apply(appYAML(ns, fmt.Sprintf(traefikRouting, 5), j.steps())...)
	w.await(ns, "v1 is healthy", alone)
	awaitServing(t, request)
	traffic := run(request, 600)

	j.abortedAt("v2", 1)
	j.promoted("v3")
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
