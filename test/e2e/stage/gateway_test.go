package stage

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sluice-rollouts/sluice/test/devcluster"
)

const routed = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{name: traefik, namespace: gateway-system}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
`

// TestStandInReportsLikeTraefik compares what the stand-in writes into
// status.parents with what a real gateway writes for the same route.
func TestStandInReportsLikeTraefik(t *testing.T) {
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
	require.NoError(t, cluster.Apply(t.Context(), routed))
	client, err := dynamic.NewForConfig(cluster.Config())
	require.NoError(t, err)

	require.EventuallyWithT(t, func(c *assert.CollectT) {
		u, err := client.Resource(httpRoutes).Namespace("shop").Get(t.Context(), "web", metav1.GetOptions{})
		require.NoError(c, err)
		var route gatewayv1.HTTPRoute
		require.NoError(c, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &route))
		require.Len(c, route.Status.Parents, 1, "one report for each parent of the spec")
		parent := route.Status.Parents[0]
		assert.Equal(c, route.Spec.ParentRefs[0].Name, parent.ParentRef.Name)
		assert.Equal(c, route.Spec.ParentRefs[0].Namespace, parent.ParentRef.Namespace)
		assert.ElementsMatch(c, shape(conditions(&route, "")), shape(parent.Conditions))
	}, time.Minute, 50*time.Millisecond)
}

// shape is what of a condition means something to a reader.
func shape(conditions []metav1.Condition) []metav1.Condition {
	var out []metav1.Condition
	for _, c := range conditions {
		out = append(out, metav1.Condition{Type: c.Type, Status: c.Status, Reason: c.Reason, ObservedGeneration: c.ObservedGeneration})
	}
	return out
}
