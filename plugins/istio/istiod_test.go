package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
	"github.com/sluice-rollouts/sluice/test/devcluster"
)

const mesh = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: grpc, port: 90, targetPort: 9090}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web.shop.svc.cluster.local]
  http:
    - route:
        - {destination: {host: web, subset: stable, port: {number: 90}}, weight: 100}
        - {destination: {host: web, subset: canary, port: {number: 90}}, weight: 0}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  subsets:
    - {name: stable, labels: {app: web}}
    - {name: canary, labels: {app: web}}
`

const onSubsets = `{"virtualService":{"name":"web"},"destinationRule":{"name":"web","canarySubsetName":"canary","stableSubsetName":"stable"}}`

// rig plays the core to the plugin: it routes stage by stage and waits the settle time between, on a real istiod with
// clients that make real calls.
type rig struct {
	t       *testing.T
	cluster *devcluster.Cluster
	client  dynamic.Interface
}

var kinds = map[string]string{"VirtualService": "virtualservices", "DestinationRule": "destinationrules"}

func (r *rig) resource(kind string) dynamic.ResourceInterface {
	return r.client.Resource(apischema.GroupVersionResource{Group: group, Version: "v1", Resource: kinds[kind]}).Namespace("shop")
}

func (r *rig) world() [][]byte {
	r.t.Helper()
	var all [][]byte
	for _, kind := range []string{"VirtualService", "DestinationRule"} {
		o, err := r.resource(kind).Get(r.t.Context(), "web", metav1.GetOptions{})
		require.NoError(r.t, err)
		raw, err := o.MarshalJSON()
		require.NoError(r.t, err)
		all = append(all, raw)
	}

	return all
}

// reach brings about a traffic and returns what each stage wrote.
func (r *rig) reach(want trafficrouter.Traffic) []string {
	r.t.Helper()
	var stages []string
	for range 5 {
		settle := observe(r.t, onSubsets, r.world()...).Settle
		after, wrote := send(r.t, onSubsets, want, r.world()...)
		if wrote == "" {
			return stages
		}
		stages = append(stages, wrote)
		for _, raw := range after {
			o := &unstructured.Unstructured{}
			require.NoError(r.t, o.UnmarshalJSON(raw))
			if o.GetKind() == wrote {
				_, err := r.resource(wrote).Update(r.t.Context(), o, metav1.UpdateOptions{})
				require.NoError(r.t, err)
			}
		}
		time.Sleep(settle) // As the core counts it: what follows relies on it.
	}
	require.Fail(r.t, "not there after 5 stages", "%v", stages)

	return nil
}

func (r *rig) deploy(version string, replicas int) {
	r.t.Helper()
	require.NoError(r.t, r.cluster.Apply(r.t.Context(), fmt.Sprintf(`
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-%[1]s, namespace: shop}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: web, rollouts-pod-template-hash: %[1]s}}
  template:
    metadata: {labels: {app: web, rollouts-pod-template-hash: %[1]s}}
    spec: {containers: [{name: web, image: "example.com/web:%[1]s", ports: [{containerPort: 9090}]}]}
`, version, replicas)))
	sets := r.client.Resource(apischema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}).Namespace("shop")
	require.EventuallyWithT(r.t, func(c *assert.CollectT) {
		o, err := sets.Get(r.t.Context(), "web-"+version, metav1.GetOptions{})
		require.NoError(c, err)
		ready, _, _ := unstructured.NestedInt64(o.Object, "status", "availableReplicas")
		all, _, _ := unstructured.NestedInt64(o.Object, "status", "replicas")
		assert.EqualValues(c, replicas, ready)
		assert.EqualValues(c, replicas, all)
	}, 2*time.Minute, 50*time.Millisecond)
}

// Subsets switch from revision to revision while calls are made all the time: each gets what it is meant to, and no call
// goes to a pod that is not there.
func TestIstiodSwitchesSubsets(t *testing.T) {
	if os.Getenv("SLUICE_E2E") == "" {
		t.Skip("needs a real istiod, which takes minutes to build: make e2e runs this")
	}
	cluster, err := devcluster.StartNet(t.Context(), devcluster.Options{Nodes: 2})
	if errors.Is(err, devcluster.ErrNoNamespace) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cluster.Stop()) })
	_, err = cluster.StartIstiod(t.Context())
	require.NoError(t, err)
	r := &rig{t: t, cluster: cluster}
	r.client, err = dynamic.NewForConfig(cluster.Config())
	require.NoError(t, err)
	r.backend()
	require.NoError(t, cluster.Apply(t.Context(), mesh))
	r.deploy("one", 3)
	client, err := cluster.StartXDSClient(t.Context())
	require.NoError(t, err)
	always, err := cluster.StartXDSClient(t.Context())
	require.NoError(t, err)
	question := devcluster.XDSQuestion{Target: "xds:///web.shop.svc.cluster.local:90"}
	shares := func(want map[string]float64) {
		t.Helper()
		q := question
		q.N = 4000
		reply, err := client.Ask(q)
		require.NoError(t, err)
		require.Zero(t, reply.Failed, reply.First)
		t.Logf("of %d calls: %v", reply.Calls, reply.By)
		for version, share := range want {
			got := 100 * float64(reply.By[version]) / float64(reply.Calls)
			assert.LessOrEqual(t, math.Abs(got-share), 3.0, "%s: %v", version, reply.By)
		}
	}

	assert.Equal(t, []string{"DestinationRule"}, r.reach(between("one", "one", 0)), "the subsets are narrowed where they are")
	shares(map[string]float64{"one": 100})
	end, err := always.Begin(question)
	require.NoError(t, err)

	r.deploy("two", 3)
	assert.Equal(t, []string{"DestinationRule", "VirtualService"}, r.reach(between("one", "two", 50)))
	shares(map[string]float64{"one": 50, "two": 50})

	r.deploy("three", 3)
	assert.Equal(t, []string{"VirtualService", "DestinationRule", "VirtualService"}, r.reach(between("one", "three", 50)))
	r.deploy("two", 0)
	shares(map[string]float64{"one": 50, "two": 0, "three": 50})

	assert.Equal(t, []string{"VirtualService", "DestinationRule", "VirtualService"}, r.reach(between("three", "three", 0)))
	r.deploy("one", 0)
	shares(map[string]float64{"one": 0, "three": 100})

	reply, err := end()
	require.NoError(t, err)
	t.Logf("meanwhile %d calls, %.0f a second: %v, %d failed, %d made again", reply.Calls, float64(reply.Calls)/reply.Took, reply.By, reply.Failed, reply.Raced)
	assert.Zero(t, reply.Failed, reply.First)
}

// backend starts the program that answers for all pods.
func (r *rig) backend() {
	r.t.Helper()
	binary := filepath.Join(r.t.TempDir(), "backend")
	said, err := exec.CommandContext(r.t.Context(), "go", "build", "-o", binary, "../../test/backend").CombinedOutput()
	require.NoError(r.t, err, string(said))
	cmd := r.cluster.Command(r.t.Context(), binary, "--kubeconfig="+r.cluster.KubeconfigPath(), "--grpc-listen=0.0.0.0:9090")
	cmd.Stderr = os.Stderr
	require.NoError(r.t, cmd.Start())
}
