package watch

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/demo/internal/measure"
)

func weighted(revision string, stable, canary v1alpha1.WeightDestination, verified *bool, route Route) State {
	ro := &v1alpha1.Rollout{}
	ro.Status.CurrentPodHash = revision
	ro.Status.Canary.Weights = &v1alpha1.TrafficWeights{Stable: stable, Canary: canary, Verified: verified}
	return State{Rollout: ro, Route: route}
}

func TestSplit(t *testing.T) {
	yes, no := true, false
	to := func(hash string, weight int32) v1alpha1.WeightDestination {
		return v1alpha1.WeightDestination{PodTemplateHash: hash, Weight: weight}
	}
	cases := map[string]struct {
		state State
		want  measure.Split
	}{
		"verified":       {weighted("new", to("old", 90), to("new", 10), &yes, Route{true, 90, 10}), measure.Split{Revision: "new", Asked: 10, Verified: true}},
		"not verified":   {weighted("new", to("old", 90), to("new", 10), &no, Route{true, 90, 10}), measure.Split{Revision: "new", Asked: 10}},
		"nobody can say": {weighted("new", to("old", 90), to("new", 10), nil, Route{true, 90, 10}), measure.Split{Revision: "new", Asked: 10}},
		"route is ahead": {weighted("new", to("old", 90), to("new", 10), &yes, Route{true, 75, 25}), measure.Split{Revision: "new", Asked: 10}},
		"route is gone":  {weighted("new", to("old", 90), to("new", 10), &yes, Route{}), measure.Split{Revision: "new", Asked: 10}},
		"other total":    {weighted("new", to("old", 900), to("new", 100), &yes, Route{true, 900, 100}), measure.Split{Revision: "new", Asked: 10, Verified: true}},
		"promoted":       {weighted("new", to("new", 100), to("new", 0), &yes, Route{true, 100, 0}), measure.Split{Revision: "new", Asked: 100, Verified: true}},
		"aborted":        {weighted("new", to("old", 100), to("new", 0), &yes, Route{true, 100, 0}), measure.Split{Revision: "new", Asked: 0, Verified: true}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			traffic, ok := c.state.traffic()
			require.True(t, ok)
			assert.Equal(t, c.want, traffic.split())
		})
	}
	_, ok := State{Rollout: &v1alpha1.Rollout{}}.traffic()
	assert.False(t, ok, "no weights yet")
}

func TestRouteWeights(t *testing.T) {
	got, err := routeWeights([]byte(`{"spec":{"rules":[{"backendRefs":[{"name":"canary","weight":0},{"name":"stable"},{"name":"x","weight":7}]}]}}`), "stable", "canary")
	require.NoError(t, err)
	assert.Equal(t, Route{Found: true, Stable: 1, Canary: 0}, got)

	got, err = routeWeights([]byte(`{"spec":{}}`), "stable", "canary")
	require.NoError(t, err)
	assert.False(t, got.Found)
}

func object(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	require.NoError(t, yaml.Unmarshal([]byte(manifest), &o.Object))
	return o
}

const (
	rolloutManifest = `
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: app, namespace: demo}
spec: {}
status:
  currentPodHash: new
  canary: {weights: {verified: false, canary: {weight: 10, podTemplateHash: new}, stable: {weight: 90, podTemplateHash: old}}}`
	routeManifest = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app, namespace: demo}
spec: {rules: [{backendRefs: [{name: app-stable, weight: 90}, {name: app-canary, weight: 10}]}]}`
)

func startFeed(t *testing.T, objects ...runtime.Object) (*Feed, *fake.FakeDynamicClient) {
	t.Helper()
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		Rollouts: "RolloutList", HTTPRoutes: "HTTPRouteList", ReplicaSets: "ReplicaSetList", AnalysisRuns: "AnalysisRunList",
	}, objects...)
	began := time.Now()
	feed := New(Config{
		Client: client, Namespace: "demo", Rollout: "app", Route: "app",
		StableService: "app-stable", CanaryService: "app-canary",
		Clock: func() time.Duration { return time.Since(began) },
	})
	require.NoError(t, feed.Start(t.Context()))
	return feed, client
}

func TestFeedRecordsASplitPerWrite(t *testing.T) {
	ctx := t.Context()
	rollout := object(t, rolloutManifest)
	feed, client := startFeed(t, rollout, object(t, routeManifest))
	_, err := feed.Await(ctx, "both objects", func(s State) bool { return s.Rollout != nil && s.Route.Found })
	require.NoError(t, err)
	before := len(feed.Splits())

	set := func(value any, path ...string) {
		require.NoError(t, unstructured.SetNestedField(rollout.Object, value, path...))
		_, err := client.Resource(Rollouts).Namespace("demo").Update(ctx, rollout, metav1.UpdateOptions{})
		require.NoError(t, err)
	}
	set("a message", "status", "message")
	set(true, "status", "canary", "weights", "verified")
	_, err = feed.Await(ctx, "the verification", func(s State) bool { return *s.Rollout.Status.Canary.Weights.Verified })
	require.NoError(t, err)

	splits := feed.Splits()
	require.Len(t, splits, before+1, "a message is no write to the traffic")
	last := splits[len(splits)-1]
	assert.Positive(t, last.At)
	last.At = 0
	assert.Equal(t, measure.Split{Revision: "new", Asked: 10, Verified: true}, last)
}

func TestFeedKnowsWhatBelongsToTheRollout(t *testing.T) {
	feed, client := startFeed(t)
	ctx := t.Context()
	for _, name := range []string{"app-b", "app-a"} {
		set := object(t, "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: "+name+", namespace: demo}}")
		_, err := client.Resource(ReplicaSets).Namespace("demo").Create(ctx, set, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	state, err := feed.Await(ctx, "two sets", func(s State) bool { return len(s.Sets) == 2 })
	require.NoError(t, err)
	assert.Equal(t, "app-a", state.Sets[0].Name)
	require.NoError(t, client.Resource(ReplicaSets).Namespace("demo").Delete(ctx, "app-a", metav1.DeleteOptions{}))
	_, err = feed.Await(ctx, "one set", func(s State) bool { return len(s.Sets) == 1 })
	require.NoError(t, err)
}

func TestAwaitTellsWhyItEnded(t *testing.T) {
	feed, _ := startFeed(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the controller ended"))
	_, err := feed.Await(ctx, "phase Healthy", func(State) bool { return false })
	require.EqualError(t, err, "waiting for phase Healthy: the controller ended")
}
