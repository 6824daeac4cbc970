package decide

import (
	"strconv"
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

const opScaleWorkload rollout.OpID = "workload"

// validWorkload checks what spec.workloadRef names; false when there is no
// template to look at.
func (p *planner) validWorkload() bool {
	ref, w := p.ro.Spec.WorkloadRef, p.s.Workload
	switch {
	case ref == nil:
		return true
	case w == nil:
		p.unread("it has not been read")
	case w.Problem == nil && !p.ro.Spec.TemplateResolvedFromRef:
		p.invalid("spec.template", "must be empty with spec.workloadRef, which brings a template of its own; remove one of them")
	case w.Problem == nil:
		return true
	case w.Problem.Class == rollout.ProblemInvalid:
		p.invalid("spec.workloadRef", "%s", w.Problem.Message)
	default:
		p.unread(w.Problem.Message)
	}
	return false
}

// unread holds whatever needs the template. What runs goes on running.
func (p *planner) unread(why string) {
	p.veto = true
	w := p.s.Workload
	p.hold(rollout.Hold{Reason: rollout.HoldWaitingForWorkload, EndedBy: "reading it",
		What:     "the template of " + p.ro.Spec.WorkloadRef.Kind + " " + p.ro.Spec.WorkloadRef.Name + " is not known: " + why,
		Blocking: w != nil && w.Problem != nil && w.Problem.Class == rollout.ProblemRefused})
	retry := time.Second
	if w != nil && w.Problem != nil && w.Problem.Retry > 0 {
		retry = w.Problem.Retry
	}
	p.wake(p.s.Now.Add(retry))
}

// noteWorkload writes on the Rollout which generation of the workload it was
// looked at for: clients compare it with status.workloadObservedGeneration.
func (p *planner) noteWorkload() {
	w := p.s.Workload
	if w == nil || w.Problem != nil {
		return
	}
	generation := strconv.FormatInt(w.Generation, 10)
	if p.ro.Annotations[v1alpha1.AnnotationWorkloadGeneration] == generation {
		return
	}
	for i, op := range p.plan.Ops {
		if patch, ok := op.(rollout.PatchRollout); ok {
			patch.WorkloadGeneration = generation
			p.plan.Ops[i] = patch
			return
		}
	}
	p.add(rollout.PatchRollout{Identity: rollout.Identity{OpID: opPatchRollout},
		ResourceVersion: p.ro.ResourceVersion, WorkloadGeneration: generation})
}

// scaleWorkload hands the pods of the referenced Deployment over to the first
// revision, as workloadRef.scaleDown says.
func (p *planner) scaleWorkload() {
	w := p.s.Workload
	if w == nil || w.Problem != nil || w.Kind != "Deployment" || p.veto || p.ro.Spec.Paused {
		return
	}
	to := p.workloadTarget(w)
	if to == w.Replicas {
		return
	}
	op := rollout.ScaleWorkload{Identity: rollout.Identity{OpID: opScaleWorkload},
		Name: w.Name, ResourceVersion: w.ResourceVersion, From: w.Replicas, To: to}
	if w.Remembered == nil {
		before := w.Replicas
		op.Remember = &before
	}
	p.add(op)
}

// workloadTarget is how many replicas the referenced Deployment should have. A
// Rollout that has scaled it to 0 once leaves it alone: whoever scales it up
// again wants it so.
func (p *planner) workloadTarget(w *rollout.Workload) int32 {
	before, begun := w.Replicas, w.Remembered != nil
	if begun {
		before = *w.Remembered
	}
	if p.plan.Revision != 1 && (!begun || w.Replicas == 0 || w.Replicas >= before) {
		return w.Replicas
	}
	healthy := p.promoted() && p.ro.Status.Phase == v1alpha1.RolloutPhaseHealthy
	switch scale := p.ro.Spec.WorkloadRef.ScaleDown; {
	case scale != v1alpha1.ScaleDownOnSuccess && scale != v1alpha1.ScaleDownProgressively:
		return w.Replicas
	case healthy:
		return 0
	case scale == v1alpha1.ScaleDownProgressively && p.initial() && p.newRS != nil:
		// Never more than it had: the Rollout may want more pods than it did.
		return min(before, max(0, p.want-p.newRS.Status.ReadyReplicas))
	}
	return w.Replicas
}
