package decide

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// halfway is an update at weight 0 behind one router that splits between subsets.
func halfway(stable, canary string) *planner {
	p := canaryOf(4, count{4, 4}, count{4, 4}, routing, at(weight(50))).carry(0)
	subsetsAt(p, stable, canary)
	p.s.Now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return p
}

// A settle time that has passed counts for what the router was asked for. Where
// somebody opens the subsets by hand it begins anew, and the stable one gets
// nothing before clients know where it points.
func TestAnEditOfSubsetsBeginsTheSettleTimeAnew(t *testing.T) {
	p := halfway("stable", "canary")
	long := metav1.NewTime(p.s.Now.Add(-time.Hour))
	p.s.Routers[0].Observation.Settle = 3 * time.Second
	p.ro.Status.Canary.Routers = []v1alpha1.RouterStatus{{Plugin: p.s.Routers[0].Plugin, Phase: v1alpha1.RouterActive,
		Config: p.s.Routers[0].Config, Since: &long, SettledSince: &long, Intended: &v1alpha1.TrafficWeights{
			Canary: v1alpha1.WeightDestination{Weight: 100, PodTemplateHash: "canary"},
			Stable: v1alpha1.WeightDestination{Weight: 0, PodTemplateHash: "stable"}}}}
	give := func(stable, canary string) *rollout.Router {
		r := &p.s.Routers[0]
		r.Observation.Observed = []rollout.Observed{{Traffic: rollout.Traffic{TotalWeight: 100, Destinations: []rollout.Destination{
			{Role: rollout.RoleStable, Hash: stable}, {Role: rollout.RoleCanary, Hash: canary, Weight: 100}}}}}
		return r
	}
	assert.Equal(t, int32(0), p.turning(*give("stable", "canary"), 0), "as it was asked for, long ago")
	p.veto = true // nor may anybody point them where they belong
	r := give("", "")
	assert.Equal(t, p.total, p.turning(*r, 0), "the weight stays where clients are")
	p.remember()
	p.route(*r, p.total)
	p.ro.Status.Canary.Routers = p.plan.Routers
	assert.Equal(t, p.s.Now.Add(time.Second), p.plan.Routers[0].SettledSince.Time)
	assert.Equal(t, p.total, p.turning(*r, 0))
	p.s.Now = p.s.Now.Add(4 * time.Second)
	assert.Equal(t, int32(0), p.turning(*r, 0), "now they know")
}

// A stable subset without pods serves nobody and moves at once; what the
// canary's still carries in some data plane was not meant for the next revision.
func TestOnlyAStableSubsetIsLeftAtOnce(t *testing.T) {
	p := halfway("gone", "gone")
	r := p.s.Routers[0]
	assert.Nil(t, p.unready(r, rollout.RoleCanary, p.newRS), "it has carried nothing for a while")
	r.Observation.Settle = 3 * time.Second // and nothing says that it has passed
	assert.NotNil(t, p.unready(r, rollout.RoleCanary, p.newRS))
	assert.Nil(t, p.unready(r, rollout.RoleStable, p.stableRS))
}

// Where one router splits between subsets and another between Services, status
// says which Services: what is remembered of a router that cannot be observed, and
// whether names were edited, follows from that.
func TestStatusNamesTheServicesBesideSubsets(t *testing.T) {
	p := canaryOf(4, count{4, 4}, count{4, 4}, routing, at(weight(50))).carry(0)
	between := p.s.Routers[0]
	services := p.canary.DeepCopy()
	named := p.s.Services
	observed := rollout.Observed{Traffic: rollout.Traffic{TotalWeight: 100, Destinations: []rollout.Destination{
		{Role: rollout.RoleStable, Hash: "stable", Weight: 100}, {Role: rollout.RoleCanary, Hash: "canary"}}}}
	mesh := rollout.Router{Plugin: "mesh", Observation: rollout.Observation{Convergence: rollout.ConvergenceDone, Observed: []rollout.Observed{observed}}}
	p.canary, p.s.Services, p.s.Routers = services, named, []rollout.Router{mesh, between}
	p.acknowledge(0)
	require.NotNil(t, p.plan.Weights)
	assert.Equal(t, []string{"s", "c"}, []string{p.plan.Weights.Stable.ServiceName, p.plan.Weights.Canary.ServiceName})

	p.canary.PingPong = &v1alpha1.PingPongSpec{PingService: "s", PongService: "c"}
	p.routers()
	assert.Contains(t, p.plan.Invalid, "spec.strategy.canary.pingPong", "Services that take turns and subsets that do not")
	assert.True(t, p.blind)
}

// A block that is removed and comes back while its plugin does not answer is not
// forgotten: it may be removed again.
func TestARouterThatComesBackIsRemembered(t *testing.T) {
	p := halfway("stable", "canary")
	left := v1alpha1.RouterStatus{Plugin: "r", Config: json.RawMessage(`{"route":"a"}`), Phase: v1alpha1.RouterReleasing}
	p.ro.Status.Canary.Routers = []v1alpha1.RouterStatus{left}
	p.s.Routers[0].Config = left.Config
	p.s.Routers[0].Problem = &rollout.Problem{Class: rollout.ProblemWaiting}
	p.remember()
	assert.Equal(t, []v1alpha1.RouterStatus{left}, p.plan.Routers)

	other := v1alpha1.RouterStatus{Plugin: "r", Config: json.RawMessage(`{"route":"b"}`), Phase: v1alpha1.RouterActive}
	p.ro.Status.Canary.Routers = []v1alpha1.RouterStatus{other, left}
	p.remember()
	assert.Equal(t, []v1alpha1.RouterStatus{other, left}, p.plan.Routers, "nor while the block between is not left yet")

	p.s.Routers[0].Config = other.Config
	p.ro.Status.Canary.Routers = []v1alpha1.RouterStatus{other}
	p.remember()
	assert.Equal(t, []v1alpha1.RouterStatus{other}, p.plan.Routers, "and one that never left is there once")
}

// A stable subset that reaches every pod hides no other one that names an older
// revision: the weight stays on the canary's subsets until both have moved.
func TestAnOpenSubsetHidesNoOther(t *testing.T) {
	p := halfway("", "canary")
	p.stable = "canary"
	assert.False(t, p.lagging())
	named := p.s.Routers[0]
	named.Plugin = "mesh"
	named.Observation.Observed = []rollout.Observed{{Traffic: rollout.Traffic{TotalWeight: 100, Destinations: []rollout.Destination{
		{Role: rollout.RoleStable, Hash: "stable"}, {Role: rollout.RoleCanary, Hash: "canary", Weight: 100}}}}}
	p.s.Routers = append(p.s.Routers, named)
	assert.True(t, p.lagging())
	assert.Equal(t, p.total, p.due())
}

// While a subset waits for clients to know where it points, the weight of its
// router stays where it is. Other routers, and other places of this one, are not
// raised to it.
func TestWhatASubsetWaitsForRaisesNoOther(t *testing.T) {
	p := halfway("stable", "canary")
	p.ro.Spec.Paused = true
	waiting := &p.s.Routers[0].Observation
	waiting.Settle = 3 * time.Second
	waiting.Observed[0].Traffic.Destinations[0].Weight, waiting.Observed[0].Traffic.Destinations[1].Weight = 0, 100
	require.Equal(t, []int32{0, 100}, []int32{p.due(), p.turning(p.s.Routers[0], p.due())})
	other := p.s.Routers[0]
	other.Observation.Observed = []rollout.Observed{{Traffic: rollout.Traffic{TotalWeight: 100, Destinations: []rollout.Destination{
		{Role: rollout.RoleStable, Hash: "stable", Weight: 100}, {Role: rollout.RoleCanary, Hash: "canary"}}}}}
	assert.Equal(t, int32(0), p.turning(other, p.due()), "another one has nothing to wait for")
	assert.False(t, p.mayRoute(other, 100))
	assert.True(t, p.mayRoute(p.s.Routers[0], 100))
}

// A weight that somebody edits into a subset, before clients know where it has just
// been pointed, is none that it has carried: it goes away, and the weight of the
// step comes when they know.
func TestAnEditDoesNotOpenASubsetThatHasJustTurned(t *testing.T) {
	for edited, asked := range map[int32]int32{0: 0, 23: 0} {
		p := halfway("stable", "canary")
		r := &p.s.Routers[0].Observation
		r.Settle = 3 * time.Second
		r.Observed[0].Traffic.Destinations[0].Weight, r.Observed[0].Traffic.Destinations[1].Weight = 100-edited, edited
		p.ro.Status.Canary.Routers = []v1alpha1.RouterStatus{{Plugin: "r", Phase: v1alpha1.RouterActive, Since: &metav1.Time{}, Intended: &v1alpha1.TrafficWeights{
			Canary: v1alpha1.WeightDestination{PodTemplateHash: "canary"}, Stable: v1alpha1.WeightDestination{PodTemplateHash: "stable", Weight: 100}}}}
		require.Equal(t, int32(50), p.due())
		assert.Equal(t, asked, p.turning(p.s.Routers[0], p.due()), "%d", edited)
		r.Settle = 0
		assert.Equal(t, int32(50), p.turning(p.s.Routers[0], p.due()), "clients know")
	}
}

// Somebody gives weight by hand to a stable subset that has to carry nothing: it has
// just turned, or still names the revision before a promotion. What the canary's
// names takes it back, if it has the pods; else nothing is raised.
func TestAnEditDoesNotOpenAStableSubsetThatHasToMove(t *testing.T) {
	split := func(r *rollout.Observation, stable, canary string, weights ...int32) {
		r.Observed = nil
		for _, w := range weights {
			r.Observed = append(r.Observed, rollout.Observed{Traffic: rollout.Traffic{TotalWeight: 100, Destinations: []rollout.Destination{
				{Role: rollout.RoleStable, Hash: stable, Weight: 100 - w}, {Role: rollout.RoleCanary, Hash: canary, Weight: w}}}})
		}
	}
	for available, back := range map[int32]bool{4: true, 3: false} {
		p := canaryOf(4, count{4, 4}, count{4, available}, routing, at(weight(50))).carry(0)
		subsetsAt(p, "stable", "canary")
		r := &p.s.Routers[0]
		p.ro.Status.Canary.Routers = []v1alpha1.RouterStatus{longAgo(p, 100)}
		split(&r.Observation, "stable", "canary", 5, 100)
		r.Observation.Settle = 3 * time.Second
		assert.Equal(t, p.due(), p.turning(*r, p.due()), "nothing says that the canary ever had all of it")
		p.ro.Status.Canary.Weights = &v1alpha1.TrafficWeights{Canary: v1alpha1.WeightDestination{Weight: 100, PodTemplateHash: "canary"}}
		require.Equal(t, map[bool]int32{true: 100, false: p.due()}[back], p.turning(*r, p.due()), "it has just turned")
		assert.Equal(t, back, p.mayRoute(*r, 100))

		p = canaryOf(4, count{4, available}, count{4, 2}, routing, at(weight(0))).carry(0)
		subsetsAt(p, "canary", "stable")
		r = &p.s.Routers[0]
		split(&r.Observation, "canary", "stable", 67)
		assert.Equal(t, map[bool]int32{true: 100, false: 0}[back], p.turning(*r, 0), "it has yet to move")
		assert.Equal(t, back, p.mayRoute(*r, p.turning(*r, 0)))
		p.plan.Transition.Kind = rollout.TransitionStep
		assert.False(t, p.mayRoute(*r, 100), "nothing rises in the pass that moves the position")
	}
}

// A stable subset that is pointed at the stable revision in the write that raises it
// reaches the one before for a while: both have the pods.
func TestAReturnNeedsThePodsWhereClientsAreAsWell(t *testing.T) {
	for before, may := range map[int32]bool{4: true, 3: false, 0: true} {
		p := canaryOf(4, count{4, 4}, count{4, 4}, routing, at(weight(50))).other(count{4, before}).carry(0)
		subsetsAt(p, "other", "canary")
		p.s.Routers[0].Observation.Observed[0].Traffic.Destinations[0].Weight, p.s.Routers[0].Observation.Observed[0].Traffic.Destinations[1].Weight = 40, 60
		require.Equal(t, "stable", p.pointing(p.s.Routers[0], rollout.RoleStable))
		assert.Equal(t, may, p.mayReturn(p.s.Routers[0], 0), "%d", before)
		p.s.Routers[0].Releasing = true
		assert.True(t, p.mayReturn(p.s.Routers[0], 0), "one that leaves reaches every pod first")
	}
}

// What a changed block no longer names is given back, also by the plugin that
// goes on; what both name is in use.
func TestSubsetsAreInUseWhereAnotherBlockClaimsThem(t *testing.T) {
	p := halfway("stable", "stable")
	rule := rollout.Claim{Object: "DestinationRule/x/a", Key: "subset=stable"}
	other := rollout.Claim{Object: "DestinationRule/x/b", Key: "subset=stable"}
	p.s.Routers[0].Observation.Claims = []rollout.Claim{rule}
	leaving := p.s.Routers[0]
	leaving.Releasing = true
	assert.True(t, p.gaveBack(leaving))
	leaving.Observation.Claims = []rollout.Claim{other}
	assert.False(t, p.gaveBack(leaving))
}

// A router that leaves gives its stable subset back first: the revision that it
// names may have no pods any more. The weight follows when clients know that.
func TestWeightGoesToAStableSubsetThatReachesSomebody(t *testing.T) {
	for name, tc := range map[string]struct {
		stable  string
		settled bool
		asked   bool
	}{
		"it names a revision":             {"gone", false, true},
		"clients may not know yet":        {"", false, false},
		"clients know":                    {"", true, true},
		"it names one and it has settled": {"gone", true, true},
	} {
		p := halfway(tc.stable, "canary")
		r := &p.s.Routers[0]
		r.Observation.Observed[0].Traffic.Destinations[0].Weight, r.Observation.Observed[0].Traffic.Destinations[1].Weight = 0, 100
		r.Releasing, r.Observation.Settle = true, 3*time.Second
		entry := v1alpha1.RouterStatus{Plugin: "r", Phase: v1alpha1.RouterReleasing}
		if tc.settled {
			since := p.s.Now.Add(-time.Minute)
			entry.SettledSince = &metav1.Time{Time: since}
		}
		p.ro.Status.Canary.Routers = []v1alpha1.RouterStatus{entry}
		p.remember()
		p.release()
		assert.Len(t, p.plan.Ops, map[bool]int{true: 1}[tc.asked], name)
		assert.Len(t, p.plan.Holds, map[bool]int{false: 1}[tc.asked], name)
	}
}

// A pause without pods of the new revision: the Service beside the subsets does
// not keep those of the superseded one either.
func TestTheServiceBesideSubsetsIsNotLeftBehind(t *testing.T) {
	p := canaryOf(4, count{4, 4}, count{}, routing, at(weight(0))).other(count{1, 1}).carry(0)
	named, services := p.canary.DeepCopy(), p.s.Services
	subsetsAt(p, "stable", "stable")
	p.canary.StableService, p.canary.CanaryService, p.s.Services = named.StableService, named.CanaryService, services
	p.s.Services["c"].Spec.Selector[v1alpha1.LabelPodTemplateHash] = "other"
	p.size = map[string]int32{"canary": 0}
	assert.Equal(t, p.stableRS, p.behindName())
	p.size["canary"] = 1
	assert.Equal(t, p.newRS, p.behindName())
	p.size["canary"] = 0
	p.s.Services["c"].Spec.Selector[v1alpha1.LabelPodTemplateHash] = "stable"
	assert.Equal(t, p.newRS, p.behindName(), "everything has gone back")

	late := p.s.Routers[0]
	late.Observation.Observed = []rollout.Observed{{Traffic: rollout.Traffic{TotalWeight: 100, Destinations: []rollout.Destination{
		{Role: rollout.RoleStable, Hash: "stable", Weight: 100}, {Role: rollout.RoleCanary, Hash: "other"}}}}}
	p.s.Routers = append(p.s.Routers, late)
	assert.Equal(t, p.stableRS, p.behindName(), "a second router's subset is still where the first one's was")
}

// Services that have exchanged their names since a router was asked: it is given
// back when everything is at the name that is stable's now.
func TestARouterIsGivenBackToTheNameOfToday(t *testing.T) {
	for stable, back := range map[int32]bool{100: true, 40: false} {
		p := canaryOf(4, count{4, 4}, count{4, 4}, routing, at(weight(100))).carry(0)
		r := p.s.Routers[0]
		r.Releasing = true
		r.Observation.Observed = []rollout.Observed{{Traffic: rollout.Traffic{TotalWeight: 100, Destinations: []rollout.Destination{
			{Role: rollout.RoleCanary, Service: "s", Weight: stable}, {Role: rollout.RoleStable, Service: "c", Weight: 100 - stable}}}}}
		assert.Equal(t, back, p.empty(r), "%d", stable)
	}
}
