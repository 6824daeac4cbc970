package main

import (
	"context"
	"errors"
	"os"
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

const shopOnTraefik = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web-stable, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-canary, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web, ports: [{containerPort: 8080}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{name: traefik, namespace: gateway-system}]
  rules:
    - name: main
      backendRefs: [{name: web-stable, port: 80}, {name: web-canary, port: 80, weight: 0}]
`

// TestTraefik checks against a real gateway and a real API server what the other tests take for granted: that what the
// plugin writes is a valid route, and that it understands what a gateway writes into its status.
func TestTraefik(t *testing.T) {
	if os.Getenv("SLUICE_E2E") == "" {
		t.Skip("needs a real Traefik, which takes minutes to build: make e2e runs this")
	}
	cluster, err := devcluster.StartNet(t.Context(), devcluster.Options{Nodes: 1})
	if errors.Is(err, devcluster.ErrNoNamespace) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cluster.Stop()) })
	_, err = cluster.StartTraefik(t.Context())
	require.NoError(t, err)
	require.NoError(t, cluster.Apply(t.Context(), shopOnTraefik))
	client, err := dynamic.NewForConfig(cluster.Config())
	require.NoError(t, err)
	routes := client.Resource(apischema.GroupVersionResource{Group: group, Version: "v1", Resource: "httproutes"}).Namespace("shop")

	for _, canary := range []int32{0, 25, 100, 0} {
		shown := get(t, routes)
		for _, write := range send(t, web, inputs(t, shown), traffic(100, canary)) {
			object := &unstructured.Unstructured{}
			require.NoError(t, object.UnmarshalJSON(write))
			_, err := routes.Update(t.Context(), object, metav1.UpdateOptions{})
			require.NoError(t, err)
		}
		seen := awaitDone(t, routes)
		assert.Equal(t, []trafficrouter.Observed{{Place: "HTTPRoute/shop/web rule=main", Traffic: traffic(100, canary)}}, seen.Observed)
	}

	// A backend that is not there is the gateway's to report, in its own words.
	broken := get(t, routes)
	object := &unstructured.Unstructured{}
	require.NoError(t, object.UnmarshalJSON(edited(t, broken, set("nowhere", "spec", "rules", 0, "backendRefs", 2, "name"),
		set(80, "spec", "rules", 0, "backendRefs", 2, "port"))))
	_, err = routes.Update(t.Context(), object, metav1.UpdateOptions{})
	require.NoError(t, err)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		seen := observe(t, web, inputs(t, get(t, routes)))
		assert.Equal(c, trafficrouter.Pending, seen.Convergence)
		assert.Contains(c, seen.Message, `Gateway "gateway-system/traefik" reports on HTTPRoute "shop/web": ResolvedRefs is False: BackendNotFound`)
	}, time.Minute, 50*time.Millisecond)
}

func get(t *testing.T, routes dynamic.ResourceInterface) []byte {
	t.Helper()
	object, err := routes.Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	raw, err := object.MarshalJSON()
	require.NoError(t, err)

	return raw
}

// awaitDone observes the route, as it changes, until the gateway has taken it over.
func awaitDone(t *testing.T, routes dynamic.ResourceInterface) *trafficrouter.Observation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	watcher, err := routes.Watch(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	defer watcher.Stop()

	seen := observe(t, web, inputs(t, get(t, routes)))
	for seen.Convergence != trafficrouter.Done {
		_, open := <-watcher.ResultChan()
		require.True(t, open, "waiting for the gateway: %s", seen.Message)
		seen = observe(t, web, inputs(t, get(t, routes)))
	}

	return seen
}
