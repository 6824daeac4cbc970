package decide

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Decide returns what should happen next for the snapshot. The same snapshot
// always gives the same plan.
func Decide(s *rollout.Snapshot) rollout.Plan {
	// A total or a count that makes no sense is reported by valid(); the
	// arithmetic goes on with one that does.
	p := &planner{s: s, ro: s.Rollout, plan: &rollout.Plan{}, total: max(1, s.TotalWeight()), want: s.Replicas()}
	p.identify()
	p.valid()
	p.takeBack()
	p.routers()
	if p.defaults() || p.renew() {
		p.noteWorkload()
		return *p.plan
	}
	p.adopt()
	if p.restartPods() {
		return *p.plan
	}
	p.position()
	p.targets()
	p.undelay()
	p.services()
	p.traffic()
	p.scale()
	p.runs()
	p.experiments()
	p.stepPlugins()
	p.cleanup()
	p.metadata()
	p.scaleWorkload()
	p.noteWorkload()
	return *p.plan
}

// planner carries the facts every stage needs and the plan they build.
type planner struct {
	s    *rollout.Snapshot
	ro   *v1alpha1.Rollout
	plan *rollout.Plan

	// canary is never nil: an invalid strategy is replaced by an empty one, so
	// that stages need not ask; the veto keeps them from acting on it.
	canary *v1alpha1.CanaryStrategy
	// bg is nil unless the strategy is blue-green; then canary is empty.
	bg    *v1alpha1.BlueGreenStrategy
	total int32
	// want is spec.replicas, or the count before where that makes no sense.
	want int32

	// hash is the revision this pass works for: the one of the template, or
	// the current one while a veto keeps the new one from starting.
	hash   string
	stable string
	newRS  *appsv1.ReplicaSet
	// stableRS equals newRS once promoted.
	stableRS *appsv1.ReplicaSet
	others   []*appsv1.ReplicaSet
	// index is the current step; len(steps) behind the last one.
	index int

	// activate: pods, analysis and pause let users reach the new blue-green
	// revision.
	activate bool

	// veto keeps everything that raises, starts or creates from happening.
	veto bool
	// blind means the traffic of some router is unknown.
	blind bool

	// undelayed are the writes that have to come before traffic moves.
	undelayed []rollout.OpID

	// size is the wanted replica count by ReplicaSet name.
	size map[string]int32
}

// routed: a canary whose traffic routers share out. One without them is basic:
// its traffic follows its pods.
func (p *planner) routed() bool { return p.canary.TrafficRouting != nil }

func (p *planner) steps() []v1alpha1.CanaryStep { return p.canary.Steps }

func (p *planner) step() *v1alpha1.CanaryStep {
	if p.index < len(p.steps()) {
		return &p.steps()[p.index]
	}
	return nil
}

// initial reports that there is no stable revision: not yet, or not any more
// because somebody deleted its ReplicaSet, and its template with it. Then the
// new revision has nothing to take turns with.
func (p *planner) initial() bool { return p.stableRS == nil && !p.promoted() }

func (p *planner) promoted() bool { return p.stable != "" && p.stable == p.hash }

// aborted is false for a promoted revision and for the first one: there is
// nothing to go back to.
func (p *planner) aborted() bool { return p.ro.Status.Abort && p.moving() && !p.unclear() }

// unclear: the spec names no strategy or two. Nobody can say by which rules an
// abort would go on, so everything stays as it is.
func (p *planner) unclear() bool {
	st := p.ro.Spec.Strategy
	return (st.Canary == nil) == (st.BlueGreen == nil)
}

// halted: a person, or an analysis that could not tell, wants nothing to go
// forward.
func (p *planner) halted() bool {
	return p.ro.Spec.Paused || p.pausedFor(v1alpha1.PauseReasonInconclusiveAnalysis) != nil
}

// moving reports whether an update is under way.
func (p *planner) moving() bool { return !p.initial() && !p.promoted() }

func (p *planner) hold(h rollout.Hold) { p.plan.Holds = append(p.plan.Holds, h) }

func (p *planner) add(op rollout.Op) { p.plan.Ops = append(p.plan.Ops, op) }

// wake asks for another pass at t unless an earlier one is planned already.
func (p *planner) wake(t time.Time) {
	if p.plan.Wake.IsZero() || t.Before(p.plan.Wake) {
		p.plan.Wake = t
	}
}

// move sets the one transition of this pass; later stages see that it is set.
func (p *planner) move(t rollout.Transition) { p.plan.Transition = t }

func (p *planner) moved() bool { return p.plan.Transition.Kind != rollout.TransitionNone }
