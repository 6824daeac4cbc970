package decide

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Routers that split between subsets, such as those of an Istio DestinationRule,
// have no Services whose selectors the planner moves: it is their subsets that
// are pointed at revisions. They follow the same rules (I6), and a settle time
// lies between what empties a subset, what points it elsewhere, and what gives
// it weight again.

// subsets reports that no Service has to be named. Who cannot be asked is held,
// or refused by its own words.
func (p *planner) subsets() bool {
	if p.canary.StableService != "" || p.canary.CanaryService != "" || p.canary.PingPong != nil || len(p.active()) == 0 {
		return false
	}
	for _, r := range p.active() {
		if r.Problem == nil && !r.Subsets() || r.Problem != nil && r.Capabilities != (rollout.Capabilities{}) && !r.Capabilities.Observe {
			return false
		}
	}
	return true
}

// unnamed reports that the spec names one Service, once or twice, or none, where
// routers split between two: nobody can be asked for a weight between a name and
// nothing, or itself.
func (p *planner) unnamed() bool {
	if p.canary.StableService != "" && p.canary.CanaryService != "" && p.canary.StableService != p.canary.CanaryService {
		return false
	}
	return slices.ContainsFunc(p.active(), func(r rollout.Router) bool { return !r.Subsets() })
}

// crossed reports that Services take turns beside subsets that do not: after a
// promotion the one kind of router would have to give all weight to the stable
// name, and the other to the canary's.
func (p *planner) crossed() bool {
	var services, subsets bool
	for _, r := range p.active() {
		subsets = subsets || r.Subsets()
		services = services || !r.Subsets() && len(r.Observation.Observed) > 0
	}
	return p.canary.PingPong != nil && services && subsets
}

// behind is the revision that a role's traffic reaches: what its Service
// selects, or what the subsets name where routers split between these. Where
// they do not agree it is one that is not wanted, so that nothing counts as
// moved before everything has, and rather a revision than every pod.
func (p *planner) behind(role rollout.Role, wanted string) string {
	name := p.canary.CanaryService
	if role == rollout.RoleStable {
		name = p.canary.StableService
	}
	named, open, at := name != "" && len(p.active()) == 0, false, ""
	for _, r := range p.active() {
		if !r.Subsets() {
			named = named || name != ""
			continue
		}
		hash, _ := r.Subset(role)
		if hash != wanted && hash != "" {
			return hash
		}
		open = open || hash == ""
		at = wanted
	}
	switch {
	case open:
		return ""
	case named:
		return p.s.ServiceHash(name)
	}
	return at
}

// target is the revision that a role's traffic on this router reaches, and with
// a stable subset that nobody is served by, the one it is pointed at in the same
// write. One that is given back reaches every pod before it gets anything.
func (p *planner) target(r rollout.Router, role rollout.Role) string {
	switch {
	case r.Subsets() && role == rollout.RoleStable && !r.Releasing:
		return p.pointing(r, role)
	case r.Subsets() && role == rollout.RoleStable:
		return p.stable
	case r.Subsets():
		hash, _ := r.Subset(role)
		return hash
	case role == rollout.RoleStable:
		return p.s.ServiceHash(p.canary.StableService)
	}
	return p.s.ServiceHash(p.canary.CanaryService)
}

// behindName is the revision that the canary name should reach: the stable one
// after an abort, and where the superseded one it reaches would have to wait.
func (p *planner) behindName() *appsv1.ReplicaSet {
	if p.aborted() || p.leftBehind() {
		return p.stableRS
	}
	return p.newRS
}

// pointing is the revision a subset should name now: the one it is meant for if
// it may be pointed there, else the one it names.
func (p *planner) pointing(r rollout.Router, role rollout.Role) string {
	now, _ := r.Subset(role)
	to := p.aimed(role)
	if to == nil || now == rollout.Hash(to) || p.unready(r, role, to) != nil {
		return now
	}
	return rollout.Hash(to)
}

func (p *planner) aimed(role rollout.Role) *appsv1.ReplicaSet {
	if role == rollout.RoleStable {
		return p.stableRS
	}
	return p.behindName()
}

// unready says what keeps a subset from being pointed at a revision; nil when
// nothing does. The rules are those of point for Services.
func (p *planner) unready(r rollout.Router, role rollout.Role, to *appsv1.ReplicaSet) *rollout.Hold {
	if p.blind || p.veto && !p.aborted() {
		return &rollout.Hold{} // the reason is held already
	}
	now, carries := r.Subset(role)
	have, need := rollout.Available(to), int32(1)
	if now == "" {
		need = max(1, rollout.SpecReplicas(to))
	}
	if have < need || !rollout.Reported(to) {
		return &rollout.Hold{Reason: rollout.HoldWaitingForPods, EndedBy: "pods becoming available",
			What: fmt.Sprintf("the %s subset of router %s is pointed at ReplicaSet %s when %d pods are available, %d are", role, r.Plugin, to.Name, need, have)}
	}
	free := carries == 0 && (p.converged(r) || p.meant(r, role, rollout.Hash(to), 0))
	back := !p.lagging() && p.welcomes(to) // as strayed says of a Service
	if now == "" || free || role == rollout.RoleStable && (p.deserted(r) || back) {
		return nil
	}
	return &rollout.Hold{Reason: rollout.HoldWaitingForTraffic, EndedBy: "its weight reaching 0",
		What: fmt.Sprintf("the %s subset of router %s carries weight %d and is pointed at ReplicaSet %s when it has carried nothing for a while",
			role, r.Plugin, carries, to.Name)}
}

// deserted reports that the stable subset names a revision that is not stable
// and has no pods, from a Rollout of an earlier day: nobody is served there.
func (p *planner) deserted(r rollout.Router) bool {
	at, _ := r.Subset(rollout.RoleStable)
	return at != "" && at != p.stable && rollout.Available(p.s.ByHash(at)) == 0
}

// explainTurns holds what the subsets of the router wait for.
func (p *planner) explainTurns(r rollout.Router) {
	if !r.Subsets() {
		return
	}
	for _, role := range []rollout.Role{rollout.RoleStable, rollout.RoleCanary} {
		to := p.aimed(role)
		if now, _ := r.Subset(role); to == nil || now == rollout.Hash(to) {
			continue
		}
		if h := p.unready(r, role, to); h != nil && h.What != "" {
			p.hold(*h)
		}
	}
}

// meant reports that status says already that the router is asked to give the
// role this weight at this revision: the settle time before it has been waited
// for, and is counted anew since. Without a weight any is meant.
func (p *planner) meant(r rollout.Router, role rollout.Role, hash string, weight ...int32) bool {
	e := p.noted(r)
	if e == nil || rollout.Asked(*e) == nil {
		return false
	}
	d := e.Intended.Canary
	if role == rollout.RoleStable {
		d = e.Intended.Stable
	}
	return d.PodTemplateHash == hash && (len(weight) == 0 || slices.Contains(weight, d.Weight))
}

// turning keeps weight from a subset of the router that has carried nothing until
// clients know where it points. What was there before an abort goes back at once:
// nobody has pointed it elsewhere since. A weight that somebody edited in
// meanwhile is not one it has carried.
func (p *planner) turning(r rollout.Router, weight int32) int32 {
	hash, canary := r.Subset(rollout.RoleCanary)
	_, stable := r.Subset(rollout.RoleStable)
	switch {
	case p.restores(r):
		return p.total
	case !r.Subsets() || p.converged(r) || p.meant(r, rollout.RoleCanary, hash, weight):
		return weight
	case (canary == 0 || p.meant(r, rollout.RoleCanary, hash, 0)) && weight > 0:
		return 0
	case stable == 0 && weight < p.total && !p.aborted():
		return p.total
	}
	return weight
}

// restores reports that the stable subset has to carry nothing for now, whatever
// somebody gave it by hand, and that what the canary's names can take that back:
// after a promotion until the other one has moved, and else until clients know
// where it has moved.
func (p *planner) restores(r rollout.Router) bool {
	at, _ := r.Subset(rollout.RoleStable)
	from, carries := r.Subset(rollout.RoleCanary)
	if !r.Subsets() || carries == 0 || p.veto || p.blind || !p.enough(p.s.ByHash(from), p.podsFor(p.total)) {
		return false
	}
	if at != "" && at != p.stable && from == p.stable {
		return true
	}
	had := p.ro.Status.Canary.Weights // what is only meant may have been for another position
	return !p.aborted() && !p.converged(r) && p.meant(r, rollout.RoleStable, at, 0) &&
		had != nil && had.Canary.Weight == p.total && had.Canary.PodTemplateHash == from
}

// edited reports that the subsets are not what status says they were asked for:
// somebody edited them by hand. The settle time counts for what was there before,
// and of what is there now clients may not know yet.
func (p *planner) edited(r rollout.Router) bool {
	e := p.noted(r)
	if r.Releasing || e == nil || rollout.Asked(*e) == nil {
		return false
	}
	for _, at := range r.Observation.Observed {
		for _, d := range at.Traffic.Destinations {
			if !d.Subset() {
				continue
			}
			asked := e.Intended.Canary
			if d.Role == rollout.RoleStable {
				asked = e.Intended.Stable
			}
			if asked.ServiceName == "" && (d.Hash != asked.PodTemplateHash || d.Weight != asked.Weight) {
				return true
			}
		}
	}
	return false
}

// justTurned reports that the canary's subset carries nothing and clients may
// not know yet where it points, unless the routes are meant already.
func (p *planner) justTurned(r rollout.Router, want []rollout.ManagedRoute) bool {
	_, carries := r.Subset(rollout.RoleCanary)
	if !r.Subsets() || carries > 0 || p.converged(r) {
		return false
	}
	e := p.noted(r)
	return e == nil || !slices.Equal(e.IntendedRoutes, rollout.Contents(want))
}

// pointedAt reports that a subset names the revision: its pods stay for as long.
func (p *planner) pointedAt(hash string) bool {
	for _, r := range p.s.Routers {
		for _, role := range []rollout.Role{rollout.RoleStable, rollout.RoleCanary} {
			if at, _ := r.Subset(role); hash != "" && r.Subsets() && at == hash {
				return true
			}
		}
	}
	return false
}

// opened reports that a releasing router's stable subset reaches every pod and
// has yet to get what the canary's carries.
func opened(r rollout.Router) bool {
	at, _ := r.Subset(rollout.RoleStable)
	_, carries := r.Subset(rollout.RoleCanary)
	return r.Subsets() && at == "" && carries > 0
}

// giveBack records, before the write, that an opened router gives its weight
// back. The settle time that counted for the open subset ends with that: a
// process that dies between the two writes would find it over, and take the
// canary's pods away under clients that have not heard of the second.
func (p *planner) giveBack(r rollout.Router) {
	entry, now := p.remembered(r), metav1.NewTime(p.s.Now.Truncate(time.Second))
	entry.Intended, entry.Since, entry.SettledSince = &v1alpha1.TrafficWeights{Stable: v1alpha1.WeightDestination{Weight: p.total}}, &now, nil
	p.add(rollout.RecordIntent{Identity: rollout.Identity{OpID: "back/" + opRelease(r)}, What: "router " + r.Plugin + " gives its weight back"})
}

// givingBack reports that status says so already.
func (p *planner) givingBack(r rollout.Router) bool {
	e := p.noted(r)
	if e == nil {
		return false
	}
	w := rollout.Asked(*e)
	return w != nil && sameWeights(w, v1alpha1.TrafficWeights{Stable: v1alpha1.WeightDestination{Weight: p.total}})
}

// gaveBack reports that a releasing router has nothing left, its subsets
// included: they would reach nobody once the revision they name is gone. Where
// the same plugin goes on with them in another block, they are in use.
func (p *planner) gaveBack(r rollout.Router) bool {
	if !p.empty(r) {
		return false
	}
	for _, a := range p.active() {
		shared := func(c rollout.Claim) bool { return slices.Contains(a.Observation.Claims, c) }
		if a.Plugin == r.Plugin && a.Subsets() && slices.ContainsFunc(r.Observation.Claims, shared) {
			return true
		}
	}
	stable, _ := r.Subset(rollout.RoleStable)
	canary, _ := r.Subset(rollout.RoleCanary)
	return stable == "" && canary == ""
}
