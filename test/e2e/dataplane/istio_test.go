package dataplane

import (
	"fmt"
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

// mesh is istiod and two clients that learn from it over xDS whom to call: one is
// asked and counted, the other calls all the time.
type mesh struct {
	w             *world
	target        string
	asked, caller *devcluster.XDSClient
}

func openMesh(w *world, target string) mesh {
	w.t.Helper()
	_, err := w.cluster.StartIstiod(w.t.Context())
	require.NoError(w.t, err)
	w.control("istio")
	asked, err := w.cluster.StartXDSClient(w.t.Context())
	require.NoError(w.t, err)
	caller, err := w.cluster.StartXDSClient(w.t.Context())
	require.NoError(w.t, err)

	return mesh{w, target, asked, caller}
}

// calls makes calls with a header, each once, and counts the versions that answered.
func (m mesh) calls(header map[string]string) func(n int) map[string]int {
	return func(n int) map[string]int {
		m.w.t.Helper()
		r, err := m.asked.Ask(devcluster.XDSQuestion{Target: m.target, N: n, Header: header})
		require.NoError(m.w.t, err)
		require.Zero(m.w.t, r.Failed, r.First)

		return r.By
	}
}

// traffic calls until it is told to end, and then notes that no call has failed.
func (m mesh) traffic(to *table) (end func(through string)) {
	m.w.t.Helper()
	stop, err := m.caller.Begin(devcluster.XDSQuestion{Target: m.target})
	require.NoError(m.w.t, err)

	return func(through string) {
		m.w.t.Helper()
		r, err := stop()
		require.NoError(m.w.t, err)
		to.notes = append(to.notes, fmt.Sprintf("- %s: %d calls, %.0f a second, **%d failed**; %d were made again because grpc-go "+
			"refuses calls for a moment while it takes over a new cluster.", through, r.Calls, float64(r.Calls)/r.Took, r.Failed, r.Raced))
		assert.Zero(m.w.t, r.Failed, r.First)
	}
}

// A rollout in a mesh without proxies: clients learn the weights from istiod over
// xDS. What is counted are calls, each made once.
func TestIstioOverXDS(t *testing.T) {
	w := open(t)
	mesh := openMesh(w, "xds:///app.mesh.svc.cluster.local:90")
	m := &table{t: t, root: w.root, name: "Istio, clients of istiod over xDS"}
	defer m.publish()

	const ns = "mesh"
	j := journey{w: w, m: m, ns: ns, weights: []int{20, 50, 80}, sample: 4000, plain: mesh.calls(nil),
		tester: mesh.calls(map[string]string{"x-test": "canary-7"})}
	w.apply(meshYAML(ns, j.steps())...)
	w.await(ns, "v1 is healthy", alone)
	assert.Equal(t, map[string]int{"v1": 100}, j.plain(100))
	end := mesh.traffic(m)

	j.promoted("v2")
	j.abortedAt("v3", 0)
	end("promotion, abort and scale-down")
}
