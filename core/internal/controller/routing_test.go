package controller

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

func desire(router rollout.Router, weight int32) rollout.RouteTraffic {
	return rollout.RouteTraffic{Identity: rollout.Identity{OpID: "route"}, Router: router, Desired: traffic(weight)}
}

func TestWhatHasNotChangedIsNotAskedAgain(t *testing.T) {
	b, ro := newBench("web"), shop(`{"routes":["web"]}`)
	b.world.set("web", func(r *route) { r.Weight, r.Parent = 20, "gateway" })

	first := b.observeOne(ro)
	require.Nil(t, first.Problem)
	assert.Equal(t, "spec.strategy.canary.trafficRouting.plugins[test/router]", first.Path)
	assert.EqualValues(t, 20, first.Observation.Observed[0].Traffic.Weight(rollout.RoleCanary))
	asked := b.calls()
	assert.Equal(t, [3]int{3, 3, 0}, asked, "the config names the route, the route its parent, and then all is seen")

	for range 100 {
		assert.Equal(t, first, b.observeOne(ro))
	}
	assert.Equal(t, asked, b.calls(), "at rest nothing is called")
	assert.Equal(t, 1, b.plugin.starts)

	ro.Status.ObservedGeneration = "1"
	ro.Spec.Replicas = new(int32)
	b.observeOne(ro)
	assert.Equal(t, asked, b.calls(), "nor for what is none of its business")

	b.world.set("web", func(r *route) { r.Weight = 50 })
	assert.EqualValues(t, 50, b.observeOne(ro).Observation.Observed[0].Traffic.Weight(rollout.RoleCanary))
	assert.Equal(t, [3]int{4, 4, 0}, b.calls(), "a changed object: one call each")

	ro.Generation = 2
	b.observeOne(ro)
	assert.Equal(t, [3]int{5, 4, 0}, b.calls(), "a changed spec is validated")

	b.plugin.generation = "2"
	b.observeOne(ro)
	assert.Equal(t, [3]int{8, 7, 0}, b.calls(), "another process starts from nothing")
}

func TestAMissingRouteIsInvalidUntilItAppears(t *testing.T) {
	b, ro := newBench(), shop(`{"routes":["web"]}`)
	missing := b.observeOne(ro)
	require.NotNil(t, missing.Problem)
	assert.Equal(t, rollout.ProblemInvalid, missing.Problem.Class)
	assert.Equal(t, `routes: Route "web" not found`, missing.Problem.Error())
	assert.Equal(t, 20*time.Second, missing.Problem.Retry)
	asked := b.calls()

	b.now = b.now.Add(19 * time.Second)
	assert.Equal(t, missing.Problem, b.observeOne(ro).Problem)
	assert.Equal(t, asked, b.calls(), "remembered")
	b.now = b.now.Add(time.Second)
	b.observeOne(ro)
	assert.NotEqual(t, asked, b.calls(), "asked again after 20 s")

	b.world.set("web", func(*route) {})
	assert.Nil(t, b.observeOne(ro).Problem, "asked again at once when it appears")
}

func TestObjectsThatCannotBeShownAreNamed(t *testing.T) {
	for state, want := range map[rollout.NeedState]rollout.Problem{
		rollout.NeedSyncing:   {Class: rollout.ProblemWaiting, Reason: "WaitingForPlugin", Message: "why", Retry: 5 * time.Second},
		rollout.NeedForbidden: {Class: rollout.ProblemRefused, Reason: "PluginRefused", Message: "why"},
		rollout.NeedNotServed: {Class: rollout.ProblemRefused, Reason: "PluginRefused", Message: "why"},
		rollout.NeedDenied:    {Class: rollout.ProblemRefused, Reason: "PluginRefused", Message: "why"},
	} {
		t.Run(string(state), func(t *testing.T) {
			b, ro := newBench("web", "api"), shop(`{"routes":["api","web"]}`)
			b.world.wrong["web"] = rollout.NeedResult{State: state, Message: "why"}
			got := b.observeOne(ro)
			require.NotNil(t, got.Problem)
			assert.Equal(t, want, *got.Problem)
			assert.Equal(t, [3]int{1, 1, 0}, b.calls(), "a plugin is not shown half of what it needs")
			assert.False(t, got.Known())

			delete(b.world.wrong, "web")
			assert.Nil(t, b.observeOne(ro).Problem)
		})
	}
}

func TestAPluginThatIsNotThere(t *testing.T) {
	b, ro := newBench("web"), shop(`{"routes":["web"]}`)
	ro.Spec.Strategy.Canary.TrafficRouting.Nginx = &v1alpha1.NginxTrafficRouting{StableIngress: "web"}
	routers := b.ObserveAll(context.Background(), ro)
	require.Len(t, routers, 2)
	assert.Equal(t, "nginx is not installed", routers[0].Problem.Message)
	assert.Nil(t, routers[1].Problem, "one router's trouble is its own")

	asked := b.calls()
	b.plugin.down = &rollout.Problem{Class: rollout.ProblemUnavailable, Reason: "PluginUnavailable", Message: "crashed"}
	assert.Equal(t, "crashed", b.ObserveAll(context.Background(), ro)[1].Problem.Message, "a memory is not an answer")
	b.plugin.down = nil
	assert.Nil(t, b.ObserveAll(context.Background(), ro)[1].Problem)
	assert.Equal(t, asked, b.calls(), "the same process still knows")
}

func TestAnInvalidSpecStillShowsTheTraffic(t *testing.T) {
	b, ro := newBench("web"), shop(`{"routes":["web"]}`)
	b.plugin.invalid = &rollout.Problem{Class: rollout.ProblemInvalid, Path: "steps", Message: "no mirrors here"}
	got := b.observeOne(ro)
	assert.Equal(t, "steps: no mirrors here", got.Problem.Error())
	assert.Len(t, got.Observation.Observed, 1)
}

func TestARouterAsksToBeAskedAgain(t *testing.T) {
	b, ro := newBench("web"), shop(`{"routes":["web"]}`)
	b.plugin.recheck = time.Minute
	b.observeOne(ro)
	asked := b.plugin.observations
	b.now = b.now.Add(59 * time.Second)
	b.observeOne(ro)
	assert.Equal(t, asked, b.plugin.observations)
	b.now = b.now.Add(time.Second)
	b.observeOne(ro)
	assert.Equal(t, asked+1, b.plugin.observations)
}

func TestAPluginThatNeverHasEnoughIsRefused(t *testing.T) {
	b, ro := newBench("web"), shop(`{"routes":["web"]}`)
	b.plugin.restless = true
	got := b.observeOne(ro)
	require.NotNil(t, got.Problem)
	assert.Equal(t, rollout.ProblemRefused, got.Problem.Class)
	assert.Contains(t, got.Problem.Message, "plugin test/router asked for other objects in each of 4 answers")
}

func TestEachIntentIsAnOperationOfItsOwn(t *testing.T) {
	ro := shop(`{"routes":["web"]}`)
	asked := func(weight int32, intended time.Time) string {
		b, ro := newBench("web"), ro.DeepCopy()
		since := metav1.NewTime(intended)
		ro.Status.Canary.Routers = []v1alpha1.RouterStatus{{Plugin: "test/router", Config: json.RawMessage(`{"routes":["web"]}`), Since: &since}}
		require.NoError(t, b.routed(ro, desire(b.observeOne(ro), weight)))
		return b.plugin.lastRouted.OperationID
	}
	now := time.Unix(1_700_000_000, 0)
	first := asked(10, now)
	assert.Contains(t, first, string(ro.UID))
	assert.Equal(t, first, asked(10, now), "the same again: nobody knows what came of it")
	assert.NotEqual(t, first, asked(20, now.Add(time.Second)))
	assert.NotEqual(t, first, asked(10, now.Add(time.Minute)), "back at 10 after something else")
}

func TestRoutingWritesWhatWasObserved(t *testing.T) {
	b, ro := newBench("web"), shop(`{"routes":["web"]}`)
	observed := b.observeOne(ro)
	require.NoError(t, b.routed(ro, desire(observed, 10)))
	assert.EqualValues(t, 10, b.world.routes["web"].Weight)
	assert.Equal(t, b.plugin.lastObserved.Inputs, b.plugin.lastRouted.Inputs, "with exactly the inputs of the observation")
	assert.Equal(t, "stable", b.plugin.lastRouted.Target.StableService)

	err := b.routed(ro, desire(observed, 20))
	assert.True(t, apierrors.IsConflict(err), "the observation is of before the write: %v", err)
	assert.ErrorContains(t, err, "objects of router test/router have changed since they were observed")
	assert.Equal(t, 1, b.plugin.routes, "the plugin is not even asked")

	observed = b.observeOne(ro)
	b.plugin.generation = "2"
	assert.True(t, apierrors.IsConflict(b.routed(ro, desire(observed, 20))), "a plugin that was replaced has observed nothing")

	observed = b.observeOne(ro)
	require.NoError(t, b.routed(ro, desire(observed, 20)))
	assert.EqualValues(t, 20, b.world.routes["web"].Weight)
}

func TestRoutingThatHasToSeeMoreIsObservedAgain(t *testing.T) {
	b, ro := newBench("web", "extra"), shop(`{"routes":["web"]}`)
	b.plugin.more = []string{"extra"}
	observed := b.observeOne(ro)
	err := b.routed(ro, desire(observed, 10))
	assert.True(t, apierrors.IsConflict(err), "%v", err)
	assert.Zero(t, b.world.applied, "writes computed from half the picture are ignored")

	observed = b.observeOne(ro)
	require.NoError(t, b.routed(ro, desire(observed, 10)))
	assert.EqualValues(t, 10, b.world.routes["web"].Weight)
	asked := b.calls()
	b.observeOne(ro)
	b.observeOne(ro)
	assert.Equal(t, asked[1]+1, b.plugin.observations, "and then there is peace")
}

func TestARouterThatCannotObserveIsOnlyRouted(t *testing.T) {
	b, ro := newBench(), shop(`{}`)
	b.plugin.able = rollout.Capabilities{ExternalEffects: true}
	observed := b.observeOne(ro)
	require.Nil(t, observed.Problem)
	assert.Empty(t, observed.Observation.Observed)
	require.NoError(t, b.routed(ro, desire(observed, 10)))
	assert.Zero(t, b.plugin.observations)
	assert.Equal(t, 1, b.plugin.routes)
}

func TestHeldObjectsAreAlwaysShown(t *testing.T) {
	b, ro := newBench("web", "old"), shop(`{"routes":["web"]}`)
	ro.Status.Canary.Routers = []v1alpha1.RouterStatus{{Plugin: "test/router", Holds: []v1alpha1.RouterHold{hold("web", "a"), hold("old", "a"), hold("old", "b")}}}
	require.Nil(t, b.observeOne(ro).Problem)
	shown := map[string]bool{}
	for _, in := range b.plugin.lastObserved.Inputs {
		for _, object := range in.Objects {
			assert.NotContains(t, shown, in.Need.Name, "once each")
			shown[in.Need.Name] = object.Held
		}
	}
	assert.Equal(t, map[string]bool{"web": true, "old": true}, shown)
	asked := b.calls()
	require.Nil(t, b.observeOne(ro).Problem)
	assert.Equal(t, asked, b.calls())

	b.world.wrong["old"] = rollout.NeedResult{State: rollout.NeedNotServed}
	assert.Nil(t, b.observeOne(ro).Problem, "what is not served cannot be held")
	b.world.wrong["old"] = rollout.NeedResult{State: rollout.NeedSyncing}
	assert.NotNil(t, b.observeOne(ro).Problem)

	b, ro.Status.Canary.Routers[0].Holds = newBench("web", "old"), []v1alpha1.RouterHold{hold("old", "a")}
	ro.Spec.Strategy.Canary.TrafficRouting.Plugins["test/router"] = []byte(`{"all":true}`)
	require.Nil(t, b.observeOne(ro).Problem)
	require.Len(t, b.plugin.lastObserved.Inputs, 1, "the selector shows it already")
	assert.True(t, b.plugin.lastObserved.Inputs[0].Objects[0].Held)
	assert.False(t, b.plugin.lastObserved.Inputs[0].Objects[1].Held)
}

func TestARouterThatLeftTheSpecIsReleasedAsItWas(t *testing.T) {
	b, ro := newBench("web"), shop(`{"routes":["web"]}`)
	b.world.set("web", func(r *route) { r.Weight = 30 })
	ro.Spec.Strategy = v1alpha1.RolloutStrategy{BlueGreen: &v1alpha1.BlueGreenStrategy{ActiveService: "active"}}
	ro.Status.Canary.Routers = []v1alpha1.RouterStatus{{
		Plugin: "test/router", Config: []byte(`{"routes":["web"]}`), ManagedRoutes: []string{"m"}, Holds: []v1alpha1.RouterHold{hold("web", "a")},
		Intended: &v1alpha1.TrafficWeights{Stable: v1alpha1.WeightDestination{ServiceName: "stable"}, Canary: v1alpha1.WeightDestination{ServiceName: "canary"}},
	}}
	observed := b.observeOne(ro)
	require.Nil(t, observed.Problem)
	assert.True(t, observed.Releasing)
	assert.Zero(t, b.plugin.validations, "nobody can mend a stored config")
	assert.Equal(t, "canary", b.plugin.lastObserved.Target.CanaryService)
	assert.Equal(t, []string{"m"}, b.plugin.lastObserved.ManagedNames)

	release := rollout.ReleaseTraffic{Identity: rollout.Identity{OpID: "release"}, Router: observed, Release: rollout.Release{TotalWeight: 100}}
	require.NoError(t, b.Release(context.Background(), ro, release))
	assert.Zero(t, b.world.routes["web"].Weight)

	ro.Status.Canary.Routers = nil
	assert.True(t, apierrors.IsConflict(b.Release(context.Background(), ro, release)), "released already")
	assert.Empty(t, b.ObserveAll(context.Background(), ro))
	assert.Empty(t, b.world.needed, "nothing is watched for it any more")
	assert.Empty(t, b.memos)
}

func TestNothingIsRememberedOfWhatIsGone(t *testing.T) {
	b, ro := newBench("web", "api"), shop(`{"routes":["web"]}`)
	b.observeOne(ro)
	require.Len(t, b.world.needed, 1)
	ro.Spec.Strategy.Canary.TrafficRouting.Plugins["test/router"] = []byte(`{"routes":["api"]}`)
	b.observeOne(ro)
	require.Len(t, b.world.needed, 1, "an edited block is another router")
	for subscriber, names := range b.world.needed {
		assert.Equal(t, []string{"api"}, names)
		kind, who, ok := ParseSubscriber(subscriber)
		assert.True(t, ok)
		assert.Equal(t, "Rollout", kind)
		assert.Equal(t, key(ro), who)
	}

	asked := b.calls()
	ro.UID = "uid-of-another"
	b.observeOne(ro)
	assert.NotEqual(t, asked, b.calls(), "a namesake starts anew")

	b.Forget(key(ro))
	b.Forget(types.NamespacedName{Name: "nobody"})
	assert.Empty(t, b.world.needed)
	assert.Empty(t, b.memos)
	_, _, ok := ParseSubscriber("something/else")
	assert.False(t, ok)
}

// What a router warns of stops nothing, and is known as long as it is true.
func TestARouterWarns(t *testing.T) {
	b, ro := newBench("web"), shop(`{"routes":["web"]}`)
	b.plugin.warns = "old is called new"
	for range 2 {
		router := b.observeOne(ro)
		require.Nil(t, router.Problem)
		assert.Equal(t, "old is called new", router.Remark)
	}
	b.plugin.warns, b.plugin.generation = "", "2"
	assert.Empty(t, b.observeOne(ro).Remark)

	b.plugin.warns, b.plugin.invalid, b.plugin.generation = "old is called new", &rollout.Problem{Class: rollout.ProblemInvalid, Message: "no"}, "3"
	assert.Empty(t, b.observeOne(ro).Remark, "a config that is wrong has worse")
}
