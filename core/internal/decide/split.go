package decide

// The replica arithmetic of a canary without traffic routing. Its traffic
// follows its pods, so the weight is approximated by a ratio of pods, within
// the bounds of maxSurge and maxUnavailable.

// idealSplit are the pods of the new and the stable revision that come nearest
// to weight out of total. With a surge one pod more than replicas may be used
// where that is nearer. A weight that is neither nothing nor everything keeps a
// pod of each revision if there can be two.
func idealSplit(replicas, weight, total, surge int64) (canary, stable int64) {
	if replicas == 0 {
		return 0, 0
	}
	up, down := (replicas*weight+total-1)/total, replicas*weight/total
	allOfOne := weight <= 0 || weight >= total || replicas == 1 && surge == 0
	between := func(pods int64) bool { return 2*(pods*weight%total) == total } // halves are rounded up, if they can be
	type candidate struct{ canary, pods int64 }
	var all []candidate
	if up < replicas || allOfOne {
		all = append(all, candidate{up, replicas})
	}
	if (!between(replicas) || len(all) == 0) && (down != 0 || allOfOne) {
		all = append(all, candidate{down, replicas})
	}
	if surge > 0 {
		all = append(all, candidate{up, replicas + 1})
		if !between(replicas+1) && (down != 0 || allOfOne) {
			all = append(all, candidate{down, replicas + 1})
		}
	}
	off := func(c candidate) int64 { return max(c.canary*total-weight*c.pods, weight*c.pods-c.canary*total) }
	best := all[0]
	for _, c := range all[1:] {
		if off(c)*best.pods < off(best)*c.pods {
			best = c
		}
	}
	return best.canary, best.pods - best.canary
}

// pods of one revision: those it has, how many of them are available.
type pods struct{ count, available int64 }

// lowerable is what counts as serving when pods are to be taken away: those
// that are not available anyway go first.
func (p pods) lowerable(ignoreAvailability bool) int64 {
	if p.count < p.available || ignoreAvailability {
		return p.count
	}
	return p.available
}

// bounds are the most pods there may be and the least that have to be available.
type bounds struct{ ceiling, floor int64 }

// nextSplit is one move from what is there towards the ideal split: up as far
// as the ceiling allows, then down as far as the floor does. Pods of other
// revisions go first; until they have, nothing is taken from these two but, where
// no canary is wanted, those of its pods that serve nobody. Argo Rollouts keeps
// these as well: with maxSurge 0, an abort of a revision that crashes and had
// replaced another one never gets stable its pods back.
func nextSplit(canary, stable pods, others int64, idealCanary, idealStable int64, b bounds) (toCanary, toStable int64) {
	budget := b.ceiling - canary.count - stable.count - others
	growing := idealCanary >= canary.count
	stable.count, budget = raise(stable.count, idealStable, budget)
	canary.count, _ = raise(canary.count, idealCanary, budget)
	spare := canary.lowerable(!growing) + stable.lowerable(growing) - b.floor
	switch {
	case others > 0 && idealCanary == 0:
		return min(canary.count, canary.available), stable.count
	case others > 0:
		return canary.count, stable.count
	case spare <= 0:
		return canary.count, stable.count
	}
	if growing {
		stable.count = max(min(idealStable, stable.count), stable.count-spare)
		toStable, toCanary = b.adjust(stable, canary)
		return toCanary, toStable
	}
	canary.count = max(idealCanary, canary.count-spare)
	return b.adjust(canary, stable)
}

func raise(now, ideal, budget int64) (to, left int64) {
	if now >= ideal || budget <= 0 {
		return now, budget
	}
	to = min(ideal, now+budget)
	return to, budget - (to - now)
}

// adjust brings a split under the ceiling after pods were taken from drained:
// what is too much goes from the other one as far as that costs no available
// pod that the floor needs, the rest from the drained one.
func (b bounds) adjust(drained, other pods) (toDrained, toOther int64) {
	over := max(0, other.count+drained.count-b.ceiling)
	kept := max(0, other.count-over)
	available := min(drained.available, drained.count) + min(other.available, kept)
	lost := max(0, min(other.available, other.count)-min(other.available, kept))
	kept += max(0, min(lost, b.floor-available))
	over = max(0, kept+drained.count-b.ceiling)
	return max(0, drained.count-over), kept
}
