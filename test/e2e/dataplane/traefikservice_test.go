package dataplane

import (
	"fmt"
	"strings"
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
	weights := []int{10, 33, 75}
	var steps []string
	for _, share := range weights {
		steps = append(steps, weight(share), pause)
	}
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
		rolloutYAML(ns, "{traefik: {weightedTraefikServiceName: app}}", strings.Join(steps, ", ")))
	w.await(ns, "v1 is healthy", alone)
	plain := overHTTP(w.cluster.Dial, "http://"+gateway.Inside, appHost, nil)
	awaitServing(t, plain)
	traffic := run(plain, 600)

	w.update(ns, "v2")
	for i, share := range weights {
		w.await(ns, fmt.Sprintf("v2 at %d", share), paused(int64(1+2*i), int64(share)))
		m.share(fmt.Sprintf("setWeight %d", share), float64(share), "v2", count(t, 2000, plain))
		w.resume(ns)
	}
	w.await(ns, "v2 is promoted, v1 scaled down", alone)
	m.share("promoted", 100, "v2", count(t, 2000, plain))

	w.update(ns, "v3")
	w.await(ns, "v3 at 10", paused(1, 10))
	w.resume(ns)
	w.await(ns, "v3 at 33", paused(3, 33))
	w.patch(ns, `{"status":{"abort":true}}`, "status")
	w.await(ns, "v3 is aborted and scaled down", aborted)
	m.share("aborted at 33", 0, "v3", count(t, 2000, plain))
	m.calm("promotion, abort and scale-down", traffic, 500)
}
