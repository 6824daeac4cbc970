package invariant_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/invariant"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// scene is an update from revision "old" to "new" at 50 %, with 4 replicas: all
// pods are there and the Services select what they should.
type scene struct {
	s    *rollout.Snapshot
	plan rollout.Plan
}

func atHalf() *scene {
	four, one := int32(4), int32(1)
	ro := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
	ro.Spec.Replicas = &four
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{StableService: "stable", CanaryService: "canary", TrafficRouting: &v1alpha1.RolloutTrafficRouting{}}
	ro.Status.StableRS, ro.Status.CurrentPodHash, ro.Status.CurrentStepIndex = "old", "new", &one
	s := &rollout.Snapshot{Now: now, Rollout: ro, Services: map[string]*corev1.Service{}}
	sc := &scene{s: s, plan: rollout.Plan{Hash: "new"}}
	sc.pods("old", 4, 4)
	sc.pods("new", 2, 2)
	sc.points("stable", "old")
	sc.points("canary", "new")
	sc.carries(50)
	return sc
}

func (sc *scene) pods(hash string, spec, available int32) {
	for _, rs := range sc.s.ReplicaSets {
		if rollout.Hash(rs) == hash {
			rs.Spec.Replicas, rs.Status.AvailableReplicas = &spec, available
			return
		}
	}
	sc.s.ReplicaSets = append(sc.s.ReplicaSets, &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: hash, Labels: map[string]string{v1alpha1.LabelPodTemplateHash: hash}, Annotations: map[string]string{}},
		Spec:       appsv1.ReplicaSetSpec{Replicas: &spec}, Status: appsv1.ReplicaSetStatus{AvailableReplicas: available}})
}

// leaves lets a router give everything to the stable name while stable follows
// its traffic.
func (sc *scene) leaves() {
	sc.s.Rollout.Spec.Strategy.Canary.DynamicStableScale = true
	sc.plan.Ops = append(sc.plan.Ops, rollout.ReleaseTraffic{Identity: rollout.Identity{OpID: "release"},
		Release: rollout.Release{TotalWeight: 100, StableService: "stable", CanaryService: "canary"}})
}

func (sc *scene) points(service, hash string) {
	sc.s.Services[service] = &corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{v1alpha1.LabelPodTemplateHash: hash}}}
	if hash == "" {
		sc.s.Services[service].Spec.Selector = nil
	}
}

func (sc *scene) carries(canary ...int32) {
	r := rollout.Router{Plugin: "r"}
	for _, w := range canary {
		r.Observation.Observed = append(r.Observation.Observed, rollout.Observed{Traffic: split(w)})
	}
	sc.s.Routers = []rollout.Router{r}
}

func (sc *scene) blind() {
	sc.s.Routers[0].Problem = &rollout.Problem{Class: rollout.ProblemUnavailable}
}

// basic makes it a canary whose pods are the weight: one more than 4 may exist,
// none may be missing.
func (sc *scene) basic(old, now int32) {
	one, zero := intstr.FromInt32(1), intstr.FromInt32(0)
	c := sc.s.Rollout.Spec.Strategy.Canary
	c.TrafficRouting, c.MaxSurge, c.MaxUnavailable, sc.s.Routers = nil, &one, &zero, nil
	sc.pods("old", old, old)
	sc.pods("new", now, now)
}

// scales is a setCanaryScale step in force.
func (sc *scene) scales(replicas int32) {
	c := sc.s.Rollout.Spec.Strategy.Canary
	c.Steps = []v1alpha1.CanaryStep{{SetCanaryScale: &v1alpha1.SetCanaryScale{Replicas: &replicas}}, {Pause: &v1alpha1.RolloutPause{}}}
}

// dynamicArrival lowers stable while a name with half of the traffic moves to it.
func (sc *scene) dynamicArrival(to int32) {
	sc.s.Rollout.Spec.Strategy.Canary.DynamicStableScale = true
	sc.points("stable", "older")
	sc.plan.Ops = []rollout.Op{rollout.PointService{Name: "stable", From: "older", To: "old"}, rollout.UpdateReplicaSet{Name: "old", From: 4, To: to}}
}

func split(canary int32) rollout.Traffic {
	return rollout.Traffic{TotalWeight: 100, Destinations: []rollout.Destination{
		{Role: rollout.RoleStable, Service: "stable", Weight: 100 - canary}, {Role: rollout.RoleCanary, Service: "canary", Weight: canary}}}
}

func (sc *scene) route(canary int32) {
	sc.plan.Ops = []rollout.Op{rollout.RouteTraffic{Identity: rollout.Identity{OpID: "route/r"}, Router: sc.s.Routers[0], Desired: split(canary)}}
}

// manage asks for a header route at weight 0; managed has it in place.
func (sc *scene) manage() {
	desired := split(0)
	desired.Managed = []rollout.ManagedRoute{{Name: "beta", Header: []rollout.HeaderMatch{{Name: "x", Value: rollout.StringMatch{Exact: "1"}}}}}
	sc.plan.Ops = []rollout.Op{rollout.RouteTraffic{Router: sc.s.Routers[0], Desired: desired}}
}

func (sc *scene) managed() {
	for i := range sc.s.Routers[0].Observation.Observed {
		sc.s.Routers[0].Observation.Observed[i].Traffic.Managed = []rollout.ManagedRoute{{Name: "beta"}}
	}
}

// ask calls a step plugin; meant has its intent in status.
func (sc *scene) ask(verb rollout.StepVerb, index int32) {
	sc.plan.Ops = []rollout.Op{rollout.CallStep{Call: rollout.StepCall{Verb: verb, Index: index}}}
}

func (sc *scene) meant(operation v1alpha1.StepPluginOperation, index int32) {
	sc.s.Rollout.Status.Canary.StepPluginStatuses = []v1alpha1.StepPluginStatus{{Index: index, Operation: operation, Phase: v1alpha1.StepPluginPhaseRunning}}
}

func (sc *scene) resize(hash string, to int32) {
	from := rollout.SpecReplicas(sc.s.ByHash(hash))
	sc.plan.Ops = []rollout.Op{rollout.UpdateReplicaSet{Name: hash, From: from, To: to}}
}

func (sc *scene) move(service, from, to string) {
	sc.plan.Ops = []rollout.Op{rollout.PointService{Name: service, From: from, To: to}}
}

func (sc *scene) deadline(hash string, at time.Time) {
	sc.s.ByHash(hash).Annotations[v1alpha1.AnnotationScaleDownDeadline] = at.Format(time.RFC3339)
}

// TestEachRuleCanBreak: a rule that no plan breaks would check nothing. Each
// pair is one plan that breaks the rule and its closest neighbour that does
// not.
func TestEachRuleCanBreak(t *testing.T) {
	for _, tt := range []struct {
		rule, name   string
		broken, fine func(*scene)
	}{
		{"I1", "weights that do not add up",
			func(sc *scene) {
				sc.plan.Ops = []rollout.Op{rollout.RouteTraffic{Router: sc.s.Routers[0], Desired: rollout.Traffic{TotalWeight: 100,
					Destinations: []rollout.Destination{{Role: rollout.RoleStable, Service: "stable", Weight: 40}, {Role: rollout.RoleCanary, Service: "canary", Weight: 50}}}}}
			},
			func(sc *scene) { sc.route(50) }},
		{"I1", "a negative weight",
			func(sc *scene) {
				sc.plan.Ops = []rollout.Op{rollout.RouteTraffic{Router: sc.s.Routers[0], Desired: rollout.Traffic{TotalWeight: 100,
					Destinations: []rollout.Destination{{Role: rollout.RoleStable, Service: "stable", Weight: 110}, {Role: rollout.RoleCanary, Service: "canary", Weight: -10}}}}}
			},
			func(sc *scene) { sc.route(0) }},
		{"I2", "a weight without the pods for it",
			func(sc *scene) { sc.route(75) },
			func(sc *scene) { sc.pods("new", 3, 3); sc.route(75) }},
		{"I2", "a weight on a revision without any pod",
			func(sc *scene) { sc.pods("old", 4, 0); sc.route(0) },
			func(sc *scene) { sc.pods("old", 4, 2); sc.route(0) }}, // as many as the canary has
		{"I3", "pods that the observed traffic needs",
			func(sc *scene) { sc.resize("new", 1) },
			func(sc *scene) { sc.carries(25); sc.resize("new", 1) }},
		{"I3", "pods that one of two places needs",
			func(sc *scene) { sc.carries(0, 50); sc.resize("new", 1) },
			func(sc *scene) { sc.carries(0, 25); sc.resize("new", 1) }},
		{"I4", "an aborted revision before its delay",
			func(sc *scene) {
				sc.s.Rollout.Status.Abort = true
				sc.carries(0)
				sc.points("canary", "old")
				sc.deadline("new", now.Add(time.Second))
				sc.resize("new", 0)
			},
			func(sc *scene) {
				sc.s.Rollout.Status.Abort = true
				sc.carries(0)
				sc.points("canary", "old")
				sc.deadline("new", now)
				sc.resize("new", 0)
			}},
		{"I4", "a superseded revision that a Service selects",
			func(sc *scene) {
				sc.pods("older", 2, 2)
				sc.deadline("older", now)
				sc.carries(0)
				sc.points("canary", "older")
				sc.resize("older", 0)
			},
			func(sc *scene) { sc.pods("older", 2, 2); sc.deadline("older", now); sc.resize("older", 0) }},
		{"I4", "the deletion of a revision with pods",
			func(sc *scene) {
				sc.pods("older", 1, 1)
				sc.plan.Ops = []rollout.Op{rollout.DeleteReplicaSet{Name: "older"}}
			},
			func(sc *scene) {
				sc.pods("older", 0, 0)
				sc.plan.Ops = []rollout.Op{rollout.DeleteReplicaSet{Name: "older"}}
			}},
		{"I4", "a promotion before all traffic is there",
			func(sc *scene) {
				sc.pods("new", 4, 4)
				sc.plan.Transition.Kind = rollout.TransitionPromote
			},
			func(sc *scene) {
				sc.pods("new", 4, 4)
				sc.carries(100)
				sc.plan.Transition.Kind = rollout.TransitionPromote
			}},
		{"I4", "a promotion without all pods",
			func(sc *scene) {
				sc.pods("new", 4, 3)
				sc.carries(100)
				sc.plan.Transition.Kind = rollout.TransitionPromote
			},
			func(sc *scene) {
				sc.pods("new", 4, 4)
				sc.carries(100)
				sc.plan.Transition.Kind = rollout.TransitionPromote
			}},
		{"I5", "a canary weight that rises after an abort",
			func(sc *scene) { sc.s.Rollout.Status.Abort = true; sc.carries(25); sc.route(50) },
			func(sc *scene) { sc.s.Rollout.Status.Abort = true; sc.carries(75); sc.route(50) }},
		{"I5", "a name that leads to the new revision gets more after an abort",
			func(sc *scene) { sc.s.Rollout.Status.Abort = true; sc.carries(25); sc.route(50) },
			func(sc *scene) {
				sc.s.Rollout.Status.Abort = true
				sc.points("canary", "old")
				sc.carries(25)
				sc.route(50)
			}},
		{"I6", "a name that carries traffic",
			func(sc *scene) { sc.move("canary", "new", "old") },
			func(sc *scene) { sc.carries(0); sc.move("canary", "new", "old") }},
		{"I6", "a name that moves to nothing",
			func(sc *scene) { sc.carries(0); sc.pods("old", 4, 0); sc.move("canary", "new", "old") },
			func(sc *scene) { sc.carries(0); sc.pods("old", 4, 1); sc.move("canary", "new", "old") }},
		{"I6", "a name that is adopted too early",
			func(sc *scene) { sc.points("stable", ""); sc.pods("old", 4, 3); sc.move("stable", "", "old") },
			func(sc *scene) { sc.points("stable", ""); sc.move("stable", "", "old") }},
		{"I2", "a managed route to no pod",
			func(sc *scene) { sc.carries(0); sc.pods("new", 2, 0); sc.manage() },
			func(sc *scene) { sc.carries(0); sc.pods("new", 2, 1); sc.manage() }},
		{"I5", "a managed route after an abort",
			func(sc *scene) { sc.carries(0); sc.s.Rollout.Status.Abort = true; sc.manage() },
			func(sc *scene) { sc.carries(0); sc.s.Rollout.Status.Abort = true; sc.route(0) }},
		{"I6", "a name that only a managed route uses",
			func(sc *scene) { sc.carries(0); sc.managed(); sc.move("canary", "new", "old") },
			func(sc *scene) { sc.carries(0); sc.move("canary", "new", "old") }},
		{"I3", "the last pod behind a managed route",
			func(sc *scene) { sc.carries(0); sc.managed(); sc.resize("new", 0) },
			func(sc *scene) { sc.carries(0); sc.managed(); sc.resize("new", 1) }},
		{"I7", "a pause that no step asks for",
			func(sc *scene) { sc.pauses("pause", "setWeight") },
			func(sc *scene) { sc.pauses("setWeight", "pause") }},
		{"intent", "a step plugin nobody meant to ask",
			func(sc *scene) { sc.ask(rollout.StepAbort, 1) },
			func(sc *scene) { sc.meant(v1alpha1.StepPluginOperationAbort, 1); sc.ask(rollout.StepAbort, 1) }},
		{"I7", "a step plugin that runs another step",
			func(sc *scene) { sc.meant(v1alpha1.StepPluginOperationRun, 2); sc.ask(rollout.StepRun, 2) },
			func(sc *scene) { sc.meant(v1alpha1.StepPluginOperationRun, 1); sc.ask(rollout.StepRun, 1) }},
		{"I7", "a step that is skipped",
			func(sc *scene) {
				three := int32(3)
				sc.plan.Transition = rollout.Transition{Kind: rollout.TransitionStep, Index: &three}
			},
			func(sc *scene) {
				two := int32(2)
				sc.plan.Transition = rollout.Transition{Kind: rollout.TransitionStep, Index: &two}
			}},
		{"I8", "more pods than maxSurge allows",
			func(sc *scene) { sc.basic(3, 2); sc.resize("new", 3) },
			func(sc *scene) { sc.basic(2, 2); sc.resize("new", 3) }},
		{"I8", "fewer available pods than maxUnavailable allows",
			func(sc *scene) { sc.basic(3, 2); sc.resize("old", 1) },
			func(sc *scene) { sc.basic(3, 3); sc.resize("old", 1) }},
		{"I4", "the last pod behind a name, where pods are the weight",
			func(sc *scene) { sc.basic(1, 4); sc.resize("old", 0) },
			func(sc *scene) { sc.basic(1, 4); sc.points("stable", "new"); sc.resize("old", 0) }},
		{"I8", "stable pods that dynamicStableScale does not give up",
			func(sc *scene) { sc.resize("old", 3) },
			func(sc *scene) { sc.s.Rollout.Spec.Strategy.Canary.DynamicStableScale = true; sc.resize("old", 3) }},
		{"I3", "pods of traffic that arrives with its name in the same plan",
			func(sc *scene) { sc.dynamicArrival(1) },
			func(sc *scene) { sc.dynamicArrival(2) }},
		{"I3", "pods of traffic that a router leaves to stable in the same plan",
			func(sc *scene) { sc.resize("old", 2); sc.leaves() },
			func(sc *scene) { sc.s.Rollout.Spec.Strategy.Canary.DynamicStableScale = true; sc.resize("old", 2) }},
		{"I8", "more pods than setCanaryScale asks for",
			func(sc *scene) { sc.scales(6); sc.resize("new", 7) },
			func(sc *scene) { sc.scales(6); sc.resize("new", 6) }},
		{"I8", "more pods of a revision than asked for",
			func(sc *scene) { sc.resize("new", 5) },
			func(sc *scene) { sc.resize("new", 4) }},
		{"I8", "fewer stable pods than asked for",
			func(sc *scene) { sc.resize("old", 3) },
			func(sc *scene) { sc.pods("old", 5, 5); sc.resize("old", 4) }},
		{"I9", "pods that go while traffic is unknown",
			func(sc *scene) { sc.carries(25); sc.blind(); sc.resize("new", 1) },
			func(sc *scene) { sc.carries(25); sc.blind(); sc.resize("new", 3) }},
		{"I9", "a name that moves while traffic is unknown",
			func(sc *scene) { sc.carries(0); sc.blind(); sc.move("canary", "new", "old") },
			func(sc *scene) { sc.carries(0); sc.move("canary", "new", "old") }},
		{"I9", "a promotion while traffic is unknown",
			func(sc *scene) {
				sc.pods("new", 4, 4)
				sc.carries(100)
				sc.blind()
				sc.plan.Transition.Kind = rollout.TransitionPromote
			},
			func(sc *scene) {
				sc.pods("new", 4, 4)
				sc.carries(100)
				sc.plan.Transition.Kind = rollout.TransitionPromote
			}},
	} {
		t.Run(tt.rule+" "+tt.name, func(t *testing.T) {
			sc := atHalf()
			tt.broken(sc)
			var rules []string
			for _, v := range invariant.Check(sc.s, sc.plan) {
				rules = append(rules, v.Rule)
			}
			assert.Contains(t, rules, tt.rule)
			sc = atHalf()
			tt.fine(sc)
			assert.Empty(t, invariant.Check(sc.s, sc.plan))
		})
	}
}

// TestRefuse: what is left of a refused plan does nothing, says why, and keeps
// what status already says.
func TestRefuse(t *testing.T) {
	sc := atHalf()
	sc.s.Rollout.Status.Canary.Routers = []v1alpha1.RouterStatus{{Plugin: "r"}}
	sc.route(75)
	sc.plan.Transition.Kind = rollout.TransitionPromote
	sc.plan.Routers = []v1alpha1.RouterStatus{{Plugin: "r", Intended: &v1alpha1.TrafficWeights{}}}
	found := invariant.Check(sc.s, sc.plan)
	require.NotEmpty(t, found)
	refused := invariant.Refuse(sc.s, sc.plan, found)
	assert.Empty(t, refused.Ops)
	assert.Equal(t, rollout.TransitionNone, refused.Transition.Kind)
	assert.Equal(t, sc.s.Rollout.Status.Canary.Routers, refused.Routers)
	require.NotEmpty(t, refused.Holds)
	assert.Equal(t, rollout.HoldInvariant, refused.Holds[0].Reason)
	assert.True(t, refused.Holds[0].Blocking)
	assert.Contains(t, refused.Holds[0].What, "I2")
	assert.Empty(t, invariant.Check(sc.s, refused))
}

// TestRefuseOnlyWhatIsWrong: what breaks no rule is done, unless it comes after
// what does.
func TestRefuseOnlyWhatIsWrong(t *testing.T) {
	sc := atHalf()
	old := []v1alpha1.RouterStatus{{Plugin: "r", Phase: v1alpha1.RouterActive}}
	sc.s.Rollout.Status.Canary.Routers = old
	sc.route(75)
	bad := sc.plan.Ops[0]
	good := rollout.UpdateReplicaSet{Identity: rollout.Identity{OpID: "up"}, Name: "new", From: 2, To: 3}
	after := rollout.UpdateReplicaSet{Identity: rollout.Identity{OpID: "later", DependsOn: []rollout.OpID{"route/r"}}, Name: "old", From: 4, To: 4}
	last := rollout.RecordIntent{Identity: rollout.Identity{OpID: "last", DependsOn: []rollout.OpID{"later"}}}
	two := int32(2)
	sc.plan.Ops = []rollout.Op{last, bad, good, after}
	sc.plan.Routers = []v1alpha1.RouterStatus{{Plugin: "r", Phase: v1alpha1.RouterActive, Intended: &v1alpha1.TrafficWeights{}}}
	sc.plan.Transition = rollout.Transition{Kind: rollout.TransitionStep, Index: &two}
	refused := invariant.Refuse(sc.s, sc.plan, invariant.Check(sc.s, sc.plan))
	assert.Equal(t, []rollout.Op{good}, refused.Ops)
	assert.Equal(t, rollout.TransitionStep, refused.Transition.Kind, "the step does not depend on it")
	assert.Equal(t, old, refused.Routers, "nobody was asked for more")
	sc.plan.Transition.After = []rollout.OpID{"later"}
	assert.Equal(t, rollout.TransitionNone, invariant.Refuse(sc.s, sc.plan, invariant.Check(sc.s, sc.plan)).Transition.Kind)
}

// pauses completes the first of two steps and enters a pause with it.
func (sc *scene) pauses(kinds ...string) {
	weight, first, second := int32(50), int32(0), int32(1)
	steps := map[string]v1alpha1.CanaryStep{"setWeight": {SetWeight: &weight}, "pause": {Pause: &v1alpha1.RolloutPause{}}}
	for _, kind := range kinds {
		sc.s.Rollout.Spec.Strategy.Canary.Steps = append(sc.s.Rollout.Spec.Strategy.Canary.Steps, steps[kind])
	}
	sc.s.Rollout.Status.CurrentStepIndex = &first
	sc.plan.Transition = rollout.Transition{Kind: rollout.TransitionStep, Index: &second, Pause: v1alpha1.PauseReasonCanaryPauseStep}
}
