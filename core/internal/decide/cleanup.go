package decide

import (
	"slices"
	"sort"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// cleanup scales down what nothing points at any more, after its delay, and
// trims history.
func (p *planner) cleanup() {
	switch {
	case p.bg != nil:
		p.drainBlueGreen()
	case p.routed():
		p.drainAborted()
		p.drainOthers()
	default:
		p.drainBasic()
	}
	p.trimReplicaSets()
	p.trimRuns()
	p.trimExperiments()
}

// drainAborted gives the pods of an aborted revision a deadline once stable
// serves everything, and status tells of the abort: with a retry that came first,
// the deadline would be that of a revision which returns within its delay, and
// users would be sent there without a pause. A delay of 0 keeps them for ever.
func (p *planner) drainAborted() {
	if !p.aborted() || p.ro.Status.AbortedAt == nil || p.newRS == nil || p.initial() || rollout.SpecReplicas(p.newRS) == 0 {
		return
	}
	if p.dynamic() && p.canary.AbortScaleDownDelaySeconds == nil {
		return // scale() lowers it with its traffic
	}
	if !p.idle(p.newRS) || rollout.Available(p.stableRS) < p.want {
		return
	}
	if delay, never := p.abortDelay(); !never {
		p.drain(p.newRS, delay)
	}
}

// drainOthers gives ReplicaSets that are neither new nor stable a deadline,
// newest first; beyond scaleDownDelayRevisionLimit they go at once.
func (p *planner) drainOthers() {
	delay, limit := p.scaleDownDelay()
	if p.dynamic() {
		delay = 0
	}
	if p.initial() && !p.enough(p.newRS, p.want) {
		return // until the first promotion every pod may be serving
	}
	var kept int32
	for _, rs := range p.others {
		nobody := p.want == 0 && p.quiet() && p.drained() // is served, whatever the names select
		if rollout.SpecReplicas(rs) == 0 {
			continue
		}
		if !nobody && !p.idle(rs) {
			continue
		}
		kept++
		if kept > limit {
			p.drain(rs, 0)
		} else {
			p.drain(rs, delay)
		}
	}
}

// undelay drops the deadlines of revisions that carry traffic: from before a
// hand-edited route, for instance, or from a blue-green strategy that knew nothing
// of routes. The delay counts from when traffic leaves again, so this comes
// before that: afterwards nobody could tell. While routers do not answer, what a
// Service selects may carry some. Without replicas nobody is served, and the delay
// runs whatever the weights are.
func (p *planner) undelay() {
	if !p.routed() || p.want == 0 {
		return
	}
	sure := p.s.TrafficKnown() && !slices.ContainsFunc(p.active(), unsure)
	carries := func(hash string) bool { return p.s.HashWeight(hash) > 0 || !sure && p.selected(hash) }
	for _, rs := range p.s.ReplicaSets {
		_, has := rs.Annotations[v1alpha1.AnnotationScaleDownDeadline]
		if has && carries(rollout.Hash(rs)) && !p.writes(rs) {
			n := rollout.SpecReplicas(rs)
			op := p.update(rs, n, n, map[string]*string{v1alpha1.AnnotationScaleDownDeadline: nil})
			p.add(op)
			p.undelayed = append(p.undelayed, op.ID())
		}
	}
}

// drain sets the deadline, waits for it, then scales to 0 and drops it in the
// same write.
func (p *planner) drain(rs *appsv1.ReplicaSet, delay int32) {
	if p.writes(rs) {
		return // the write in this plan starts the next pass
	}
	from := rollout.SpecReplicas(rs)
	deadline, err := time.Parse(time.RFC3339, rs.Annotations[v1alpha1.AnnotationScaleDownDeadline])
	switch {
	case delay > 0 && err != nil:
		// Status and annotations keep whole seconds; rounding up never cuts
		// the delay short.
		at := p.s.Now.Add(time.Duration(delay)*time.Second + 999*time.Millisecond).Truncate(time.Second).UTC()
		text := at.Format(time.RFC3339)
		p.add(p.update(rs, from, from, map[string]*string{v1alpha1.AnnotationScaleDownDeadline: &text}))
		p.wake(at)
	case delay > 0 && p.s.Now.Before(deadline):
		p.wake(deadline)
	default:
		p.drainTo(rs, from, 0)
	}
}

// drainTo lowers a revision that leaves, and drops its deadline.
func (p *planner) drainTo(rs *appsv1.ReplicaSet, from, to int32) {
	ann := map[string]*string{}
	if _, has := rs.Annotations[v1alpha1.AnnotationScaleDownDeadline]; has {
		ann[v1alpha1.AnnotationScaleDownDeadline] = nil
	}
	p.add(p.update(rs, from, to, ann))
}

// writes reports that the plan already holds a write of the ReplicaSet: another
// one would be computed from a version that is gone by then.
func (p *planner) writes(rs *appsv1.ReplicaSet) bool {
	for _, op := range p.plan.Ops {
		switch o := op.(type) {
		case rollout.UpdateReplicaSet:
			if o.Name == rs.Name {
				return true
			}
		case rollout.AdoptReplicaSet:
			if o.Name == rs.Name {
				return true
			}
		}
	}
	return false
}

// trimReplicaSets deletes the oldest ReplicaSets beyond revisionHistoryLimit,
// where they are empty and out of use: one that is not stays, and no younger one
// goes in its place.
func (p *planner) trimReplicaSets() {
	if p.veto || p.blind || p.moved() {
		return
	}
	for i := len(p.others) - 1; i >= max(0, int(p.ro.Spec.RevisionHistoryLimitOrDefault())); i-- {
		rs := p.others[i]
		if rollout.SpecReplicas(rs) != 0 || rs.Status.Replicas != 0 || rs.Status.ObservedGeneration < rs.Generation ||
			rs.DeletionTimestamp != nil || !p.idle(rs) || p.selected(rollout.Hash(rs)) || p.writes(rs) {
			continue
		}
		p.add(rollout.DeleteReplicaSet{
			Identity:        rollout.Identity{OpID: "delete/" + rollout.OpID(rs.Name)},
			Name:            rs.Name,
			UID:             string(rs.UID),
			ResourceVersion: rs.ResourceVersion,
		})
	}
}

// selected reports that a Service selects the revision. Without replicas names
// do not move, and a ReplicaSet that one of them still means is kept.
func (p *planner) selected(hash string) bool {
	for name := range p.s.Services {
		if p.s.ServiceHash(name) == hash && !p.abandoned(name) {
			return true
		}
	}
	return p.pointedAt(hash)
}

// trimRuns deletes completed runs beyond the history limits and those whose
// revision is gone. Current runs never count.
func (p *planner) trimRuns() {
	good, bad := p.ro.Spec.SuccessfulRunHistoryLimitOrDefault(), p.ro.Spec.UnsuccessfulRunHistoryLimitOrDefault()
	runs := make([]*v1alpha1.AnalysisRun, 0, len(p.s.AnalysisRuns))
	for _, run := range p.s.AnalysisRuns {
		if run.Status.Phase.Completed() && run.DeletionTimestamp == nil && !p.current(run.Name) {
			runs = append(runs, run)
		}
	}
	sort.Slice(runs, func(i, j int) bool {
		a, b := runs[i], runs[j]
		if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
			return b.CreationTimestamp.Before(&a.CreationTimestamp)
		}
		return a.Name > b.Name
	})
	for _, run := range runs {
		left := &bad
		if run.Status.Phase == v1alpha1.AnalysisPhaseSuccessful {
			left = &good
		}
		*left--
		if *left >= 0 && p.s.ByHash(run.Labels[v1alpha1.LabelPodTemplateHash]) != nil {
			continue
		}
		p.add(rollout.DeleteAnalysisRun{
			Identity:        rollout.Identity{OpID: "delete-run/" + rollout.OpID(run.Name)},
			Name:            run.Name,
			UID:             string(run.UID),
			ResourceVersion: run.ResourceVersion,
		})
	}
}
