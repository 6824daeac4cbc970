package sim

import (
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// judgeStatus is S5, S6, S15 and S17 for a status the controller wrote. What
// was there before is what it saw: the write carries its version.
func (w *World) judgeStatus(before, after *v1alpha1.Rollout) {
	o, n := before.Status, after.Status
	if o.AbortedAt != nil != (n.AbortedAt != nil) || o.CurrentPodHash != n.CurrentPodHash || o.CurrentStepHash != n.CurrentStepHash {
		w.watch.attempt++
	}
	if len(n.PauseConditions) > len(o.PauseConditions) {
		w.watch.resumed = false
	}
	if o.CurrentPodHash != n.CurrentPodHash {
		w.watch.returning = w.leaving(n.CurrentPodHash, o.StableRS)
	}
	w.watch.returning = w.watch.returning && !n.Abort
	w.lose(o, n)
	w.judgePosition(before, after)
	w.judgeForm(before, after)
	if after.Spec.Strategy.BlueGreen != nil {
		w.judgeBlueGreen(before, after)
		return
	}
	if len(n.PauseConditions) < len(o.PauseConditions) && same(o.CurrentStepIndex, n.CurrentStepIndex) &&
		o.CurrentPodHash == n.CurrentPodHash && o.CurrentStepHash == n.CurrentStepHash && !n.Abort && o.StableRS == n.StableRS && !o.PromoteFull {
		w.failf("oracle S17: the controller removed a pause without going on")
	}
}

func same(a, b *int32) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

func at(index *int32) int {
	if index == nil {
		return 0
	}
	return int(*index)
}

// judgePosition is S5: an index that moves has a reason a person can find.
func (w *World) judgePosition(before, after *v1alpha1.Rollout) {
	o, n := before.Status, after.Status
	if o.StableRS != n.StableRS {
		w.judgePromotion(before, after)
	}
	canary := after.Spec.Strategy.Canary
	if canary == nil || same(o.CurrentStepIndex, n.CurrentStepIndex) {
		return
	}
	from, to, end := at(o.CurrentStepIndex), at(n.CurrentStepIndex), len(canary.Steps)
	switch {
	case o.CurrentPodHash != n.CurrentPodHash || o.CurrentStepHash != n.CurrentStepHash:
		rollback := n.StableRS == n.CurrentPodHash
		if recent := w.recent(after) && to == end; rollback && to != end || !rollback && to != 0 && !recent {
			w.broken("S5", "a reset goes to step %d of %d", to, end)
		}
	case o.AbortedAt == nil && n.AbortedAt != nil, o.AbortedAt != nil && n.AbortedAt == nil && n.StableRS != n.CurrentPodHash:
		if to != 0 && !(o.PromoteFull && to == end) {
			w.failf("oracle S5: an abort or retry goes to step %d", to)
		}
	case o.StableRS != n.StableRS, o.PromoteFull, n.StableRS == n.CurrentPodHash, w.recent(before) && to == end:
		if to != end {
			w.failf("oracle S5: a promotion goes to step %d of %d", to, end)
		}
	case to == from+1:
		w.judgeStep(before, canary.Steps[from], from)
	default:
		w.broken("S5", "the index moves from %d to %d", from, to)
	}
}

// recent reports that the current revision is older than the stable one by no
// more than the rollback window.
func (w *World) recent(ro *v1alpha1.Rollout) bool {
	window, current, stable := ro.Spec.RollbackWindow, w.byHash(ro.Status.CurrentPodHash), w.byHash(ro.Status.StableRS)
	if window == nil || current == nil || stable == nil || !begunBefore(current, stable) {
		return false
	}
	var between int32
	for _, rs := range list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet) {
		if rs != current && rs != stable && begunBefore(current, rs) && begunBefore(rs, stable) {
			between++
		}
	}
	return between < window.Revisions
}

// judgeStep looks for what entitles the controller to leave the step.
func (w *World) judgeStep(before *v1alpha1.Rollout, step v1alpha1.CanaryStep, index int) {
	st := before.Status
	if before.Spec.Paused {
		w.failf("oracle S17: step %d completes while spec.paused is set", index)
	}
	switch {
	case step.SetWeight != nil:
		w.judgeWeight(before, *step.SetWeight, "S5", "step "+strconv.Itoa(index)+" completes")
	case step.Experiment != nil:
		ex := find[*v1alpha1.Experiment](w.store.live, kindExperiment, st.Canary.CurrentExperiment)
		if ex == nil || ex.Status.Phase != v1alpha1.AnalysisPhaseSuccessful || ex.Labels[v1alpha1.LabelPodTemplateHash] != st.CurrentPodHash {
			w.broken("S5", "experiment step %d is left without a successful Experiment", index)
		}
	case step.Plugin != nil:
		for _, e := range st.Canary.StepPluginStatuses {
			if int(e.Index) == index && e.Operation == v1alpha1.StepPluginOperationRun && (e.Disabled || e.Phase == v1alpha1.StepPluginPhaseSuccessful) {
				return
			}
		}
		w.failf("oracle S5: plugin step %d is left before the plugin was done: %+v", index, st.Canary.StepPluginStatuses)
	case step.SetHeaderRoute != nil, step.SetMirrorRoute != nil:
		w.judgeRoutes(before, index)
	case step.SetCanaryScale != nil:
		if n, ok := w.asked(before, st.CurrentPodHash); ok && w.replicas() > 0 && !w.enough(w.available(st.CurrentPodHash), min(n, int64(rollout.SpecReplicas(w.byHash(st.CurrentPodHash))))) {
			w.broken("S5", "step %d completes with %d of %d pods", index, w.available(st.CurrentPodHash), n)
		}
	case step.Pause != nil:
		if st.ControllerPause && len(st.PauseConditions) == 0 && w.watch.resumed {
			return
		}
		for _, c := range st.PauseConditions {
			if c.Reason == v1alpha1.PauseReasonCanaryPauseStep && step.Pause.Duration != nil &&
				!w.now.Before(c.StartTime.Add(time.Duration(step.Pause.DurationSeconds())*time.Second)) {
				return
			}
		}
		w.failf("oracle S5: pause step %d is left too early: %+v, resumed %v", index, st.PauseConditions, w.watch.resumed)
	case step.Analysis != nil:
		var run *v1alpha1.AnalysisRun
		if st.Canary.CurrentStepAnalysisRunStatus != nil {
			run = find[*v1alpha1.AnalysisRun](w.store.live, kindAnalysisRun, st.Canary.CurrentStepAnalysisRunStatus.Name)
		}
		if run == nil || run.Status.Phase != v1alpha1.AnalysisPhaseSuccessful || run.Labels[v1alpha1.LabelStepIndex] != strconv.Itoa(index) ||
			run.Labels[v1alpha1.LabelPodTemplateHash] != st.CurrentPodHash {
			w.broken("S5", "analysis step %d is left without a successful run", index)
		}
	}
}

// judgeRoutes: every place of every active router has, and serves, exactly the
// managed routes of this position.
func (w *World) judgeRoutes(ro *v1alpha1.Rollout, index int) {
	want := rollout.ManagedAt(ro.Spec.Strategy.Canary, index)
	if w.replicas() == 0 {
		return
	}
	for _, block := range rollout.Blocks(ro) {
		route := find[*Route](w.store.live, kindRoute, routeName(block.Config))
		if block.Releasing || route == nil {
			continue
		}
		for _, p := range steered(block.Config, append(clonePlaces(route.Places), w.served[route.Name]...)) {
			if !slices.EqualFunc(rules(p), want, func(a, b rollout.ManagedRoute) bool { return a.Content() == b.Content() }) {
				w.broken("S5", "step %d completes while %s/%s has the managed routes %v", index, route.Name, p.Name, rules(p))
			}
		}
	}
}

// judgeWeight: every place of every active router carries and serves the
// weight, and it reaches the new revision, which has the pods for it.
func (w *World) judgeWeight(ro *v1alpha1.Rollout, weight int32, rule, what string) {
	if w.replicas() == 0 {
		return // no pod takes any traffic, so steps are gone through without
	}
	if basic(ro) {
		w.judgeRatio(ro, weight, rule, what)
		return
	}
	for _, block := range rollout.Blocks(ro) {
		if block.Releasing {
			continue
		}
		name := routeName(block.Config)
		route := find[*Route](w.store.live, kindRoute, name)
		if route == nil {
			w.broken(rule, "%s without route %s", what, name)
			continue
		}
		for _, p := range steered(block.Config, append(clonePlaces(route.Places), w.served[name]...)) {
			_, canary := ends(ro, p)
			for _, b := range p.Backends {
				if b.Service == canary && b.Weight != weight {
					w.broken(rule, "%s while %s/%s has weight %d instead of %d", what, name, p.Name, b.Weight, weight)
				}
			}
			if hash := w.reaches(p, canary); weight > 0 && hash != ro.Status.CurrentPodHash {
				w.broken(rule, "%s while %s of %s/%s reaches %s, not %s", what, canary, name, p.Name, hash, ro.Status.CurrentPodHash)
			}
		}
	}
	need := int64(weight) * w.replicas() / w.total()
	if n, ok := w.asked(ro, ro.Status.CurrentPodHash); ok {
		need = min(need, n)
	}
	if !w.enough(w.available(ro.Status.CurrentPodHash), need) {
		w.broken(rule, "%s with %d of %d pods", what, w.available(ro.Status.CurrentPodHash), need)
	}
}

// judgePromotion is S6.
func (w *World) judgePromotion(before, after *v1alpha1.Rollout) {
	st := after.Status
	if st.StableRS != st.CurrentPodHash {
		w.failf("oracle S6: %s becomes stable, which is not the current revision", st.StableRS)
	}
	if !w.enough(w.available(st.StableRS), w.replicas()) {
		w.broken("S6", "%s becomes stable with %d of %d pods", st.StableRS, w.available(st.StableRS), w.replicas())
	}
	if w.byHash(before.Status.StableRS) == nil {
		return // the first one, or somebody deleted the stable ReplicaSet
	}
	if before.Spec.Paused {
		w.failf("oracle S17: promotion while spec.paused is set")
	}
	if before.Spec.Strategy.BlueGreen != nil {
		w.judgeServed(before)
		return
	}
	if !basic(before) { // there old pods may go afterwards
		w.judgeWeight(before, int32(w.total()), "S6", "promotion")
	}
}

// judgeForm is S15: what every status must look like.
func (w *World) judgeForm(before, after *v1alpha1.Rollout) {
	o, n := before.Status, after.Status
	switch n.Phase {
	case v1alpha1.RolloutPhaseHealthy, v1alpha1.RolloutPhaseDegraded, v1alpha1.RolloutPhaseProgressing, v1alpha1.RolloutPhasePaused, "":
	default:
		w.failf("oracle S15: phase %q", n.Phase)
	}
	seen, _ := strconv.ParseInt(n.ObservedGeneration, 10, 64)
	earlier, _ := strconv.ParseInt(o.ObservedGeneration, 10, 64)
	if n.ObservedGeneration != "" && (seen > after.Generation || seen < earlier) {
		w.failf("oracle S15: observedGeneration goes from %s to %s at generation %d", o.ObservedGeneration, n.ObservedGeneration, after.Generation)
	}
	types := map[v1alpha1.RolloutConditionType]bool{}
	for _, c := range n.Conditions {
		if types[c.Type] {
			w.failf("oracle S15: condition %s is there twice", c.Type)
		}
		types[c.Type] = true
		for _, old := range o.Conditions {
			if old.Type == c.Type && old.Status == c.Status && !old.LastTransitionTime.Equal(&c.LastTransitionTime) && c.Type != v1alpha1.ConditionInvalidSpec {
				w.failf("oracle S15: condition %s has another transition time and the same status", c.Type)
			}
		}
	}
}
