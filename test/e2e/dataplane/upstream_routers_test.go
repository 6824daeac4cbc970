package dataplane

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// example is one of Argo Rollouts' examples, and what its update should show.
type example struct {
	files   []string
	rollout string
	object  schema.GroupVersionResource
	name    string
	// shows are weights of the canary, of experiments with a plus, that are
	// acknowledged one after the other.
	shows []string
	// says is in the object at the first pause; says nothing at the end.
	says string
}

var (
	apisixRoutes    = schema.GroupVersionResource{Group: "apisix.apache.org", Version: "v2", Resource: "apisixroutes"}
	trafficSplits   = schema.GroupVersionResource{Group: "split.smi-spec.io", Version: "v1alpha2", Resource: "trafficsplits"}
	virtualServices = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}
	ingresses       = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}
)

var upstream = map[string]example{
	"alb": {
		files: []string{"traffic-routing-experiment-step/rollout-alb-experiment-step.yaml"}, rollout: "alb-rollout",
		object: ingresses, name: "alb-rollout-ingress", shows: []string{"10", "10+20"},
	},
	"apisix": {
		files: []string{"apisix/services.yaml", "apisix/route.yaml", "apisix/rollout.yaml"}, rollout: "rollout-apisix-canary",
		object: apisixRoutes, name: "set-header", shows: []string{"20", "40", "60", "80"}, says: "value:debug",
	},
	"smi": {
		files: []string{"traffic-routing-experiment-step/rollout-smi-experiment-step.yaml"}, rollout: "rollout-smi-experiment",
		object: trafficSplits, name: "rollout-smi-experiment-trafficsplit", shows: []string{"5", "5+5"},
	},
	"linkerd": {
		files: []string{"traffic-management/rollout-linkerd.yaml"}, rollout: "rollout-linkerd",
		object: trafficSplits, name: "rollout-linkerd", shows: []string{"5"},
	},
}

// The examples of Argo Rollouts that use ALB, APISIX and SMI, applied as they
// are: the first deployment becomes healthy, and an update goes through its
// weights and header routes to its end, or to an experiment that has none.
func TestUpstreamSmallRouters(t *testing.T) {
	folder := os.Getenv("SLUICE_UPSTREAM_EXAMPLES")
	if folder == "" {
		t.Skip("needs the examples of Argo Rollouts: set SLUICE_UPSTREAM_EXAMPLES to their folder")
	}
	w := open(t)
	require.NoError(t, w.cluster.ApplyFiles(t.Context(), filepath.Join(w.root, "test/e2e/testdata/routers.yaml")))
	w.control("alb", "apisix", "smi")
	t.Run("", func(t *testing.T) { // returns when all of them have ended
		for name, e := range upstream {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w.play(t, "upstream-"+name, folder, e)
			})
		}
	})
}

func (w *world) play(t *testing.T, ns, folder string, e example) {
	require.NoError(t, w.cluster.Apply(t.Context(), fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s}}`, ns)))
	for _, file := range e.files {
		w.applyIn(ns, filepath.Join(folder, file))
	}
	get := func(of schema.GroupVersionResource, name string) map[string]any {
		o, err := w.client.Resource(of).Namespace(ns).Get(t.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		require.NoError(t, err)

		return o.Object
	}
	patch := func(patch string, subresources ...string) {
		_, err := w.client.Resource(rollouts).Namespace(ns).Patch(t.Context(), e.rollout, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, subresources...)
		require.NoError(t, err)
	}
	var shown []string
	says := false
	until := func(what string, reached func(ro map[string]any) bool) {
		t.Helper()
		var ro map[string]any
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if ro = get(rollouts, e.rollout); reached(ro) {
				return
			}
			if at := weightsIn(ro); at != "" && (len(shown) == 0 || shown[len(shown)-1] != at) {
				shown = append(shown, at)
			}
			if pauses, _, _ := unstructured.NestedSlice(ro, "status", "pauseConditions"); len(pauses) > 0 {
				says = says || e.says != "" && assert.Contains(t, fmt.Sprint(get(e.object, e.name)), e.says)
				patch(`{"status":{"pauseConditions":null}}`, "status")
			}
		}
		status, _, _ := unstructured.NestedMap(ro, "status")
		t.Fatalf("not reached within %s: %s\n%v\n%v", patience, what, shown, status)
	}
	until("the first deployment is healthy", healthy)
	first, _, _ := unstructured.NestedString(get(rollouts, e.rollout), "status", "stableRS")
	patch(`{"spec":{"template":{"metadata":{"annotations":{"example.com/update":"1"}}}}}`)
	if last := e.shows[len(e.shows)-1]; strings.Contains(last, "+") {
		// An experiment without a duration and analyses goes on until a person
		// ends it: that is the end of these examples.
		until("the experiment has its weight", func(ro map[string]any) bool { return weightsIn(ro) == last })
		assert.Contains(t, shown, e.shows[0])

		return
	}
	until("the update is healthy", func(ro map[string]any) bool {
		stable, _, _ := unstructured.NestedString(ro, "status", "stableRS")

		return healthy(ro) && stable != first && weightsIn(ro) == "0"
	})
	rest := e.shows
	for _, at := range shown {
		if len(rest) > 0 && at == rest[0] {
			rest = rest[1:]
		}
	}
	assert.Empty(t, rest, "of %v, only these were seen: %v", e.shows, shown)
	assert.True(t, slices.Contains(shown, "100"), "%v", shown)
	if e.says != "" {
		assert.True(t, says)
		assert.Nil(t, get(e.object, e.name), "the header route is gone")
	} else {
		assert.NotNil(t, get(e.object, e.name))
	}
}

// weightsIn are the acknowledged weights: of the canary, and of experiments.
func weightsIn(ro map[string]any) string {
	canary, ok, _ := unstructured.NestedInt64(ro, "status", "canary", "weights", "canary", "weight")
	if !ok {
		return ""
	}
	text := fmt.Sprint(canary)
	more, _, _ := unstructured.NestedSlice(ro, "status", "canary", "weights", "additional")
	for _, one := range more {
		d, _ := one.(map[string]any)
		text += fmt.Sprintf("+%v", d["weight"])
	}

	return text
}
