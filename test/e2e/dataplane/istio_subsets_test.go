package dataplane

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/test/devcluster"
)

const subsetRouting = `{istio: {virtualService: {name: app}, destinationRule: {name: app, stableSubsetName: stable, canarySubsetName: canary}}}`

// subsetYAML is a Rollout without Services: one Service, whose traffic is split
// between two subsets.
func subsetYAML(namespace, steps string) []string {
	rollout := strings.Replace(rolloutYAML(namespace, subsetRouting, steps), "      stableService: app-stable\n      canaryService: app-canary\n", "", 1)

	return []string{
		fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s}}`, namespace),
		fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: app, namespace: %s}, spec: {selector: {app: app},
			ports: [{name: grpc, port: 90, targetPort: 9090}]}}`, namespace),
		fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: %[1]s}
spec:
  hosts: [app.%[1]s.svc.cluster.local]
  http:
    - route:
        - {destination: {host: app, subset: stable, port: {number: 90}}, weight: 100}
        - {destination: {host: app, subset: canary, port: {number: 90}}, weight: 0}
`, namespace),
		fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app, namespace: %s}
spec:
  host: app
  subsets:
    - {name: stable, labels: {app: app}}
    - {name: canary, labels: {app: app}}
`, namespace),
		rollout,
	}
}

// Subsets switch from revision to revision, also to a third one while the second
// has half of the traffic, and no call goes to an endpoint that is not there.
func TestIstioSubsetsOverXDS(t *testing.T) {
	w := open(t)
	_, err := w.cluster.StartIstiod(t.Context())
	require.NoError(t, err)
	w.control("istio")
	client, err := w.cluster.StartXDSClient(t.Context())
	require.NoError(t, err)
	other, err := w.cluster.StartXDSClient(t.Context())
	require.NoError(t, err)
	m := &table{t: t, root: w.root, name: "Istio subsets, clients of istiod over xDS"}
	defer m.publish()

	const ns, target = "subsets", "xds:///app.subsets.svc.cluster.local:90"
	w.apply(subsetYAML(ns, strings.Join([]string{weight(50), pause}, ", "))...)
	w.await(ns, "v1 is healthy", alone)
	calls := func(n int) map[string]int {
		t.Helper()
		r, err := client.Ask(devcluster.XDSQuestion{Target: target, N: n})
		require.NoError(t, err)
		require.Zero(t, r.Failed, r.First)

		return r.By
	}
	assert.Equal(t, map[string]int{"v1": 100}, calls(100))
	end, err := other.Begin(devcluster.XDSQuestion{Target: target})
	require.NoError(t, err)

	w.update(ns, "v2")
	w.await(ns, "v2 at 50", paused(1, 50))
	m.share("setWeight 50", 50, "v2", calls(4000))
	w.update(ns, "v3")
	w.await(ns, "v3 at 50", paused(1, 50))
	m.share("a third revision at 50", 50, "v3", calls(4000))
	m.share("a third revision at 50, the second", 0, "v2", calls(1000))
	w.resume(ns)
	w.await(ns, "v3 is promoted, the others scaled down", alone)
	m.share("promoted", 100, "v3", calls(1000))
	w.update(ns, "v4")
	w.await(ns, "v4 at 50", paused(1, 50))
	w.patch(ns, `{"status":{"abort":true}}`, "status")
	w.await(ns, "v4 is aborted and scaled down", aborted)
	m.share("aborted at 50", 0, "v4", calls(1000))

	r, err := end()
	require.NoError(t, err)
	m.notes = append(m.notes, fmt.Sprintf("- two promotions' worth of subset switches, an abort and scale-down: %d calls, %.0f a second, **%d failed**.",
		r.Calls, float64(r.Calls)/r.Took, r.Failed))
	assert.Zero(t, r.Failed, r.First)
}
