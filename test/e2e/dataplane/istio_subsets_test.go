package dataplane

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
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
	mesh := openMesh(w, "xds:///app.subsets.svc.cluster.local:90")
	m := &table{t: t, root: w.root, name: "Istio subsets, clients of istiod over xDS"}
	defer m.publish()

	const ns = "subsets"
	j := journey{w: w, m: m, ns: ns, weights: []int{50}, sample: 4000, plain: mesh.calls(nil)}
	w.apply(subsetYAML(ns, j.steps())...)
	w.await(ns, "v1 is healthy", alone)
	assert.Equal(t, map[string]int{"v1": 100}, j.plain(100))
	end := mesh.traffic(m)

	j.to("v2", 0)
	m.share("setWeight 50", 50, "v2", j.plain(j.sample))
	j.to("v3", 0)
	m.share("a third revision at 50", 50, "v3", j.plain(j.sample))
	m.share("a third revision at 50, the second", 0, "v2", j.plain(j.sample/2))
	w.resume(ns)
	w.await(ns, "v3 is promoted, the others scaled down", alone)
	m.share("promoted", 100, "v3", j.plain(j.sample/2))
	j.abortedAt("v4", 0)
	end("two promotions' worth of subset switches, an abort and scale-down")
}
