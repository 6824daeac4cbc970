package invariant

import (
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// basic: a canary whose traffic nobody routes, so that pods are the weight.
func (c *checker) basic() bool {
	canary := c.s.Rollout.Spec.Strategy.Canary
	return canary != nil && canary.TrafficRouting == nil
}

func (c *checker) dynamic() bool {
	canary := c.s.Rollout.Spec.Strategy.Canary
	return canary != nil && canary.TrafficRouting != nil && canary.DynamicStableScale
}

// gives reports that stable gives pods up during an update.
func (c *checker) gives() bool { return c.basic() || c.dynamic() }

// basicPods is I8 for pods that are the weight: over the whole plan, never more
// of them than maxSurge allows, and never fewer available ones than
// maxUnavailable does unless there are fewer already. A revision that has nobody
// to take turns with gets all its pods at once.
func (c *checker) basicPods() {
	if !c.basic() {
		return
	}
	ceiling, floor := rollout.PodBounds(c.s.Rollout.Spec.Strategy.Canary, int32(c.want))
	stable := c.s.Rollout.Status.StableRS
	alone := c.s.ByHash(stable) == nil || stable == c.plan.Hash
	var most, before, after int64
	raises, lowers := false, false
	for _, rs := range c.s.ReplicaSets {
		now, to := int64(rollout.SpecReplicas(rs)), int64(rollout.SpecReplicas(rs))
		if o := c.resized(rs.Name); o != nil {
			to = int64(o.To)
			raises, lowers = raises || o.To > o.From, lowers || o.To < o.From
		}
		have := int64(rollout.Available(rs))
		most, before, after = most+max(now, to), before+have, after+min(have, to)
	}
	if raises && most > ceiling && !alone {
		c.broken("I8", nil, "there would be %d pods, %d are allowed", most, ceiling)
	}
	if lowers && after < min(before, floor) {
		c.broken("I8", nil, "%d of %d available pods would be left, %d are promised", after, before, floor)
	}
}

// resized is the plan's change of the ReplicaSet's size; nil when there is none.
func (c *checker) resized(name string) *rollout.UpdateReplicaSet {
	for _, op := range c.plan.Ops {
		if o, ok := op.(rollout.UpdateReplicaSet); ok && o.Name == name {
			return &o
		}
	}
	return nil
}

// emptied is I4 for a revision that loses its last pod: nothing selects it, or
// no other revision has a pod to select.
func (c *checker) emptied(o rollout.UpdateReplicaSet) {
	hash := rollout.Hash(c.byName(o.Name))
	elsewhere := !c.basic()
	for _, rs := range c.s.ReplicaSets {
		elsewhere = elsewhere || rollout.Hash(rs) != hash && rollout.Available(rs) > 0
	}
	if c.dynamic() && hash == c.s.Rollout.Status.StableRS {
		return // its name carries nothing: I3
	}
	if elsewhere && c.selected(hash) {
		c.broken("I4", o, "%s is scaled to 0 while a Service selects it", o.Name)
	}
}

// scaled is the size that setCanaryScale asks for; nil when the weight decides.
func (c *checker) scaled(hash string) *int64 {
	scale := rollout.ScaleInForce(c.s.Rollout)
	if scale == nil || hash != c.plan.Hash {
		return nil
	}
	n := int64(0)
	if scale.Replicas != nil {
		n = int64(*scale.Replicas)
	} else {
		n = c.least((int64(*scale.Weight)*c.want + c.total - 1) / c.total)
	}
	return &n
}

// arriving is the weight of the Services that the plan points at the revision,
// and that of routers which leave everything to its Service.
func (c *checker) arriving(hash string) int64 {
	var most int64
	for _, op := range c.plan.Ops {
		if o, ok := op.(rollout.PointService); ok && o.To == hash {
			most = max(most, c.s.ServiceWeight(o.Name))
		}
		if o, ok := op.(rollout.ReleaseTraffic); ok && hash != "" && c.s.ServiceHash(o.Release.StableService) == hash {
			most = max(most, c.total)
		}
	}
	return most
}

// least is n, or minPodsPerReplicaSet where that is more.
func (c *checker) least(n int64) int64 {
	if canary := c.s.Rollout.Spec.Strategy.Canary; canary != nil && canary.MinPodsPerReplicaSet != nil && n > 0 {
		return max(n, min(int64(*canary.MinPodsPerReplicaSet), c.want))
	}
	return n
}

// prompt: where pods are the weight, or stable follows the traffic, old pods
// leave without a delay; those of an aborted canary only where none is set.
func (c *checker) prompt(hash string) bool {
	var abort *int32
	if canary := c.s.Rollout.Spec.Strategy.Canary; canary != nil {
		abort = canary.AbortScaleDownDelaySeconds
	}
	return c.basic() || c.dynamic() && (hash != c.plan.Hash || abort == nil)
}

// ceiling is I8: never more than spec.replicas pods of one revision, unless the
// user asked for them.
func (c *checker) ceiling(o rollout.UpdateReplicaSet) {
	most := c.want
	if bg := c.s.Rollout.Spec.Strategy.BlueGreen; bg != nil && bg.PreviewReplicaCount != nil {
		most = max(most, int64(*bg.PreviewReplicaCount)) // the user wants a preview of that size
	}
	if n := c.scaled(rollout.Hash(c.byName(o.Name))); n != nil {
		most = max(most, *n)
	}
	if canary := c.s.Rollout.Spec.Strategy.Canary; o.To > o.From && int64(o.To) > most && (canary == nil || canary.MinPodsPerReplicaSet == nil) {
		c.broken("I8", o, "%s is raised to %d above spec.replicas %d", o.Name, o.To, c.want)
	}
}

// shared reports that stable gets, at every place, no more than it has there and
// what experiments give back: their pods end.
func (c *checker) shared(o rollout.RouteTraffic, stable rollout.Destination) bool {
	var keeps int64
	for _, d := range o.Desired.Destinations {
		if d.Role == rollout.RoleExperiment {
			keeps += int64(d.Weight)
		}
	}
	for _, at := range o.Router.Observation.Observed {
		if int64(stable.Weight) > at.Traffic.Weight(rollout.RoleStable)+at.Traffic.Weight(rollout.RoleExperiment)-keeps {
			return false
		}
	}
	return len(o.Router.Observation.Observed) > 0
}

// source is how many pods serve the traffic that would return to stable.
func (c *checker) source(o rollout.RouteTraffic) int64 {
	for _, d := range o.Desired.Destinations {
		if d.Role == rollout.RoleCanary {
			return int64(rollout.Available(c.s.ByHash(c.reaches(o.Router, d))))
		}
	}
	return 0
}

// pods a destination needs: rounded up where it is new, down where traffic
// comes back to stable, as Argo Rollouts' own arithmetic does.
func (c *checker) pods(r rollout.Router, d rollout.Destination) int64 {
	if d.Role == rollout.RoleStable {
		return int64(d.Weight) * c.want / c.total
	}
	n := c.least((int64(d.Weight)*c.want + c.total - 1) / c.total)
	if asked := c.scaled(c.reaches(r, d)); asked != nil {
		return min(n, *asked)
	}
	return n
}
