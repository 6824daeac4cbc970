package decide

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// needsIntent: effects outside the API server are repeated after a crash only
// if the API says that they were meant.
func (p *planner) needsIntent(r rollout.Router) bool {
	return r.Capabilities.ExternalEffects || !r.Capabilities.Observe
}

// intend notes what the router is asked for; the routes only where status is all
// that is known of it.
func (p *planner) intend(r rollout.Router, want rollout.Traffic) {
	entry := p.remembered(r)
	if entry == nil {
		return
	}
	weights := weightsOf(want)
	if !r.Capabilities.Observe {
		routes := rollout.Contents(want.Managed)
		if !sameWeights(entry.Intended, weights) || !slices.Equal(entry.IntendedRoutes, routes) {
			unanswered(entry)
		}
		entry.IntendedRoutes = routes
	} else if r.Subsets() {
		entry.IntendedRoutes = rollout.Contents(want.Managed)
	}
	if sameWeights(rollout.Asked(*entry), weights) {
		return
	}
	now := metav1.NewTime(p.s.Now.Truncate(time.Second))
	entry.Intended, entry.Since = &weights, &now
}

// unanswered keeps what the router was asked for, and may have done, when it is
// asked for something else before its answer is known: a process that died after
// its call did not record it.
func unanswered(entry *v1alpha1.RouterStatus) {
	asked := entry.Intended
	if asked == nil || entry.Acknowledged != nil && sameWeights(entry.Acknowledged, *asked) && slices.Equal(entry.AcknowledgedRoutes, entry.IntendedRoutes) {
		return
	}
	if !slices.ContainsFunc(entry.Unacknowledged, func(w v1alpha1.TrafficWeights) bool { return sameWeights(&w, *asked) }) {
		entry.Unacknowledged = append(slices.Clone(entry.Unacknowledged), *asked.DeepCopy())
	}
	for _, route := range entry.IntendedRoutes {
		if !slices.Contains(entry.UnacknowledgedRoutes, route) {
			entry.UnacknowledgedRoutes = append(slices.Clone(entry.UnacknowledgedRoutes), route)
		}
	}
}

// intended reports that status already says what the router is asked for.
func (p *planner) intended(r rollout.Router, want rollout.Traffic) bool {
	stored := p.stored(r)
	return sameWeights(rollout.Asked(*stored), weightsOf(want)) &&
		(r.Capabilities.Observe || slices.Equal(stored.IntendedRoutes, rollout.Contents(want.Managed)))
}

// counting reports that status still counts a settle time, of the traffic before:
// it must not count for the traffic after, not even if this process dies between
// the two writes.
func (p *planner) counting(r rollout.Router) bool {
	stored := p.noted(r)
	return stored != nil && stored.SettledSince != nil
}

// misread: the write points a subset at the revision that status means already,
// with another weight. Clients do not know that yet, and a process that found both
// after this one died would take the weight for granted.
func (p *planner) misread(r rollout.Router, want rollout.Traffic) bool {
	return r.Subsets() && slices.ContainsFunc(want.Destinations, func(d rollout.Destination) bool {
		if !d.Subset() {
			return false
		}
		now, _ := r.Subset(d.Role)
		return now != d.Hash && p.meant(r, d.Role, d.Hash) && !p.meant(r, d.Role, d.Hash, d.Weight)
	})
}

func sameWeights(a *v1alpha1.TrafficWeights, b v1alpha1.TrafficWeights) bool {
	return a != nil && a.Canary == b.Canary && a.Stable == b.Stable && slices.Equal(a.Additional, b.Additional)
}
