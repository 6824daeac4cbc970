package decide

import (
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// targetsBlueGreen: what is stable and what users reach have full size; the
// preview has its own.
func (p *planner) targetsBlueGreen() {
	for _, rs := range []*appsv1.ReplicaSet{p.stableRS, p.activeRS()} {
		if rs != nil {
			p.size[rs.Name] = p.want
		}
	}
	if p.newRS != nil && p.newRS != p.stableRS {
		p.size[p.newRS.Name] = p.previewTarget()
	}
	for _, rs := range p.others {
		if _, set := p.size[rs.Name]; !set {
			p.size[rs.Name] = p.delayedTarget(rs)
		}
	}
}

// previewSize is the size of the new revision before the switch.
func (p *planner) previewSize() int32 {
	if n := p.bg.PreviewReplicaCount; n != nil {
		return max(0, *n)
	}
	return p.want
}

// previewTarget of the new revision while it is not the stable one. Unlike a
// canary it grows also while spec.paused is set: nobody is served by it.
func (p *planner) previewTarget() int32 {
	now := rollout.SpecReplicas(p.newRS)
	switch {
	case p.switched() && !p.aborted(), p.initial():
		return p.want
	case p.aborted(), p.plan.Invalid != "":
		return min(now, max(p.want, p.previewSize()))
	case p.activeRS() == nil, p.fast():
		return p.want
	case p.ro.Status.BlueGreen.ScaleUpPreviewCheckPoint && len(p.ro.Status.PauseConditions) == 0:
		return p.want
	}
	return p.previewSize()
}

// delayedTarget of a revision that waits for its scale-down delay: it follows
// spec.replicas if it had full size, so that it can come back at once.
func (p *planner) delayedTarget(rs *appsv1.ReplicaSet) int32 {
	now := rollout.SpecReplicas(rs)
	_, delayed := rs.Annotations[v1alpha1.AnnotationScaleDownDeadline]
	if delayed && now > 0 && p.want > 0 && rs.Annotations[v1alpha1.AnnotationDesiredReplicas] == strconv.Itoa(int(now)) {
		return p.want
	}
	return min(now, max(p.want, p.previewSize()))
}

// scaleBlueGreen writes the targets. What users reach is never lowered below
// spec.replicas, whichever revision it is.
func (p *planner) scaleBlueGreen() {
	p.scaleRouted()
	for _, rs := range p.others {
		if rs == p.activeRS() {
			p.resize(rs, p.size[rs.Name])
		}
	}
}

// keepsDeadline reports that the deadline of a ReplicaSet means something: it
// leaves after an abort, or it returned within its delay.
func (p *planner) keepsDeadline(rs *appsv1.ReplicaSet) bool {
	if rs != p.newRS {
		return false
	}
	return p.returning() || p.aborted() && p.sinceTheAbort(rs)
}

// sinceTheAbort: the deadline is that of the abort. One from before it, of a
// revision that had returned within its delay, would cut the abort's short.
func (p *planner) sinceTheAbort(rs *appsv1.ReplicaSet) bool {
	deadline, err := time.Parse(time.RFC3339, rs.Annotations[v1alpha1.AnnotationScaleDownDeadline])
	at := p.ro.Status.AbortedAt
	delay, _ := p.abortDelay()
	return err == nil && at != nil && !deadline.Before(at.Add(time.Duration(delay)*time.Second))
}

// drainBlueGreen scales down what nobody reaches any more, after its delay.
func (p *planner) drainBlueGreen() {
	if p.pausedFor(v1alpha1.PauseReasonInconclusiveAnalysis) != nil {
		return // whoever decides may still want to go back
	}
	p.drainAborted()
	p.drainOthers()
	for _, rs := range p.others { // those that stay for now follow spec.replicas
		if !p.writes(rs) && p.size[rs.Name] != rollout.SpecReplicas(rs) && rollout.SpecReplicas(rs) > 0 && p.idle(rs) {
			text := strconv.Itoa(int(p.want))
			p.add(p.update(rs, rollout.SpecReplicas(rs), p.size[rs.Name], map[string]*string{v1alpha1.AnnotationDesiredReplicas: &text}))
		}
	}
}

// scaleDownDelay is how long a revision runs on that is neither new nor stable,
// and how many of them may.
func (p *planner) scaleDownDelay() (seconds, limit int32) {
	if p.bg != nil {
		return wholeSeconds(p.bg.ScaleDownDelay()), p.bg.ScaleDownDelayRevisionLimitOrDefault()
	}
	return wholeSeconds(p.canary.ScaleDownDelay()), p.canary.ScaleDownDelayRevisionLimitOrDefault()
}

// abortDelay is how long an aborted revision runs on; never when it is to stay,
// as it does until a negative delay is corrected.
func (p *planner) abortDelay() (seconds int32, never bool) {
	delay, never := p.canary.AbortScaleDownDelay()
	if p.bg != nil {
		delay, never = p.bg.AbortScaleDownDelay()
	}
	return wholeSeconds(delay), never || delay < 0
}

func wholeSeconds(d time.Duration) int32 { return int32(d / time.Second) }
