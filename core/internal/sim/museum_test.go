package sim_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/decide"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// exhibit is an outage that was published for Argo Rollouts, made again as a
// mutant of our planner: one that believes something that is not so, or does
// something the planner would not. The product never contains a mutant; it is
// wrapped around the planner by this test alone.
type exhibit struct {
	// issue of argoproj/argo-rollouts, and what users saw.
	issue, about string
	options      sim.Options
	// believes is the snapshot as the mutant sees it; nil means as it is.
	believes func(*rollout.Snapshot)
	// does changes the mutant's plan; nil leaves it.
	does func(*rollout.Snapshot, *rollout.Plan)
	// play is when users were hit.
	play func(*sim.World)
	// caught is the start of the rule that must stop it.
	caught string
}

// TestBugMuseum: each mutant must be caught, by the rule that is there for it,
// in a scene that the planner itself goes through unharmed.
func TestBugMuseum(t *testing.T) {
	require.GreaterOrEqual(t, len(museum), 20)
	for _, e := range museum {
		t.Run(strings.ReplaceAll(e.issue, " ", "-"), func(t *testing.T) {
			t.Parallel()
			sound := e.scene(decide.Decide)
			require.NoError(t, sound.Err, "%s: the planner itself fails in this scene\n%s", e.about, sound.Story())
			mutant := e.scene(e.planner)
			require.Error(t, mutant.Err, "%s: nobody noticed\n%s", e.about, mutant.Story())
			require.Contains(t, mutant.Err.Error(), e.caught, "%s: another rule than the intended one\n%s", e.about, mutant.Story())
			t.Logf("%s %s\n    caught: %v", e.issue, e.about, mutant.Err)
		})
	}
}

func (e exhibit) scene(planner func(*rollout.Snapshot) rollout.Plan) *sim.World {
	o := e.options
	o.Planner = planner
	w := sim.New(o)
	w.Prepare()
	e.play(w)
	w.Rest()
	w.CheckRest()
	return w
}

func (e exhibit) planner(s *rollout.Snapshot) rollout.Plan {
	seen := lied(s)
	if e.believes != nil {
		e.believes(seen)
	}
	plan := decide.Decide(seen)
	if e.does != nil {
		e.does(s, &plan)
	}
	return plan
}

// lied copies whatever a mutant may believe otherwise.
func lied(s *rollout.Snapshot) *rollout.Snapshot {
	out := *s
	out.Rollout = s.Rollout.DeepCopy()
	out.ReplicaSets, out.AnalysisRuns, out.Routers = nil, nil, slices.Clone(s.Routers)
	for _, rs := range s.ReplicaSets {
		out.ReplicaSets = append(out.ReplicaSets, rs.DeepCopy())
	}
	for _, run := range s.AnalysisRuns {
		out.AnalysisRuns = append(out.AnalysisRuns, run.DeepCopy())
	}
	out.Services = map[string]*corev1.Service{}
	for name, svc := range s.Services {
		out.Services[name] = svc.DeepCopy()
	}
	return &out
}

// What mutants believe.

func believeAvailable(rs *appsv1.ReplicaSet) {
	if rs != nil {
		rs.Status.AvailableReplicas, rs.Status.ObservedGeneration = rollout.SpecReplicas(rs), rs.Generation
	}
}

func believePods(rs *appsv1.ReplicaSet, n int32) {
	if rs != nil {
		rs.Spec.Replicas = &n
		believeAvailable(rs)
	}
}

// believeWeight makes every router say that it carries and serves the weight.
func believeWeight(s *rollout.Snapshot, weight int32) {
	total := s.TotalWeight()
	for i := range s.Routers {
		r := &s.Routers[i]
		r.Problem, r.Capabilities.Observe = nil, true
		r.Observation.Convergence, r.Observation.Settle = rollout.ConvergenceDone, 0
		r.Observation.Observed = []rollout.Observed{{Place: "somewhere", Traffic: rollout.Traffic{TotalWeight: total,
			Destinations: []rollout.Destination{
				{Role: rollout.RoleStable, Service: sim.StableService, Weight: total - weight},
				{Role: rollout.RoleCanary, Service: sim.CanaryService, Weight: weight}}}}}
	}
}

func wanted(s *rollout.Snapshot) *appsv1.ReplicaSet { return s.ByHash(s.Rollout.Status.CurrentPodHash) }

func stable(s *rollout.Snapshot) *appsv1.ReplicaSet { return s.ByHash(s.Rollout.Status.StableRS) }

func updating(s *rollout.Snapshot) bool { return wanted(s) != stable(s) && stable(s) != nil }

// atEnd: every step is done.
func atEnd(s *rollout.Snapshot) bool {
	i := s.Rollout.Status.CurrentStepIndex
	return updating(s) && i != nil && int(*i) == len(s.Rollout.Spec.Strategy.Canary.Steps)
}

// superseded are the revisions that are neither wanted nor stable.
func superseded(s *rollout.Snapshot) []*appsv1.ReplicaSet {
	var out []*appsv1.ReplicaSet
	for _, rs := range s.ReplicaSets {
		if rs != wanted(s) && rs != stable(s) {
			out = append(out, rs)
		}
	}
	return out
}

// What mutants do.

func scale(plan *rollout.Plan, rs *appsv1.ReplicaSet, to int32) {
	if rs == nil || rollout.SpecReplicas(rs) == to {
		return
	}
	id := rollout.OpID("replicaset/" + rs.Name)
	drop(plan, func(op rollout.Op) bool { return op.ID() == id })
	plan.Ops = append(plan.Ops, rollout.UpdateReplicaSet{Identity: rollout.Identity{OpID: id}, Name: rs.Name,
		ResourceVersion: rs.ResourceVersion, Hash: rollout.Hash(rs), From: rollout.SpecReplicas(rs), To: to})
}

func drop(plan *rollout.Plan, gone func(rollout.Op) bool) {
	plan.Ops = slices.DeleteFunc(plan.Ops, gone)
}

func routes(op rollout.Op) bool {
	_, ok := op.(rollout.RouteTraffic)
	return ok
}

func pointAt(s *rollout.Snapshot, plan *rollout.Plan, name string, rs *appsv1.ReplicaSet) {
	svc := s.Services[name]
	if rs == nil || svc == nil || s.ServiceHash(name) == rollout.Hash(rs) {
		return
	}
	id := rollout.OpID("service/" + name)
	drop(plan, func(op rollout.Op) bool { return op.ID() == id })
	plan.Ops = append(plan.Ops, rollout.PointService{Identity: rollout.Identity{OpID: id}, Name: name,
		ResourceVersion: svc.ResourceVersion, From: s.ServiceHash(name), To: rollout.Hash(rs)})
}

// deadlineAhead reports a scale-down delay that has not passed.
func deadlineAhead(s *rollout.Snapshot, rs *appsv1.ReplicaSet) bool {
	if rs == nil {
		return false
	}
	at, err := time.Parse(time.RFC3339, rs.Annotations[v1alpha1.AnnotationScaleDownDeadline])
	return err == nil && s.Now.Before(at)
}
