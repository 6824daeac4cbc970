package sim

import (
	"maps"
	"slices"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// judgeRoute is S1, S4, S10 and S17: weights add up, and what rises has pods.
func (w *World) judgeRoute(before, after *Route) {
	for i, place := range after.Places {
		var sum int64
		for _, b := range place.Backends {
			sum += int64(b.Weight)
			if b.Weight < 0 {
				w.failf("oracle S4: weight %d of %s", b.Weight, b.Service)
			}
			if int64(b.Weight)*sum64(before.Places[i]) > int64(weightIn(before.Places[i], b.Service))*sum64(place) {
				w.judgeRaise(before.Places[i], place, b)
			}
		}
		w.judgeManaged(before.Places[i], place)
		w.judgeSubsets(after.Name, before.Places[i], place)
		if w.Rollout().Spec.Strategy.Canary != nil && sum != w.total() && sum != w.routedTotal() && !pointed(before.Places[i], place) {
			w.broken("S4", "weights of %s sum to %d instead of %d", place.Name, sum, w.total())
		}
	}
}

// pointed: the write only pointed subsets elsewhere. In Istio they are in an
// object of their own, and what somebody edited into the weights is brought
// back by the next write.
func pointed(before, after Place) bool {
	return !maps.Equal(before.Subsets, after.Subsets) && slices.Equal(before.Backends, after.Backends)
}

// sum64 is what the weights of a place add up to; more than 0, so that shares
// compare also where everything was 0.
func sum64(p Place) int64 {
	var sum int64
	for _, b := range p.Backends {
		sum += int64(b.Weight)
	}
	return max(1, sum)
}

func weightIn(p Place, service string) int32 {
	for _, b := range p.Backends {
		if b.Service == service {
			return b.Weight
		}
	}
	return 0
}

// judgeManaged is S1, S10 and S17 for routes beside the weights: a new one leads
// to a pod, and comes neither after an abort nor in a pause of the user's.
func (w *World) judgeManaged(before, after Place) {
	ro := w.Rollout()
	for _, m := range after.Managed {
		if slices.ContainsFunc(before.Managed, func(old ManagedRule) bool {
			return old.Content() == m.Content() && old.Service == m.Service
		}) {
			continue
		}
		switch hash := w.reaches(after, m.Service); {
		case ro.Status.Abort && hash != ro.Status.StableRS:
			w.broken("S10", "managed route %s is added after an abort", m.Name)
		case ro.Spec.Paused && !slices.ContainsFunc(rollout.ManagedAt(ro.Spec.Strategy.Canary, at(ro.Status.CurrentStepIndex)-1),
			func(old rollout.ManagedRoute) bool { return old.Content() == m.Content() }) && !w.serves(m):
			w.broken("S17", "managed route %s is added while spec.paused is set", m.Name)
		case w.available(hash) == 0:
			w.broken("S1", "managed route %s leads to %s, which has no pod", m.Name, hash)
		}
	}
}

// serves reports that some data plane has the managed route already: a router
// that comes while spec.paused is set gets what the others have.
func (w *World) serves(m ManagedRule) bool {
	for _, places := range w.served {
		if slices.ContainsFunc(places, func(p Place) bool {
			return slices.ContainsFunc(p.Managed, func(old ManagedRule) bool { return old.Content() == m.Content() && old.Service == m.Service })
		}) {
			return true
		}
	}
	return false
}

// judgeRaise: the pods behind the name can serve its new weight. Traffic may
// come back to stable pods that are no fewer than those it leaves.
func (w *World) judgeRaise(before, after Place, b Backend) {
	ro := w.Rollout()
	hash := w.reaches(after, b.Service)
	if ex := w.experimentOf(b.Service); ex != nil {
		w.judgeShare(ex, b)
		return
	}
	stable, canary := ends(ro, after)
	moving := ro.Status.StableRS != ro.Status.CurrentPodHash
	if b.Service == canary && moving && hash == ro.Status.CurrentPodHash {
		if ro.Status.Abort {
			w.broken("S10", "canary weight rises to %d after an abort", b.Weight)
		}
		var known int32
		if aw := ro.Status.Canary.Weights; aw != nil {
			known = aw.Canary.Weight
		}
		if ro.Spec.Paused && b.Weight > known {
			w.broken("S17", "canary weight rises to %d while spec.paused is set", b.Weight)
		}
	}
	if hash == "" {
		return // an unmanaged Service reaches every pod
	}
	have := w.available(hash)
	var source, had int64
	for _, o := range before.Backends {
		if w.reaches(before, o.Service) == hash {
			had += int64(o.Weight)
		}
	}
	if had >= int64(b.Weight) {
		return // it has it already, by another name
	}
	for _, o := range before.Backends {
		if o.Service == b.Service || o.Weight == 0 {
			continue
		}
		source = max(source, w.available(w.reaches(before, o.Service)))
	}
	if w.replicas() == 0 {
		return // nobody is to be served: pods that are left are on their way out
	}
	if b.Service == stable && int64(b.Weight-weightIn(before, stable)) <= w.shareIn(before) {
		return // of an experiment, whose pods end
	}
	if have == 0 && source > 0 {
		w.broken("S1", "%s rises to %d and reaches %s, which has no pod, while others do", b.Service, b.Weight, hash)
	}
	back := b.Service == stable && (have >= max(1, source) || source == 0) // what nobody serves is nowhere worse off
	need := int64(b.Weight) * w.replicas() / w.total()
	if n, ok := w.asked(ro, hash); ok {
		need = min(need, n)
	}
	if !w.enough(have, need) && !back {
		w.broken("S1", "%s rises to %d with %d of %d pods of %s", b.Service, b.Weight, have, need, hash)
	}
}
