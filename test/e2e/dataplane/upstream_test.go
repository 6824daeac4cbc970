package dataplane

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// The example without Services, applied as it is: what splits are subsets; and
// the one with an experiment.
func TestUpstreamIstioSubsets(t *testing.T) {
	examples := os.Getenv("SLUICE_UPSTREAM_EXAMPLES")
	if examples == "" {
		t.Skip("needs the examples of Argo Rollouts: set SLUICE_UPSTREAM_EXAMPLES to their folder")
	}
	w := open(t)
	require.NoError(t, w.cluster.ApplyIstio(t.Context()))
	w.control("istio")
	const ns, name = "upstream", "istio-subset-split"
	w.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: upstream}}`)
	w.applyIn(ns, filepath.Join(examples, "istio", "istio-subset-split.yaml"))
	until := func(what string, reached func(map[string]any) bool) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			o, err := w.client.Resource(rollouts).Namespace(ns).Get(t.Context(), name, metav1.GetOptions{})
			require.NoError(t, err)
			if reached(o.Object) {
				return
			}
			require.True(t, time.Now().Before(end), "not reached within %s: %s\n%v", patience, what, o.Object["status"])
		}
	}
	patch := func(patch string, subresources ...string) {
		_, err := w.client.Resource(rollouts).Namespace(ns).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, subresources...)
		require.NoError(t, err)
	}
	until("the first deployment is healthy", healthy)
	patch(`{"spec":{"template":{"metadata":{"annotations":{"example.com/update":"1"}}}}}`)
	until("the update pauses at 10", paused(1, 10))
	patch(`{"status":{"pauseConditions":null}}`, "status")
	until("the update is healthy", healthy)
	// Between Services, with an experiment beside the canary.
	w.play(t, "upstream-experiment", examples, example{
		files: []string{"traffic-routing-experiment-step/istio-host-split-experiment-step.yaml"}, rollout: "istio-host-split",
		object: virtualServices, name: "istio-host-split-vsvc", shows: []string{"10", "10+20"},
	})
}

// An example of Argo Rollouts, applied as it is: the first deployment becomes
// healthy, an update mirrors where its steps say so, and what is left in the
// VirtualService is what its author wrote. What the other examples ask of the
// plugin is tested with the plugin.
func TestUpstreamIstioExample(t *testing.T) {
	examples := os.Getenv("SLUICE_UPSTREAM_EXAMPLES")
	if examples == "" {
		t.Skip("needs the examples of Argo Rollouts: set SLUICE_UPSTREAM_EXAMPLES to their folder")
	}
	w := open(t)
	require.NoError(t, w.cluster.ApplyIstio(t.Context()))
	require.NoError(t, w.cluster.ApplyGatewayAPI(t.Context()))
	w.control("istio")

	const ns, rollout, route = "upstream", "istio-host-split", "istio-host-split-vsvc"
	w.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: upstream}}`)
	w.applyIn(ns, filepath.Join(examples, "istio", "istio-mirror.yaml"))
	get := func(of schema.GroupVersionResource, name string) map[string]any {
		o, err := w.client.Resource(of).Namespace(ns).Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)

		return o.Object
	}
	http := func() []any {
		vs := get(schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}, route)
		found, _, _ := unstructured.NestedSlice(vs, "spec", "http")

		return found
	}
	patch := func(patch string, subresources ...string) {
		_, err := w.client.Resource(rollouts).Namespace(ns).Patch(t.Context(), rollout, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, subresources...)
		require.NoError(t, err)
	}
	until := func(what string, reached func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !reached(); time.Sleep(100 * time.Millisecond) {
			require.True(t, time.Now().Before(end), "not reached within %s: %s", patience, what)
		}
	}
	until("the first deployment is healthy, or refused", func() bool {
		ro := get(rollouts, rollout)
		message, _, _ := unstructured.NestedString(ro, "status", "message")
		if strings.Contains(message, "not supported by this version") {
			t.Skipf("the planner cannot do what the example asks for: %s", message)
		}

		return healthy(ro)
	})
	before := http()
	patch(`{"spec":{"template":{"metadata":{"annotations":{"example.com/update":"1"}}}}}`)
	until("the mirror is there", func() bool {
		found := http()
		first, _ := found[0].(map[string]any)
		percentage, _, _ := unstructured.NestedFieldNoCopy(first, "mirrorPercentage", "value")

		return len(found) == 2 && first["name"] == "mirror-route" && fmt.Sprint(percentage) == "50"
	})
	until("the update pauses", func() bool {
		pauses, _, _ := unstructured.NestedSlice(get(rollouts, rollout), "status", "pauseConditions")

		return len(pauses) > 0
	})
	patch(`{"status":{"pauseConditions":null}}`, "status")
	until("the update is healthy", func() bool { return healthy(get(rollouts, rollout)) })
	until("the VirtualService is as its author wrote it", func() bool { return assert.ObjectsAreEqual(before, http()) })
}
