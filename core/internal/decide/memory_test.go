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

// longAgo is an entry that was asked for this at the canary's subset, and whose
// settle time has passed.
func longAgo(p *planner, weight int32) v1alpha1.RouterStatus {
	since := metav1.NewTime(p.s.Now.Add(-time.Hour))
	return v1alpha1.RouterStatus{Plugin: "r", Phase: v1alpha1.RouterActive, Since: &since, SettledSince: &since, Intended: &v1alpha1.TrafficWeights{
		Canary: v1alpha1.WeightDestination{PodTemplateHash: "canary", Weight: weight},
		Stable: v1alpha1.WeightDestination{PodTemplateHash: "stable", Weight: p.total - weight}}}
}

func onlyOp[T rollout.Op](t *testing.T, p *planner) {
	t.Helper()
	require.Len(t, p.plan.Ops, 1)
	assert.IsType(t, *new(T), p.plan.Ops[0])
}

// A plugin whose block names something else now has been asked for nothing there:
// neither what it was asked for in the other one nor its settle time counts.
func TestAnotherBlockHasAMemoryOfItsOwn(t *testing.T) {
	p := halfway("stable", "canary")
	r := &p.s.Routers[0]
	r.Capabilities.Observe, r.Observation.Settle = true, 3*time.Second
	entry := longAgo(p, 0)
	entry.Config = json.RawMessage(`{"route":"a"}`)
	p.ro.Status.Canary.Routers = []v1alpha1.RouterStatus{entry}
	r.Config = entry.Config
	assert.True(t, p.converged(*r))
	assert.True(t, p.meant(*r, rollout.RoleCanary, "canary", 0))
	r.Config = json.RawMessage(`{"route":"b"}`)
	assert.False(t, p.converged(*r))
	assert.False(t, p.meant(*r, rollout.RoleCanary, "canary", 0))
	now := p.entry(*r, &entry)
	assert.Nil(t, now.Intended)
	assert.Nil(t, now.SettledSince)
}

// Somebody points the subsets elsewhere after status has said that the weight goes
// back: pointing them again comes with a status that says what they carry. A process
// that dies after the write would take the weight for one that clients wait for.
func TestStatusIsRightBeforeASubsetIsPointed(t *testing.T) {
	p := halfway("", "")
	r := &p.s.Routers[0]
	r.Capabilities.Observe = true
	entry := longAgo(p, 0)
	entry.SettledSince = nil
	p.ro.Status.Canary.Routers = []v1alpha1.RouterStatus{entry}
	r.Observation.Observed[0].Traffic.Destinations[0].Weight, r.Observation.Observed[0].Traffic.Destinations[1].Weight = 0, 100
	p.s.Services = nil
	p.remember()
	p.route(*r, 100)
	onlyOp[rollout.RecordIntent](t, p)

	p.ro.Status.Canary.Routers = p.plan.Routers
	p.plan = &rollout.Plan{}
	p.remember()
	p.route(*r, 100)
	onlyOp[rollout.RouteTraffic](t, p)
}

// A router is given back when status counts no settle time of the traffic before,
// and no longer says where its subsets are meant to point.
func TestStatusForgetsARouterBeforeItIsGivenBack(t *testing.T) {
	p := halfway("stable", "canary")
	r := &p.s.Routers[0]
	r.Releasing, r.Observation.Settle = true, 3*time.Second
	entry := longAgo(p, 0)
	entry.Phase = v1alpha1.RouterReleasing
	p.ro.Status.Canary.Routers = []v1alpha1.RouterStatus{entry}
	p.remember()
	p.release()
	onlyOp[rollout.RecordIntent](t, p)
	assert.Nil(t, p.plan.Routers[0].SettledSince)
	assert.Nil(t, rollout.Asked(p.plan.Routers[0]))

	p.ro.Status.Canary.Routers = p.plan.Routers
	p.plan = &rollout.Plan{}
	p.remember()
	p.release()
	onlyOp[rollout.ReleaseTraffic](t, p)
}

// A name for both roles, or one name, is nothing to split between: while it stands,
// nothing is moved and nothing is released.
func TestNothingIsSplitBetweenANameAndItself(t *testing.T) {
	for canary, unnamed := range map[string]bool{"c": false, "s": true, "": true} {
		p := canaryOf(4, count{4, 4}, count{4, 4}, routing, at(weight(50))).carry(50)
		p.canary.CanaryService = canary
		left := p.s.Routers[0]
		left.Plugin, left.Releasing = "left", true
		p.s.Routers = append(p.s.Routers, left)
		p.ro.Status.Canary.Weights = nil
		p.ro.Status.Canary.Routers = []v1alpha1.RouterStatus{{Plugin: "r", Phase: v1alpha1.RouterActive}, {Plugin: "left", Phase: v1alpha1.RouterReleasing}}
		p.routers()
		assert.Equal(t, []bool{unnamed, unnamed, unnamed}, []bool{p.unnamed(), p.blind, p.veto}, canary)
		p.release()
		assert.Len(t, p.plan.Ops, map[bool]int{false: 1}[unnamed], canary)
	}
}

// A router whose block names what has been deleted has nothing left to give back.
func TestNothingIsLeftOfWhatHasBeenDeleted(t *testing.T) {
	for class, released := range map[rollout.ProblemClass]bool{rollout.ProblemInvalid: true, rollout.ProblemUnavailable: false} {
		p := canaryOf(4, count{4, 4}, count{4, 4}, routing, at(weight(50))).carry(50)
		p.s.Routers[0].Problem = &rollout.Problem{Class: class}
		assert.Equal(t, released, p.released(p.s.Routers[0]), class)
	}
}

// What a router that cannot be observed was asked for and has not answered stays
// known, routes included: a process that died after its call did not record it.
func TestWhatWasAskedWithoutAnAnswerStaysKnown(t *testing.T) {
	p := canaryOf(4, count{4, 4}, count{4, 4}, routing, at(weight(50))).carry(50)
	asked := &v1alpha1.TrafficWeights{Canary: v1alpha1.WeightDestination{Weight: 20}}
	p.plan.Routers = []v1alpha1.RouterStatus{{Plugin: "r", Phase: v1alpha1.RouterActive, Intended: asked, IntendedRoutes: []string{"a", "b"}, UnacknowledgedRoutes: []string{"a"}}}
	p.intend(p.s.Routers[0], p.desired(p.s.Routers[0], 50))
	entry := p.remembered(p.s.Routers[0])
	assert.Equal(t, []v1alpha1.TrafficWeights{*asked}, entry.Unacknowledged)
	assert.Equal(t, []string{"a", "b"}, entry.UnacknowledgedRoutes)
	assert.Equal(t, int32(50), entry.Intended.Canary.Weight)

	other := p.s.Routers[0]
	other.Plugin = "other"
	p.intend(other, rollout.Traffic{})
	assert.Len(t, p.plan.Routers, 1, "nothing is noted of one that the plan does not remember")
	assert.False(t, p.overdue(other), "nor is it late")
	assert.False(t, p.givingBack(other))
}

// One Service for both roles cannot be given everything and nothing.
func TestNothingIsGivenBackToOneServiceForBoth(t *testing.T) {
	for name, asked := range map[string]int{"c": 1, "s": 0} {
		p := canaryOf(4, count{4, 4}, count{4, 4}, routing, at(weight(50))).carry(50)
		p.canary.CanaryService = name
		p.s.Routers[0].Releasing = true
		p.ro.Status.Canary.Routers = []v1alpha1.RouterStatus{{Plugin: "r", Phase: v1alpha1.RouterReleasing}}
		p.remember()
		p.release()
		assert.Len(t, p.plan.Ops, asked, name)
	}
}

// The stable subset may return to the stable revision from a superseded one, with
// what it carries, when that has every pod; like the stable Service.
func TestAStrayedStableSubsetReturns(t *testing.T) {
	for available, returns := range map[int32]bool{4: true, 3: false} {
		p := canaryOf(4, count{4, available}, count{4, 4}, routing, at(weight(50))).other(count{2, 2}).carry(0)
		subsetsAt(p, "other", "canary")
		assert.Equal(t, returns, p.unready(p.s.Routers[0], rollout.RoleStable, p.stableRS) == nil, "%d pods", available)
	}
}

// A router that leaves gives everything to the stable name: not while that still
// leads to the revision before the promotion. Without traffic routing it will not
// move for that.
func TestNothingIsGivenBackToANameThatHasYetToMove(t *testing.T) {
	for stable, asked := range map[string]int{"stable": 1, "other": 0} {
		p := canaryOf(4, count{4, 4}, count{4, 4}, routing, at(weight(50))).other(count{4, 4}).carry(100)
		p.s.Services["s"].Spec.Selector[v1alpha1.LabelPodTemplateHash] = stable
		p.s.Services["c"].Spec.Selector[v1alpha1.LabelPodTemplateHash] = "stable"
		left := p.s.Routers[0]
		left.Plugin, left.Releasing = "left", true
		active := canaryOf(4, count{}, count{}, routing).carry(p.due()).s.Routers[0]
		p.s.Routers = []rollout.Router{active, left}
		p.ro.Status.Canary.Routers = []v1alpha1.RouterStatus{{Plugin: "r", Phase: v1alpha1.RouterActive}, {Plugin: "left", Phase: v1alpha1.RouterReleasing}}
		p.remember()
		p.release()
		assert.Len(t, p.plan.Ops, asked, stable)

		p.plan, p.canary.TrafficRouting, p.s.Routers = &rollout.Plan{}, nil, []rollout.Router{left}
		p.remember()
		p.release()
		assert.Len(t, p.plan.Ops, 1, "%s, without traffic routing", stable)
	}
}

// With dynamicStableScale stable has every pod until its name leads there: it comes
// back to no fewer.
func TestStableIsWholeWhileItsNameIsElsewhere(t *testing.T) {
	for name, want := range map[string]int32{"stable": 2, "canary": 4} {
		p := canaryOf(4, count{2, 2}, count{2, 2}, dynamic, at(weight(50))).carry(50)
		p.s.Services["s"].Spec.Selector[v1alpha1.LabelPodTemplateHash] = name
		assert.Equal(t, want, p.stableTarget(), name)
	}
}

// An abort that a retry took back before status told of it leaves no deadline: with
// one, a blue-green revision would be one that returns, which needs no pause.
func TestADeadlineFollowsAnAbortThatStatusTellsOf(t *testing.T) {
	for told, ops := range map[bool]int{true: 1, false: 0} {
		p := canaryOf(4, count{4, 4}, count{2, 2}, routing, at(weight(50)), aborting).carry(0)
		p.s.Services["c"].Spec.Selector[v1alpha1.LabelPodTemplateHash] = "stable"
		if told {
			p.ro.Status.AbortedAt = &metav1.Time{}
		}
		p.drainAborted()
		assert.Len(t, p.plan.Ops, ops, "status tells of it: %t", told)
	}
}

// A subset that has waited for clients, and now waits for pods, goes on having
// waited: else it would begin again every few seconds, with a status each time.
func TestAHeldReturnDoesNotBeginToWaitAgain(t *testing.T) {
	p := canaryOf(4, count{4, 0}, count{4, 4}, routing, at(weight(50))).carry(100)
	subsetsAt(p, "stable", "canary")
	p.s.Now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p.ro.Spec.Paused = true
	r := &p.s.Routers[0]
	r.Capabilities.Observe, r.Observation.Settle = true, 3*time.Second
	p.ro.Status.Canary.Routers = []v1alpha1.RouterStatus{longAgo(p, 100)}
	p.remember()
	p.route(*r, 0)
	assert.Empty(t, p.plan.Ops, "stable has no pods to return to")
	assert.NotNil(t, p.plan.Routers[0].SettledSince)

	r.Observation.Observed[0].Traffic.Destinations[0].Weight, r.Observation.Observed[0].Traffic.Destinations[1].Weight = 10, 90
	p.route(*r, 0)
	assert.Nil(t, p.plan.Routers[0].SettledSince, "somebody edited it")
}

// The deadline of a revision that had returned within its delay is not that of the
// abort which follows: users may have been there since.
func TestADeadlineFromBeforeAnAbortIsDropped(t *testing.T) {
	aborted := time.Date(2026, 1, 1, 0, 10, 0, 0, time.UTC)
	for deadline, keeps := range map[string]bool{"2026-01-01T00:05:00Z": false, "2026-01-01T00:10:29Z": false, "2026-01-01T00:10:30Z": true} {
		p := canaryOf(4, count{4, 4}, count{2, 2}, routing, at(weight(50)), aborting, abortDelay(30))
		p.ro.Status.AbortedAt = &metav1.Time{Time: aborted}
		p.newRS.Annotations = map[string]string{v1alpha1.AnnotationScaleDownDeadline: deadline}
		assert.Equal(t, keeps, p.keepsDeadline(p.newRS), deadline)
	}
}
