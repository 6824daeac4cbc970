// Package invariant checks a plan against the safety rules I1–I9 of the
// architecture, from the snapshot alone and independently of how decide came
// to it. Act refuses a plan that breaks one; the simulator fails the run.
package invariant

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// RuleIntent is the rule about effects outside the API server: they are planned
// only when status says already that they are meant.
const RuleIntent = "intent"

// Rules are the names of all rules.
func Rules() []string {
	return []string{"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", RuleIntent}
}

// Violation is one broken rule.
type Violation struct {
	// Rule is I1 to I9, or RuleIntent.
	Rule string
	// Op is the offending operation; "" for the transition.
	Op   rollout.OpID
	What string
}

func (v Violation) Error() string { return fmt.Sprintf("%s: %s: %s", v.Rule, v.Op, v.What) }

// Check returns every rule the plan would break; empty means it is safe given
// the snapshot.
func Check(s *rollout.Snapshot, plan rollout.Plan) []Violation {
	// A total or a count that makes no sense is an invalid spec; the arithmetic
	// goes on with one that does.
	c := &checker{s: s, plan: plan, total: max(1, int64(s.TotalWeight())), want: int64(s.Replicas())}
	for _, op := range plan.Ops {
		switch o := op.(type) {
		case rollout.RouteTraffic:
			c.weights(o)
			c.raises(o)
			c.turns(o)
			c.opens(o)
			c.aborted(o)
		case rollout.CallStep:
			c.asks(o)
		case rollout.UpdateReplicaSet:
			c.lowers(o)
			c.ceiling(o)
		case rollout.DeleteReplicaSet:
			c.deletes(o)
		case rollout.PointService:
			c.points(o)
		}
	}
	c.basicPods()
	c.transition()
	return c.found
}

type checker struct {
	s     *rollout.Snapshot
	plan  rollout.Plan
	total int64
	want  int64
	found []Violation
}

func (c *checker) broken(rule string, op rollout.Op, format string, args ...any) {
	v := Violation{Rule: rule, What: fmt.Sprintf(format, args...)}
	if op != nil {
		v.Op = op.ID()
	}
	c.found = append(c.found, v)
}

// weights is I1.
func (c *checker) weights(o rollout.RouteTraffic) {
	var sum int64
	for _, d := range o.Desired.Destinations {
		if d.Weight < 0 {
			c.broken("I1", o, "weight %d of %s is negative", d.Weight, d.Service)
		}
		sum += int64(d.Weight)
	}
	if sum != int64(o.Desired.TotalWeight) || sum != c.total {
		c.broken("I1", o, "weights sum to %d instead of %d", sum, c.total)
	}
}

// raises is I2: what a name would carry more of, the pods behind it can serve.
// The revision is the one the Service selects now, whatever the plan believes.
func (c *checker) raises(o rollout.RouteTraffic) {
	for _, d := range o.Desired.Destinations {
		if int64(d.Weight) <= c.lowest(o.Router, d) {
			continue
		}
		hash := c.reaches(o.Router, d)
		rs := c.s.ByHash(hash)
		have := int64(rollout.Available(rs))
		if hash == "" && rs == nil {
			continue // a Service of the user's own selector reaches every pod
		}
		if d.Role == rollout.RoleStable && (c.shared(o, d) || have == 0 && c.source(o) == 0) {
			continue // what an experiment gives back, or nobody serves, has nowhere better to go
		}
		need := c.pods(o.Router, d)
		nowhere := d.Role == rollout.RoleStable && c.want > 0 && have == 0 && c.source(o) > 0
		if c.enough(have, need) && !nowhere || d.Role == rollout.RoleStable && have >= max(1, c.source(o)) {
			continue
		}
		c.broken("I2", o, "%s %s rises to %d on revision %s with %d of %d pods available", d.Role, d.Service, d.Weight, hash, have, need)
	}
}

// opens is I2 and I5 for managed routes: one that some place lacks leads to a
// pod, and none is added after an abort.
func (c *checker) opens(o rollout.RouteTraffic) {
	for _, m := range o.Desired.Managed {
		everywhere := len(o.Router.Observation.Observed) > 0
		for _, at := range o.Router.Observation.Observed {
			everywhere = everywhere && slices.ContainsFunc(at.Traffic.Managed, func(there rollout.ManagedRoute) bool { return there.Content() == m.Content() })
		}
		if everywhere {
			continue
		}
		if st := c.s.Rollout.Status; st.Abort && st.StableRS != c.plan.Hash {
			c.broken("I5", o, "managed route %s is added after an abort", m.Name)
		}
		if c.source(o) == 0 {
			c.broken("I2", o, "managed route %s leads to the canary, which has no available pod", m.Name)
		}
	}
}

// lowest is the least weight any place of the router gives the destination.
func (c *checker) lowest(r rollout.Router, d rollout.Destination) int64 {
	low := c.total
	for _, at := range r.Observation.Observed {
		var w int64
		for _, o := range at.Traffic.Destinations {
			if o.Service == d.Service && (o.Service != "" || o.Role == d.Role) {
				w += int64(o.Weight)
			}
		}
		low = min(low, w)
	}
	if len(r.Observation.Observed) == 0 {
		return 0
	}
	return low
}

func (c *checker) enough(have, need int64) bool {
	canary := c.s.Rollout.Spec.Strategy.Canary
	if canary == nil || canary.ReplicaProgressThreshold == nil || canary.ReplicaProgressThreshold.Value < 0 {
		return have >= need
	}
	t := canary.ReplicaProgressThreshold
	if t.Type == v1alpha1.ReplicaProgressThresholdPods {
		return have >= min(int64(t.Value), need)
	}
	return have*100 >= int64(t.Value)*need
}

// aborted is the first half of I5: after an abort the canary never gets more. A
// name that still leads to the stable revision, from a promotion whose names have
// not moved yet, is not the canary's.
func (c *checker) aborted(o rollout.RouteTraffic) {
	st := c.s.Rollout.Status
	if !st.Abort || st.StableRS == c.plan.Hash {
		return
	}
	for _, d := range o.Desired.Destinations {
		if d.Role == rollout.RoleCanary && int64(d.Weight) > c.lowest(o.Router, d) && c.reaches(o.Router, d) != st.StableRS {
			c.broken("I5", o, "canary weight rises to %d after an abort", d.Weight)
		}
	}
}

// lowers is I3, I4 and I9: pods go only when the observed traffic does not
// need them, their delay has passed, and the traffic is known at all.
func (c *checker) lowers(o rollout.UpdateReplicaSet) {
	rs := c.byName(o.Name)
	if rs == nil {
		return
	}
	hash, stable := rollout.Hash(rs), c.s.Rollout.Status.StableRS
	if c.s.Rollout.Status.Abort && c.s.ByHash(stable) != nil && hash == c.plan.Hash && hash != stable && o.To > o.From {
		c.broken("I5", o, "%s is raised to %d after an abort", o.Name, o.To)
	}
	if o.To >= o.From {
		return
	}
	adopts := hash == stable && int64(o.To) >= c.want
	if !c.s.TrafficKnown() && !adopts {
		c.broken("I9", o, "%s is lowered to %d while traffic is unknown", o.Name, o.To)
		return
	}
	share := min(c.total, max(c.s.HashWeight(hash), c.arriving(hash)))
	need := (share*c.want + c.total - 1) / c.total
	if n := c.scaled(hash); n != nil {
		need = min(need, *n)
	}
	if int64(o.To) < need {
		c.broken("I3", o, "%s is lowered to %d while %d of %d weight on it needs %d", o.Name, o.To, share, c.total, need)
	}
	if hash == stable && int64(o.To) < c.want && !c.gives() {
		c.broken("I8", o, "stable %s is lowered to %d below spec.replicas %d", o.Name, o.To, c.want)
	}
	if c.active() == hash && hash != "" && int64(o.To) < c.want {
		c.broken("I8", o, "%s, which users reach, is lowered to %d below spec.replicas %d", o.Name, o.To, c.want)
	}
	if o.To > 0 || c.want == 0 || c.updating(hash) && !c.basic() {
		return
	}
	if hash != stable && !c.prompt(hash) && !c.delayed(rs) {
		c.broken("I4", o, "%s is scaled to 0 before its scale-down delay has passed", o.Name)
	}
	c.emptied(o)
}

// updating reports that the revision is under update and follows its weight,
// down to setWeight 0: delays are for a revision that leaves.
func (c *checker) updating(hash string) bool {
	st := c.s.Rollout.Status
	return hash == c.plan.Hash && hash != st.StableRS && !st.Abort
}

// delayed reports that the ReplicaSet has no delay or that it has passed.
func (c *checker) delayed(rs *appsv1.ReplicaSet) bool {
	if bg := c.s.Rollout.Spec.Strategy.BlueGreen; bg != nil {
		return c.delayedBlueGreen(rs, bg)
	}
	canary := c.s.Rollout.Spec.Strategy.Canary
	if canary == nil {
		return true
	}
	none := canary.ScaleDownDelaySeconds != nil && *canary.ScaleDownDelaySeconds <= 0
	if canary.ScaleDownDelayRevisionLimit != nil || none && rollout.Hash(rs) != c.plan.Hash {
		return true
	}
	return c.expired(rs)
}

// expired reports that the deadline of the ReplicaSet has passed.
func (c *checker) expired(rs *appsv1.ReplicaSet) bool {
	at, err := time.Parse(time.RFC3339, rs.Annotations[v1alpha1.AnnotationScaleDownDeadline])
	return err == nil && !c.s.Now.Before(at)
}

func (c *checker) selected(hash string) bool {
	for name := range c.s.Services {
		if c.s.ServiceHash(name) == hash && !c.previews(name) {
			return true
		}
	}
	return c.named(hash)
}

func (c *checker) deletes(o rollout.DeleteReplicaSet) {
	rs := c.byName(o.Name)
	if rs == nil {
		return
	}
	hash := rollout.Hash(rs)
	if rollout.SpecReplicas(rs) != 0 || c.s.HashWeight(hash) > 0 || c.selected(hash) || hash == c.s.Rollout.Status.StableRS || !c.s.TrafficKnown() {
		c.broken("I4", o, "%s is deleted while it is in use or traffic is unknown", o.Name)
	}
}

// points is I6: a name that carries traffic stays where it is; one that
// carries nothing moves to pods that exist.
func (c *checker) points(o rollout.PointService) {
	if !c.s.TrafficKnown() {
		c.broken("I9", o, "Service %s moves while traffic is unknown", o.Name)
	}
	if bg := c.s.Rollout.Spec.Strategy.BlueGreen; bg != nil {
		c.switches(o, bg)
		return
	}
	to := c.s.ByHash(o.To)
	if rollout.Available(to) < 1 {
		c.broken("I6", o, "Service %s moves to revision %s, which has no available pod", o.Name, o.To)
	}
	if o.From == "" && rollout.Available(to) < rollout.SpecReplicas(to) {
		c.broken("I6", o, "Service %s is adopted by a revision that is not fully available", o.Name)
	}
	// The stable name may leave a revision without pods: nobody is served
	// there. What the canary name carries was not meant for the next revision.
	stable, _ := rollout.Services(c.s.Rollout)
	dead := o.Name == stable && rollout.Available(c.s.ByHash(o.From)) == 0
	// It may also return to the stable revision when that has every pod: a
	// blue-green strategy before this canary may have switched it.
	back := o.Name == stable && o.To == c.s.Rollout.Status.StableRS && int64(rollout.Available(to)) >= c.want
	if w := c.s.ServiceWeight(o.Name); o.From != "" && w > 0 && !dead && !back {
		c.broken("I6", o, "Service %s moves while it carries weight %d", o.Name, w)
	}
}

// transition is I4, I7 and I9 for the position.
func (c *checker) transition() {
	t, st := c.plan.Transition, c.s.Rollout.Status
	switch t.Kind {
	case rollout.TransitionRetry:
		if st.Abort {
			c.broken("I5", nil, "an aborted update starts again though nobody asked for it")
		}
	case rollout.TransitionStep:
		var at int32
		if st.CurrentStepIndex != nil {
			at = *st.CurrentStepIndex
		}
		if t.Index == nil || *t.Index != at+1 {
			c.broken("I7", nil, "a completed step moves the index from %d to %v", at, t.Index)
		}
		if t.Pause != "" && !c.pauses(t.Index) {
			c.broken("I7", nil, "a pause is entered at step %v, which is none", t.Index)
		}
	case rollout.TransitionPromote:
		rs := c.s.ByHash(c.plan.Hash)
		if !c.enough(int64(rollout.Available(rs)), c.want) {
			c.broken("I4", nil, "revision %s becomes stable with %d of %d pods", c.plan.Hash, rollout.Available(rs), c.want)
		}
		if st.StableRS != "" && !c.s.TrafficKnown() {
			c.broken("I9", nil, "revision %s becomes stable while traffic is unknown", c.plan.Hash)
		}
		c.carriesAll()
	}
}

// pauses reports that the step at the index is a pause.
func (c *checker) pauses(index *int32) bool {
	canary := c.s.Rollout.Spec.Strategy.Canary
	return canary != nil && index != nil && int(*index) < len(canary.Steps) && canary.Steps[*index].Pause != nil
}

// carriesAll: a revision becomes stable only when every place of every active
// router gives it everything.
func (c *checker) carriesAll() {
	if c.s.ByHash(c.s.Rollout.Status.StableRS) == nil {
		return // there is nothing to take the traffic from
	}
	if c.s.Rollout.Spec.Strategy.BlueGreen != nil && c.active() != c.plan.Hash {
		c.broken("I4", nil, "revision %s becomes stable while users reach revision %q", c.plan.Hash, c.active())
	}
	if c.want == 0 {
		return
	}
	for _, r := range c.s.Routers {
		if r.Releasing {
			continue
		}
		for _, at := range r.Observation.Observed {
			var w int64
			for _, d := range at.Traffic.Destinations {
				if c.s.DestinationHash(d) == c.plan.Hash {
					w += int64(d.Weight)
				}
			}
			if w != c.total {
				c.broken("I4", nil, "revision %s becomes stable with %d of %d weight at %s", c.plan.Hash, w, c.total, at.Place)
			}
		}
	}
}

func (c *checker) byName(name string) *appsv1.ReplicaSet {
	for _, rs := range c.s.ReplicaSets {
		if rs.Name == name {
			return rs
		}
	}
	return nil
}
