package dataplane

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/test/devcluster"
)

// A rollout through Traefik's own kinds: each step's share is what clients get,
// and nobody notices promotion, abort and scale-down. The drain time is the
// plugin's default, for a Traefik with its own default of collecting changes.
func TestTraefikServices(t *testing.T) {
	w := open(t)
	const throttle = 2e9
	gateway, err := w.cluster.StartTraefikWith(t.Context(), devcluster.TraefikOptions{Services: true, Throttle: throttle})
	require.NoError(t, err)
	w.control("traefik")
	m := &table{t: t, root: w.root, name: "TraefikService on Traefik 3.6"}
	defer m.publish()

	const ns = "services"
	request := overHTTP(w.cluster.Dial, "http://"+gateway.Inside, appHost, nil)
	j := journey{w: w, m: m, ns: ns, weights: []int{10, 33, 75}, sample: 4000, plain: counting(t, request)}
	w.apply(
		fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s}}`, ns), serviceYAML(ns, "app-stable"), serviceYAML(ns, "app-canary"),
		fmt.Sprintf(`
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: app, namespace: %s}
spec: {weighted: {services: [{name: app-stable, port: 80, weight: 1}, {name: app-canary, port: 80, weight: 0}]}}
`, ns), fmt.Sprintf(`
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: app, namespace: %s}
spec: {entryPoints: [web], routes: [{kind: Rule, match: "Host(%[2]s%[3]s%[2]s)", services: [{kind: TraefikService, name: app}]}]}
`, ns, "`", appHost),
		rolloutYAML(ns, "{traefik: {weightedTraefikServiceName: app}}", j.steps()))
	w.await(ns, "v1 is healthy", alone)
	awaitServing(t, request)
	traffic := run(request, 600)

	j.promoted("v2")
	j.abortedAt("v3", 1)
	m.calm("promotion, abort and scale-down", traffic, 500)
}
