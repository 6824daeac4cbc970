package record

import (
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Record is what is written and told after a pass.
type Record struct {
	Status v1alpha1.RolloutStatus
	// Done are the events of executed operations: emitted in plan order, also
	// when the status write conflicts or is not needed.
	Done []Event
	// Edges are the events of status changes: emitted after the write.
	Edges []Event
	// Wake is when to look again without an event; zero means never.
	Wake time.Time
	// Changed is true for a status that differs from the stored one, MayWait for
	// one that may be kept back for Patience, to be written with whatever comes
	// meanwhile.
	Changed, MayWait bool
}

// Of computes the record of a pass. The snapshot's status is not modified.
func Of(s *rollout.Snapshot, plan rollout.Plan, out rollout.Outcome) Record {
	r := &recorder{s: s, plan: plan, out: out, old: &s.Rollout.Status, wake: plan.Wake}
	r.new = *r.old.DeepCopy()
	r.new.ObservedGeneration = strconv.FormatInt(s.Rollout.Generation, 10)
	r.workload()
	if plan.RestartedAt != nil {
		r.new.RestartedAt = plan.RestartedAt
	}
	if plan.Invalid == "" {
		r.collisions()
		r.verdicts()
		r.position()
		r.traffic()
		r.pingPong()
		r.analysis()
		r.stepPlugins()
	} else {
		r.invalidPosition()
	}
	r.counts()
	r.duration()
	r.conditions()
	r.new.Phase, r.new.Message = Phase(s.Rollout, r.new)
	changed := !apiequality.Semantic.DeepEqual(*r.old, r.new)
	return Record{Status: r.new, Done: r.done(), Edges: r.edges, Wake: r.wake, Changed: changed, MayWait: changed && r.mayWait()}
}

// recorder builds one Record.
type recorder struct {
	s     *rollout.Snapshot
	plan  rollout.Plan
	out   rollout.Outcome
	old   *v1alpha1.RolloutStatus
	new   v1alpha1.RolloutStatus
	edges []Event
	wake  time.Time
	// applied is true when the transition took place.
	applied bool
	// retried is true when a person started an aborted update again.
	retried bool
	// abortMessage explains an abort of this pass.
	abortMessage string
}

func (r *recorder) now() metav1.Time { return metav1.NewTime(r.s.Now.Truncate(time.Second)) }

func (r *recorder) wakeAt(t time.Time) {
	if r.wake.IsZero() || t.Before(r.wake) {
		r.wake = t
	}
}

// workload notes which generation of the referenced workload this status is
// about.
func (r *recorder) workload() {
	switch w := r.s.Workload; {
	case r.s.Rollout.Spec.WorkloadRef == nil:
		r.new.WorkloadObservedGeneration = ""
	case w != nil && w.Problem == nil:
		r.new.WorkloadObservedGeneration = strconv.FormatInt(w.Generation, 10)
	}
}

// collisions: a name taken by another owner or template gives the next attempt
// another hash.
func (r *recorder) collisions() {
	if !r.out.Collision {
		return
	}
	n := int32(1)
	if c := r.old.CollisionCount; c != nil {
		n = *c + 1
	}
	r.new.CollisionCount = &n
}

// transition is the plan's, or none when an operation it needs has failed.
func (r *recorder) transition() rollout.Transition {
	for _, id := range r.plan.Transition.After {
		if !r.out.Succeeded(id) {
			return rollout.Transition{}
		}
	}
	return r.plan.Transition
}

// invalidPosition: an invalid spec moves nothing forward, but an abort a
// person asked for, or a bad verdict, is still taken in.
func (r *recorder) invalidPosition() {
	switch r.plan.Transition.Kind {
	case rollout.TransitionAbort, rollout.TransitionAborted:
		r.position()
	}
	r.traffic()
	r.analysis()
	r.stepPlugins()
}

// traffic records weights and the memory of the routers.
func (r *recorder) traffic() {
	r.new.Canary.Routers = r.plan.Routers
	r.new.Canary.Weights = r.plan.Weights
	for _, op := range r.plan.Ops {
		route, ok := op.(rollout.RouteTraffic)
		if !ok || !r.out.Succeeded(route.ID()) {
			continue
		}
		weights := route.Weights
		unverified := false
		weights.Verified = &unverified
		r.new.Canary.Weights = &weights
	}
	r.acknowledged()
}

// analysis records the current runs. They are named before they are created, so
// one whose creation failed is created by the next pass.
func (r *recorder) analysis() {
	c := &r.new.Canary
	c.CurrentStepAnalysisRunStatus = r.plan.StepRun
	c.CurrentBackgroundAnalysisRunStatus = r.plan.BackgroundRun
	r.blueGreenRuns()
	if r.applied && clearsStepRun(r.plan.Transition.Kind) {
		c.CurrentStepAnalysisRunStatus = nil
	}
	if r.applied && r.plan.Transition.Kind != rollout.TransitionStep && clearsStepRun(r.plan.Transition.Kind) {
		c.CurrentBackgroundAnalysisRunStatus = nil
	}
	c.CurrentExperiment = r.plan.Experiment
	if r.applied && clearsStepRun(r.plan.Transition.Kind) {
		c.CurrentExperiment = ""
	}
	if len(r.new.PauseConditions) == 0 &&
		(replaced(r.old.Canary.CurrentStepAnalysisRunStatus, c.CurrentStepAnalysisRunStatus) ||
			replaced(r.old.Canary.CurrentBackgroundAnalysisRunStatus, c.CurrentBackgroundAnalysisRunStatus) || r.reanalysed()) {
		// The new run answers the person who resumed; the resume is used up.
		r.new.ControllerPause = false
	}
}

// verdicts tells when a current run has reached another phase; before what
// follows from it.
func (r *recorder) verdicts() {
	c := r.old.Canary
	r.verdict("Step", c.CurrentStepAnalysisRunStatus, r.plan.StepRun)
	r.verdict("Background", c.CurrentBackgroundAnalysisRunStatus, r.plan.BackgroundRun)
	r.verdict("Pre-promotion", r.old.BlueGreen.PrePromotionAnalysisRunStatus, r.plan.PreRun)
	r.verdict("Post-promotion", r.old.BlueGreen.PostPromotionAnalysisRunStatus, r.plan.PostRun)
}

func (r *recorder) verdict(kind string, before, now *v1alpha1.RolloutAnalysisRunStatus) {
	if now == nil || now.Status == "" {
		return
	}
	previous := v1alpha1.AnalysisPhase("none")
	if before != nil && before.Name == now.Name && before.Status != "" {
		previous = before.Status
	}
	if previous == now.Status {
		return
	}
	level := corev1.EventTypeNormal
	if now.Status == v1alpha1.AnalysisPhaseFailed || now.Status == v1alpha1.AnalysisPhaseError {
		level = corev1.EventTypeWarning
	}
	r.edge(level, v1alpha1.EventPrefixAnalysisRun+string(now.Status),
		fmt.Sprintf("%s AnalysisRun %s is %s (was %s)", kind, now.Name, now.Status, previous))
}

// replaced reports that an inconclusive run has given way to another one.
func replaced(before, after *v1alpha1.RolloutAnalysisRunStatus) bool {
	return before != nil && after != nil &&
		(before.Name != after.Name || before.Status == v1alpha1.AnalysisPhaseInconclusive && after.Status == "") // made again under its name
}

func clearsStepRun(kind rollout.TransitionKind) bool {
	switch kind {
	case rollout.TransitionNone, rollout.TransitionPause, rollout.TransitionForgetAbort:
		return false
	}
	return true
}

// counts sums the status of the ReplicaSets.
func (r *recorder) counts() {
	st := &r.new
	st.Replicas, st.ReadyReplicas, st.AvailableReplicas, st.UpdatedReplicas = 0, 0, 0, 0
	for _, rs := range r.s.ReplicaSets {
		st.Replicas += rs.Status.Replicas
		st.ReadyReplicas += rs.Status.ReadyReplicas
		st.AvailableReplicas += rs.Status.AvailableReplicas
		if rollout.Hash(rs) == r.plan.Hash {
			st.UpdatedReplicas = rs.Status.Replicas
		}
	}
	st.HPAReplicas = st.Replicas
	if r.s.Rollout.Spec.Strategy.BlueGreen != nil {
		r.blueGreenCounts()
		return
	}
	st.BlueGreen = v1alpha1.BlueGreenStatus{} // of a strategy the spec does not name any more
	if s, err := metav1.LabelSelectorAsSelector(r.s.Rollout.Spec.Selector); err == nil && r.s.Rollout.Spec.Selector != nil {
		st.Selector = s.String()
	}
}
