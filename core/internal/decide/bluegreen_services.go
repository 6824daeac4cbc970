package decide

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// servicesBlueGreen points the preview at the new revision, and the active
// Service at the one that users should reach.
func (p *planner) servicesBlueGreen() {
	p.preview()
	if rs := p.activeTarget(); rs != nil {
		p.sendUsers(p.bg.ActiveService, rs)
	}
	// Routers of the canary this was before give everything back to its stable
	// name, which has to select what is stable until they have left.
	if former := p.canary.StableService; len(p.s.Routers) > 0 && p.stableRS != nil && former != p.bg.ActiveService && former != p.bg.PreviewService {
		p.sendUsers(former, p.stableRS)
	}
}

// preview follows the new revision at once, also before its pods are there:
// nobody but its testers reaches them through it. After an abort it stays.
func (p *planner) preview() {
	svc := p.s.Services[p.bg.PreviewService]
	if svc == nil || p.newRS == nil || p.s.ServiceHash(p.bg.PreviewService) == p.hash || p.halted() || p.aborted() || p.veto || p.blind {
		return
	}
	if weight := p.s.ServiceWeight(p.bg.PreviewService); weight > 0 {
		p.hold(rollout.Hold{Reason: rollout.HoldWaitingForTraffic, EndedBy: "the routers being released",
			What: fmt.Sprintf("Service %s still carries weight %d", p.bg.PreviewService, weight)})
		return
	}
	if svc.Name == p.canary.CanaryService && p.following() {
		p.hold(rollout.Hold{Reason: rollout.HoldWaitingForTraffic, EndedBy: "the data plane following",
			What: fmt.Sprintf("Service %s moves when clients know that it carries nothing", svc.Name)})
		return
	}
	p.repoint(svc.Name, p.newRS)
}

// following: a data plane does not serve yet what a router has given back. One
// that nobody can ask holds up nothing.
func (p *planner) following() bool {
	return slices.ContainsFunc(p.s.Routers, func(r rollout.Router) bool { return r.Known() && !p.converged(r) })
}

// activeTarget is what the active Service should select now; nil leaves it.
func (p *planner) activeTarget() *appsv1.ReplicaSet {
	at := p.s.ServiceHash(p.bg.ActiveService)
	switch {
	case p.initial(), p.newRS == nil && !p.aborted():
		return nil // the first revision is stable before users reach it
	case p.promoted(), p.aborted(), at == "":
		return p.stableRS
	case p.activate && !p.moved():
		return p.newRS
	case len(p.s.Routers) > 0 && at != p.hash:
		return p.stableRS // a canary that was being settled had not moved it yet
	case rollout.Available(p.s.ByHash(at)) == 0 && rollout.Available(p.stableRS) > 0 && at != p.hash:
		return p.stableRS // nobody is served where it points
	}
	return nil
}

// sendUsers moves a Service to pods that can take what it carries: going on,
// all of them; going back, no fewer than serve it now.
func (p *planner) sendUsers(name string, rs *appsv1.ReplicaSet) {
	svc, from := p.s.Services[name], p.s.ServiceHash(name)
	if svc == nil || from == rollout.Hash(rs) || p.blind || (p.veto || p.ro.Spec.Paused) && !p.aborted() {
		return
	}
	need, have := p.want, rollout.Available(rs)
	switch {
	case from == "":
		need = max(need, rollout.SpecReplicas(rs))
	case rs == p.stableRS:
		need = min(need, max(1, rollout.Available(p.s.ByHash(from))))
	}
	if have < need || !rollout.Reported(rs) {
		p.hold(rollout.Hold{Reason: rollout.HoldWaitingForPods, EndedBy: "pods becoming available", Blocking: p.aborted(),
			What: fmt.Sprintf("Service %s moves to ReplicaSet %s when %d pods are available, %d are", name, rs.Name, need, have)})
		return
	}
	p.repoint(name, rs)
}

func (p *planner) repoint(name string, rs *appsv1.ReplicaSet) {
	svc := p.s.Services[name]
	p.add(rollout.PointService{
		Identity:        rollout.Identity{OpID: "service/" + rollout.OpID(name)},
		Name:            name,
		ResourceVersion: svc.ResourceVersion,
		From:            p.s.ServiceHash(name),
		To:              rollout.Hash(rs),
		Claim:           svc.Annotations[v1alpha1.AnnotationManagedBy] != p.ro.Name,
	})
}

// abandoned: after an abort the preview goes on selecting what it does, though
// those pods go.
func (p *planner) abandoned(service string) bool {
	return p.bg != nil && service == p.bg.PreviewService && service != p.bg.ActiveService && p.aborted()
}
