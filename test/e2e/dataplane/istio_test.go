package dataplane

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/test/devcluster"
)

const meshRouting = `{managedRoutes: [{name: testers}], istio: {virtualService: {name: app, routes: [main]}}}`

func meshYAML(namespace, steps string) []string {
	out := []string{fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s}}`, namespace)}
	for _, name := range []string{"app", "app-stable", "app-canary"} {
		out = append(out, fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: %s, namespace: %s}, spec: {selector: {app: app},
			ports: [{name: grpc, port: 90, targetPort: 9090}]}}`, name, namespace))
	}

	return append(out, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: %[1]s}
spec:
  hosts: [app.%[1]s.svc.cluster.local]
  http:
    - name: main
      route:
        - {destination: {host: app-stable, port: {number: 90}}, weight: 100}
        - {destination: {host: app-canary, port: {number: 90}}, weight: 0}
`, namespace), rolloutYAML(namespace, meshRouting, steps))
}

// A rollout in a mesh without proxies: clients learn the weights from istiod over
// xDS. What is counted are calls, each made once.
func TestIstioOverXDS(t *testing.T) {
	w := open(t)
	_, err := w.cluster.StartIstiod(t.Context())
	require.NoError(t, err)
	w.control("istio")
	client, err := w.cluster.StartXDSClient(t.Context())
	require.NoError(t, err)
	other, err := w.cluster.StartXDSClient(t.Context())
	require.NoError(t, err)
	m := &table{t: t, root: w.root, name: "Istio, clients of istiod over xDS"}
	defer m.publish()

	const ns, target = "mesh", "xds:///app.mesh.svc.cluster.local:90"
	weights := []int{20, 50, 80}
	steps := []string{testers, pause}
	for _, share := range weights {
		steps = append(steps, weight(share), pause)
	}
	w.apply(meshYAML(ns, strings.Join(append(steps, noTest), ", "))...)
	w.await(ns, "v1 is healthy", alone)
	calls := func(n int, header map[string]string) map[string]int {
		t.Helper()
		r, err := client.Ask(devcluster.XDSQuestion{Target: target, N: n, Header: header})
		require.NoError(t, err)
		require.Zero(t, r.Failed, r.First)

		return r.By
	}
	assert.Equal(t, map[string]int{"v1": 100}, calls(100, nil))
	tester := map[string]string{"x-test": "canary-7"}
	end, err := other.Begin(devcluster.XDSQuestion{Target: target})
	require.NoError(t, err)

	w.update(ns, "v2")
	w.await(ns, "header route only", paused(1, 0))
	m.share("header route at weight 0, others", 0, "v2", calls(1000, nil))
	m.share("header route at weight 0, testers", 100, "v2", calls(400, tester))
	w.resume(ns)
	for i, share := range weights {
		w.await(ns, fmt.Sprintf("paused at %d", share), paused(int64(3+2*i), int64(share)))
		m.share(fmt.Sprintf("setWeight %d", share), float64(share), "v2", calls(4000, nil))
		w.resume(ns)
	}
	w.await(ns, "v2 is promoted, v1 scaled down", alone)
	m.share("promoted", 100, "v2", calls(1000, nil))
	w.update(ns, "v3")
	w.await(ns, "header route of v3", paused(1, 0))
	w.resume(ns)
	w.await(ns, "v3 at 20", paused(3, 20))
	w.patch(ns, `{"status":{"abort":true}}`, "status")
	w.await(ns, "v3 is aborted and scaled down", aborted)
	m.share("aborted at 20", 0, "v3", calls(1000, nil))
	m.share("aborted at 20, testers", 0, "v3", calls(400, tester))

	r, err := end()
	require.NoError(t, err)
	m.notes = append(m.notes, fmt.Sprintf("- promotion, abort and scale-down: %d calls, %.0f a second, **%d failed**; %d were made again because grpc-go "+
		"refuses calls for a moment while it takes over a new cluster.", r.Calls, float64(r.Calls)/r.Took, r.Failed, r.Raced))
	assert.Zero(t, r.Failed, r.First)
}
