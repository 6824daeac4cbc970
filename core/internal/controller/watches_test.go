package controller

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/observe"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// shelf is a cache of Rollouts with the indexes by which events find them.
func shelf(t *testing.T, rollouts ...client.Object) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(rollouts...).
		WithIndex(&v1alpha1.Rollout{}, serviceIndex, func(o client.Object) []string { return rollout.ServiceNames(o.(*v1alpha1.Rollout)) }).
		WithIndex(&v1alpha1.Rollout{}, templateIndex, func(o client.Object) []string { return templateKeys(o.(*v1alpha1.Rollout)) }).
		WithIndex(&v1alpha1.Rollout{}, claimIndex, claimKeys).
		WithIndex(&v1alpha1.Rollout{}, conflictIndex, conflictKey).
		Build()
}

// served is a Rollout that names Services.
func served(name, stable, canary string) *v1alpha1.Rollout {
	ro := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{StableService: stable, CanaryService: canary}
	return ro
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

func newQueue(t *testing.T) queue {
	t.Helper()
	q := workqueue.NewTypedRateLimitingQueue(retries())
	t.Cleanup(q.ShutDown)
	return q
}

// queued are the Rollouts that wait for a pass.
func queued(q queue) []string {
	out := []string{}
	for q.Len() > 0 {
		req, _ := q.Get()
		q.Done(req)
		out = append(out, req.Namespace+"/"+req.Name)
	}
	return out
}

// A Rollout was refused because another one manages its Service. Nothing of its
// own changes when the other one lets go.
func TestHeirsOfAServiceAreWoken(t *testing.T) {
	heir, stranger := served("heir", "web", "web-canary"), served("stranger", "api", "api-canary")
	elsewhere := served("elsewhere", "web", "web-canary")
	elsewhere.Namespace = "other"
	handler := rivals(shelf(t, heir, stranger, elsewhere))
	for name, happens := range map[string]func(queue){
		"it names another one": func(q queue) {
			handler.Update(t.Context(), event.UpdateEvent{ObjectOld: served("owner", "web", "c"), ObjectNew: served("owner", "new", "c")}, q)
		},
		"it is deleted": func(q queue) {
			handler.Delete(t.Context(), event.DeleteEvent{Object: served("owner", "web", "c")}, q)
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(t)
			happens(q)
			assert.Equal(t, []string{"shop/heir"}, queued(q))
		})
	}
	q := newQueue(t)
	handler.Update(t.Context(), event.UpdateEvent{ObjectOld: served("owner", "web", "c"), ObjectNew: served("owner", "web", "c")}, q)
	assert.Empty(t, queued(q), "what did not change wakes nobody")
}

// A claim that is given up decides for those that wait for it.
func TestRivalsForAClaimAreWoken(t *testing.T) {
	claims := func(name string) *v1alpha1.Rollout {
		ro := served(name, name+"-stable", name+"-canary")
		ro.Status.Canary.Routers = []v1alpha1.RouterStatus{{Plugin: "r", Holds: []v1alpha1.RouterHold{{Object: "Route/shop/web", Key: "a"}}}}
		return ro
	}
	waiting := served("waiting", "w-stable", "w-canary")
	waiting.Status.Conditions = []v1alpha1.RolloutCondition{{Type: v1alpha1.ConditionBlocked, Reason: string(rollout.HoldRouteConflict)}}
	handler, q := rivals(shelf(t, waiting, served("stranger", "s", "c"))), newQueue(t)
	handler.Delete(t.Context(), event.DeleteEvent{Object: claims("owner")}, q)
	assert.Equal(t, []string{"shop/waiting"}, queued(q))
}

// Templates nest, at any depth, in templates that the Rollout does not name: a
// change of any of them wakes every Rollout that analyses.
func TestNestedTemplatesWakeTheRolloutsThatAnalyse(t *testing.T) {
	analyses := served("analyses", "a", "b")
	analyses.Spec.Strategy.Canary.Steps = []v1alpha1.CanaryStep{{Analysis: &v1alpha1.RolloutAnalysis{
		Templates: []v1alpha1.AnalysisTemplateRef{{TemplateName: "outer"}}}}}
	handler := naming(shelf(t, analyses, served("plain", "c", "d")), templateIndex, func(client.Object) string { return anyTemplate })
	inner := &v1alpha1.AnalysisTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "inner"}}
	cluster := &v1alpha1.ClusterAnalysisTemplate{ObjectMeta: metav1.ObjectMeta{Name: "everywhere"}}
	for _, template := range []client.Object{inner, cluster} {
		q := newQueue(t)
		handler.Update(t.Context(), event.UpdateEvent{ObjectOld: template, ObjectNew: template}, q)
		assert.Equal(t, []string{"shop/analyses"}, queued(q), template.GetName())
	}
	q := newQueue(t)
	inner.Namespace = "other"
	handler.Create(t.Context(), event.CreateEvent{Object: inner}, q)
	assert.Empty(t, queued(q), "templates of another namespace are nobody's here")
}

// What fails is tried again after a second, then up to 20 s apart, and not
// before a plugin asks for it; a success starts anew.
func TestRetriesArePaced(t *testing.T) {
	r := &Rollouts{Retries: Retries()}
	req := ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}}
	refused := errors.New("forbidden")
	var got []time.Duration
	for range 7 {
		got = append(got, r.retryAfter(req, refused))
	}
	second := time.Second
	assert.Equal(t, []time.Duration{second, 2 * second, 4 * second, 8 * second, 16 * second, 20 * second, 20 * second}, got)
	other := ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "other"}}
	assert.Equal(t, second, r.retryAfter(other, refused), "one that fails does not slow another")
	r.Retries.Forget(req)
	busy := fmt.Errorf("route: %w", &rollout.Problem{Class: rollout.ProblemWaiting, Retry: time.Minute})
	assert.Equal(t, time.Minute, r.retryAfter(req, busy))
}

// A retry never moves a planned wake: a timed pause lasts as long as it says,
// whatever else fails meanwhile.
func TestARetryKeepsThePlannedWake(t *testing.T) {
	planned := ctrl.Result{RequeueAfter: 3 * time.Second}
	assert.Equal(t, planned, soonest(planned, 20*time.Second))
	assert.Equal(t, time.Second, soonest(planned, time.Second).RequeueAfter)
	assert.Equal(t, time.Second, soonest(ctrl.Result{}, time.Second).RequeueAfter)
}

// The change of a ReplicaSet's spec that we made ourselves is answered by its
// controller; until then nothing is new. Everything else is.
func TestOurOwnChangeOfAReplicaSetAsksForNoPass(t *testing.T) {
	written := &observe.Written{}
	at := func(generation int64, version string) *appsv1.ReplicaSet {
		return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{UID: "u", Generation: generation, ResourceVersion: version}}
	}
	written.Wrote("ReplicaSet", at(2, "20"))
	for name, tc := range map[string]struct {
		was, is *appsv1.ReplicaSet
		passes  bool
	}{
		"our change of its spec":         {at(1, "10"), at(2, "20"), false},
		"somebody else's":                {at(1, "10"), at(2, "15"), true},
		"our change of its annotations":  {at(2, "10"), at(2, "20"), true},
		"the answer":                     {at(2, "20"), at(2, "21"), true},
		"somebody else's before it came": {at(1, "10"), at(3, "22"), true},
	} {
		assert.Equal(t, tc.passes, answered(written).Update(event.UpdateEvent{ObjectOld: tc.was, ObjectNew: tc.is}), name)
	}
	assert.False(t, written.Behind("ReplicaSet", at(2, "20")), "a pass has seen it")
	assert.True(t, answered(written).Update(event.UpdateEvent{ObjectOld: at(1, "10"), ObjectNew: at(2, "20")}))
}

// A status that may wait is kept back for as long as record says, counted from
// the first pass that kept it.
func TestStatusesAreKeptFromTheFirstPass(t *testing.T) {
	var k kept
	key, start := types.NamespacedName{Namespace: "shop", Name: "web"}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	first := k.until(key, start)
	assert.Equal(t, first, k.until(key, start.Add(500*time.Millisecond)))
	k.forget(key)
	assert.True(t, k.until(key, start.Add(time.Minute)).After(first))
	assert.Len(t, k.since, 1)
}
