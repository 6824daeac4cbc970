package sim

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// watcher is what the oracles remember between writes.
type watcher struct {
	plan rollout.Plan
	// decided is when the last plan was made.
	decided time.Time
	// carried is when a revision last had weight on any route or in any data
	// plane; one that has it now is in carrying, with when that began.
	carrying map[string]time.Time
	carried  map[string]time.Time
	// resumed: a person removed pause conditions since the controller last
	// added one.
	resumed bool
	// returning: the revision under update is an older one that was wanted back
	// within its scale-down delay.
	returning bool
	// brief is the shortest delay of every strategy the Rollout has had.
	brief delays
	// attempt grows with everything after which an analysis may be run anew.
	attempt int
	runs    map[string]int
}

func newWatcher() watcher {
	return watcher{carrying: map[string]time.Time{}, carried: map[string]time.Time{}, runs: map[string]int{}}
}

// judge holds a committed write of the controller against the store and the
// data plane as they are, not as the planner believed. A write that would have
// been right on what the caches showed is only counted: no controller can see
// what has not been delivered.
func (w *World) judge(c change) {
	if c.by == byUser {
		w.userChanged(c)
	}
	if c.by != byController {
		return
	}
	switch obj := c.after.(type) {
	case *Route:
		w.judgeRoute(c.before.(*Route), obj)
	case *corev1.Service:
		w.judgeService(c.before.(*corev1.Service), obj)
	case *appsv1.ReplicaSet:
		if before, ok := c.before.(*appsv1.ReplicaSet); ok {
			w.judgeReplicaSet(before, obj)
		}
	case *v1alpha1.AnalysisRun:
		if c.before == nil {
			w.judgeRun(obj)
		}
	case *v1alpha1.Rollout:
		w.judgeStatus(c.before.(*v1alpha1.Rollout), obj)
	case nil:
		if rs, ok := c.before.(*appsv1.ReplicaSet); ok {
			w.judgeDeletion(rs)
		}
	}
}

func (w *World) userChanged(c change) {
	if _, ok := c.before.(*v1alpha1.AnalysisRun); ok && c.after == nil {
		w.watch.attempt++
	}
	before, _ := c.before.(*v1alpha1.Rollout)
	after, _ := c.after.(*v1alpha1.Rollout)
	if after != nil {
		w.watch.brief = w.watch.brief.or(delaysOf(after))
	}
	if before != nil && after != nil && (before.Spec.Strategy.BlueGreen == nil) != (after.Spec.Strategy.BlueGreen == nil) {
		w.watch.attempt++ // another strategy has analyses of its own
	}
	if before != nil && after != nil && len(after.Status.PauseConditions) < len(before.Status.PauseConditions) {
		w.watch.resumed = true
		w.watch.attempt++
	}
}

// broken fails the run, or counts it when a cache was behind.
func (w *World) broken(rule, format string, args ...any) {
	if w.stale() {
		w.Soft++
		return
	}
	w.failf("oracle "+rule+": "+format, args...)
}

// stale reports a change by somebody else that the controller has not seen.
func (w *World) stale() bool {
	for i, c := range w.store.log {
		if c.by != byController && i >= w.cache.shown[c.key.kind] {
			return true
		}
	}
	return false
}

func (w *World) replicas() int64 {
	return int64((&rollout.Snapshot{Rollout: w.Rollout(), ReplicaSets: list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet)}).Replicas())
}

func (w *World) total() int64 {
	total := int64((&rollout.Snapshot{Rollout: w.Rollout()}).TotalWeight())
	if (w.Rollout().Spec.Strategy.Canary == nil || total <= 0) && w.routed > 0 {
		return int64(w.routed) // routes from before the strategy was changed, or by mistake
	}
	return max(total, 1)
}

// routedTotal is what stands for all traffic on the routes: those of a canary
// whose traffic routing was removed may still say it in their own way.
func (w *World) routedTotal() int64 {
	if basic(w.Rollout()) {
		return max(w.total(), int64(w.routed))
	}
	return w.total()
}

// hashOf is the revision a Service reaches now.
func (w *World) hashOf(service string) string {
	svc := w.Service(service)
	if svc == nil {
		return ""
	}
	return svc.Spec.Selector[v1alpha1.LabelPodTemplateHash]
}

func (w *World) byHash(hash string) *appsv1.ReplicaSet {
	if hash == "" {
		return nil
	}
	for _, rs := range list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet) {
		if rollout.Hash(rs) == hash {
			return rs
		}
	}
	return nil
}

func (w *World) available(hash string) int64 { return int64(rollout.Available(w.byHash(hash))) }

// everyPlace calls f with each place of each route the Rollout has to do with,
// as written and as served.
func (w *World) everyPlace(f func(Place)) {
	ro := w.Rollout()
	if ro == nil {
		return
	}
	ours := map[string]bool{}
	for _, b := range rollout.Blocks(ro) {
		// Without traffic routing, a route that was given back is nobody's.
		ours[routeName(b.Config)] = (!basic(ro) || !w.givenBack(routeName(b.Config))) && !w.untouched(ro, b)
	}
	for _, r := range list[*Route](w.store.live, kindRoute) {
		if !ours[r.Name] {
			continue
		}
		for _, p := range r.Places {
			f(p)
		}
		for _, p := range w.served[r.Name] {
			f(p)
		}
	}
}

// untouched: a router that cannot be observed leaves, and was never asked for
// anything.
func (w *World) untouched(ro *v1alpha1.Rollout, b rollout.Block) bool {
	return b.Releasing && w.Plugins[b.Plugin].Blind && len(rollout.Remember(ro, b).Observed) == 0
}

// givenBack: the route and its data plane send everything to the stable Service.
func (w *World) givenBack(name string) bool {
	route := find[*Route](w.store.live, kindRoute, name)
	return route != nil && !slices.ContainsFunc(append(clonePlaces(route.Places), w.served[name]...), func(p Place) bool {
		stable, _ := ends(w.Rollout(), p)
		return len(p.Managed) > 0 || int64(weightIn(p, stable)) != w.total()
	})
}

// weightOf is the largest weight any place gives what matches.
func (w *World) weightOf(matches func(service string) bool) int64 {
	return w.weightWhere(func(_ Place, service string) bool { return matches(service) })
}

func (w *World) weightWhere(matches func(p Place, service string) bool) int64 {
	var most int64
	w.everyPlace(func(p Place) {
		var sum int64
		for _, b := range p.Backends {
			if matches(p, b.Service) {
				sum += int64(b.Weight)
			}
		}
		for _, m := range p.Managed {
			if matches(p, m.Service) {
				sum = max(sum, 1) // traffic, whatever the weight is
			}
		}
		most = max(most, sum)
	})
	return most
}

func (w *World) hashWeight(hash string) int64 {
	return w.weightWhere(func(p Place, svc string) bool { return hash != "" && w.reaches(p, svc) == hash })
}

// trackTraffic notes when revisions stop carrying traffic. What they carried
// because a strategy was changed and changed back, before any plan was made, is
// none: no controller can tell.
func (w *World) trackTraffic() {
	since := w.watch.carrying
	w.watch.carrying = map[string]time.Time{}
	for hash, at := range since {
		if w.now.After(at) && !w.watch.decided.Before(at) {
			w.watch.carried[hash] = w.now
		}
	}
	for _, rs := range list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet) {
		hash := rollout.Hash(rs)
		if w.hashWeight(hash) == 0 && hash != w.active() {
			continue
		}
		w.watch.carrying[hash] = w.now
		if at, before := since[hash]; before {
			w.watch.carrying[hash] = at
		}
	}
}

// enough is S1's capacity: floor(w·N/W) pods, or the user's threshold of them.
func (w *World) enough(have, need int64) bool {
	t := w.canary().ReplicaProgressThreshold
	switch {
	case t == nil || t.Value < 0:
		return have >= need
	case t.Type == v1alpha1.ReplicaProgressThresholdPods:
		return have >= min(int64(t.Value), need)
	}
	return have*100 >= int64(t.Value)*need
}

// judgeService is S3: no name that carries traffic moves, and none moves to
// nothing.
func (w *World) judgeService(before, after *corev1.Service) {
	from, to := before.Spec.Selector[v1alpha1.LabelPodTemplateHash], after.Spec.Selector[v1alpha1.LabelPodTemplateHash]
	if from == to {
		return
	}
	if w.Rollout().Spec.Strategy.BlueGreen != nil {
		w.judgeSwitch(after.Name, from, to)
		return
	}
	rs := w.byHash(to)
	switch have := w.available(to); {
	case have == 0 && w.available(from) > 0:
		w.broken("S3", "Service %s leaves %s for %s, which has no pod", after.Name, from, to)
	case from == "" && (have == 0 || have < int64(rollout.SpecReplicas(rs))):
		w.broken("S3", "Service %s is adopted for %s, which has %d of %d pods", after.Name, to, have, rollout.SpecReplicas(rs))
	}
	// The stable name may leave a revision without pods: nobody is served there,
	// and its weight is meant for the stable revision. It may return to that from
	// anywhere when every pod is there. The canary name may not:
	// its weight was not meant for the next revision.
	if stable, _ := rollout.Services(w.Rollout()); after.Name == stable &&
		(w.available(from) == 0 || to == w.Rollout().Status.StableRS && w.available(to) >= w.replicas()) {
		return
	}
	if weight := w.weightOf(func(svc string) bool { return svc == after.Name }); from != "" && weight > 0 {
		w.broken("S3", "Service %s moves from %s to %s while it carries weight %d", after.Name, from, to, weight)
	}
}

// judgeReplicaSet is S2, S7 and S9: pods stay while traffic, or its delay,
// needs them.
func (w *World) judgeReplicaSet(before, after *appsv1.ReplicaSet) {
	ro, hash := w.Rollout(), rollout.Hash(after)
	from, to, want := rollout.SpecReplicas(before), rollout.SpecReplicas(after), w.replicas()
	if to > from {
		if most, ok := w.asked(ro, hash); int64(to) > w.ceiling() && !(ok && int64(to) <= most) {
			w.broken("S7", "%s is raised to %d with spec.replicas %d", after.Name, to, want)
		}
		if ro.Spec.Strategy.BlueGreen == nil && ro.Spec.Paused && hash == ro.Status.CurrentPodHash && hash != ro.Status.StableRS {
			w.broken("S17", "%s is raised to %d while spec.paused is set", after.Name, to)
		}
	}
	if basic(ro) {
		w.judgeBasicPods(before, after)
	}
	if to >= from {
		return
	}
	share := w.hashWeight(hash)
	total := w.routedTotal()
	need := (min(share, total)*want + total - 1) / total // two routes, or a hand, may add up to more
	if n, ok := w.asked(ro, hash); ok {
		need = min(need, n)
	}
	if int64(to) < need {
		w.broken("S2", "%s is lowered to %d while weight %d on it needs %d", after.Name, to, share, need)
	}
	if w.active() == hash && int64(to) < want {
		w.broken("S8", "%s, which users reach, is lowered to %d with spec.replicas %d", after.Name, to, want)
	}
	if hash == ro.Status.StableRS && int64(to) < want && !basic(ro) && !dynamic(ro) {
		w.broken("S8", "stable %s is lowered to %d with spec.replicas %d", after.Name, to, want)
	}
	if to == 0 && want > 0 {
		w.judgeDelay(after)
	}
}

// judgeDelay is S9: a revision that has served stays for its delay.
func (w *World) judgeDelay(rs *appsv1.ReplicaSet) {
	ro, hash := w.Rollout(), rollout.Hash(rs)
	last, served := w.watch.carried[hash]
	delay, abort, never, limited := w.delays(ro)
	if !served || limited {
		return
	}
	if dynamic(ro) {
		delay = 0 // its pods go with its traffic
		if ro.Spec.Strategy.Canary.AbortScaleDownDelaySeconds == nil {
			abort = 0
		}
	}
	if hash == ro.Status.CurrentPodHash {
		if !ro.Status.Abort {
			return // under update it follows its weight, down to setWeight 0
		}
		if delay = abort; never {
			w.broken("S9", "%s is scaled to 0 though abortScaleDownDelaySeconds is 0", rs.Name)
		}
	} else if !never {
		delay = min(delay, abort) // the deadline may be from its own abort
	}
	if w.now.Before(last.Add(delay)) {
		w.broken("S9", "%s is scaled to 0 %s after it last carried traffic", rs.Name, w.now.Sub(last))
	}
}

func (w *World) judgeDeletion(rs *appsv1.ReplicaSet) {
	ro, hash := w.Rollout(), rollout.Hash(rs)
	if rollout.SpecReplicas(rs) != 0 || w.hashWeight(hash) > 0 || hash == ro.Status.StableRS || hash == ro.Status.CurrentPodHash {
		w.broken("S9", "%s is deleted while it is in use", rs.Name)
	}
}

// judgeRun is S13: one run for one purpose and attempt.
func (w *World) judgeRun(run *v1alpha1.AnalysisRun) {
	purpose := run.Labels[v1alpha1.LabelPodTemplateHash] + "/" + run.Labels[v1alpha1.LabelRolloutType] + "/" + run.Labels[v1alpha1.LabelStepIndex]
	if at, ok := w.watch.runs[purpose]; ok && at == w.watch.attempt {
		w.broken("S13", "AnalysisRun %s is a twin: %s was started in this attempt already", run.Name, purpose)
	}
	w.watch.runs[purpose] = w.watch.attempt
}
