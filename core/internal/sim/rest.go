package sim

import (
	"cmp"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// quietPasses at rest write nothing. No time passes between them and a pass
// follows from what it sees, so that more of them would be the same ones.
const quietPasses = 3

// CheckRest fails the run unless the cluster, in which nothing happens by
// itself any more, is in a state somebody can understand and end, and unless
// the controller stays quiet in it (L3, S18).
func (w *World) CheckRest() {
	if w.Err != nil || w.Rollout() == nil {
		return
	}
	if why := w.illegal(); why != "" {
		w.failf("at rest in a state nobody ends: %s; %s; held by %s", why, statusLine(w.Rollout()), w.holds())
		return
	}
	if why := w.undressed(); why != "" && condition(w.Rollout(), v1alpha1.ConditionInvalidSpec) == nil {
		w.failf("at rest, and %s", why)
		return
	}
	if why := w.misscaled(); why != "" {
		w.failf("at rest, and %s", why)
		return
	}
	changes, writes := len(w.store.log), w.Writes
	for range quietPasses {
		w.pass()
	}
	if len(w.store.log) != changes || w.Writes != writes {
		w.failf("not quiet at rest: %d writes in %d passes, the last plan is %s", w.Writes-writes, quietPasses, w.lastOps())
	}
}

// illegal says what is wrong with the state as a rest; "" when nothing is.
func (w *World) illegal() string {
	ro := w.Rollout()
	switch ro.Status.Phase {
	case v1alpha1.RolloutPhaseHealthy:
		return w.unfinished(ro.Status.CurrentPodHash)
	case v1alpha1.RolloutPhasePaused:
		return cmp.Or(endless(ro), w.superseded())
	case v1alpha1.RolloutPhaseDegraded:
		if condition(ro, v1alpha1.ConditionInvalidSpec) != nil {
			return ""
		}
		if ro.Status.Abort {
			return w.unfinished(ro.Status.StableRS)
		}
	}
	if w.faulty() {
		return ""
	}
	return "it is " + string(ro.Status.Phase) + " without a fault that explains it"
}

// endless: a pause must be one that a person ends. Those the clock ends are not
// at rest.
func endless(ro *v1alpha1.Rollout) string {
	if ro.Spec.Paused {
		return ""
	}
	if pausedFor(ro, v1alpha1.PauseReasonInconclusiveAnalysis) || pausedFor(ro, v1alpha1.PauseReasonInconclusiveExperiment) {
		return ""
	}
	if bg := ro.Spec.Strategy.BlueGreen; bg != nil {
		if len(ro.Status.PauseConditions) > 0 && !bg.AutoPromotionEnabledOrDefault() {
			return ""
		}
		return "paused before the switch, though the clock ends that"
	}
	canary, index := ro.Spec.Strategy.Canary, at(ro.Status.CurrentStepIndex)
	if canary != nil && index < len(canary.Steps) && canary.Steps[index].Pause != nil && canary.Steps[index].Pause.Duration == nil {
		return ""
	}
	return fmt.Sprintf("paused at step %d, which is no pause without end", index)
}

// holds is what the last plan waited for.
func (w *World) holds() string {
	var out []string
	for _, h := range w.watch.plan.Holds {
		out = append(out, fmt.Sprintf("%s (%s; ended by %s)", h.Reason, h.What, h.EndedBy))
	}
	return fmt.Sprint(out)
}

func (w *World) faulty() bool {
	for _, p := range w.Plugins {
		if !p.Installed || !p.Up || p.Asking || p.Trouble != nil || p.Plain {
			return true
		}
	}
	for _, p := range w.StepPlugins {
		if p.Missing {
			return true
		}
	}
	return len(w.Broken) > 0 || w.Unmeasured
}

// unfinished: where the revision serves everything, nothing else may be left.
func (w *World) unfinished(serving string) string {
	ro := w.Rollout()
	_, _, never, _ := delaysOf(ro).values()
	for _, rs := range list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet) {
		n, hash := rollout.SpecReplicas(rs), rollout.Hash(rs)
		switch {
		case hash == serving && int64(n) != w.replicas():
			return fmt.Sprintf("%s has %d pods, not %d", rs.Name, n, w.replicas())
		case hash != serving && n != 0 && !(never && hash == ro.Status.CurrentPodHash) && !w.faulty():
			return fmt.Sprintf("%s still has %d pods", rs.Name, n)
		}
	}
	if w.faulty() || w.replicas() == 0 {
		return "" // without pods no name moves, and none needs to
	}
	if ro.Status.StableRS != serving {
		return "another revision is stable"
	}
	for _, svc := range w.names() {
		if svc == "" {
			continue
		}
		if hash := w.hashOf(svc); hash != serving {
			return fmt.Sprintf("Service %s selects %q", svc, hash)
		}
	}
	if why := w.misdirected(serving); why != "" {
		return why
	}
	if weight := w.weightWhere(func(p Place, svc string) bool { _, other := ends(ro, p); return svc == other }); weight > 0 {
		return fmt.Sprintf("the canary still has weight %d", weight)
	}
	for _, run := range list[*v1alpha1.AnalysisRun](w.store.live, kindAnalysisRun) {
		if !run.Status.Phase.Completed() {
			return "AnalysisRun " + run.Name + " is not done"
		}
	}
	return ""
}

// superseded: a revision that is neither wanted nor stable keeps no pods.
func (w *World) superseded() string {
	st := w.Rollout().Status
	if w.Rollout().Spec.Paused {
		return "" // a person wants nothing to happen
	}
	undecided := pausedFor(w.Rollout(), v1alpha1.PauseReasonInconclusiveAnalysis) && w.Rollout().Spec.Strategy.BlueGreen != nil
	for _, rs := range list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet) {
		if undecided {
			break // who decides may still want to go back
		}
		hash := rollout.Hash(rs)
		if n := rollout.SpecReplicas(rs); n != 0 && hash != st.StableRS && hash != st.CurrentPodHash && hash != w.active() && !w.faulty() {
			return fmt.Sprintf("%s is superseded and still has %d pods", rs.Name, n)
		}
	}
	for _, ex := range list[*v1alpha1.Experiment](w.store.live, kindExperiment) {
		if !ex.Status.Phase.Completed() {
			return "Experiment " + ex.Name + " is not done"
		}
	}
	if left := w.weightOf(func(svc string) bool { return w.experimentOf(svc) != nil }); left > 0 {
		return fmt.Sprintf("experiments still have weight %d", left)
	}
	if left := w.leftRunning(); left != "" {
		return "nobody has ended the plugin step " + left
	}
	return ""
}

func pausedFor(ro *v1alpha1.Rollout, reason v1alpha1.PauseReason) bool {
	return slices.ContainsFunc(ro.Status.PauseConditions, func(c v1alpha1.PauseCondition) bool { return c.Reason == reason })
}

func condition(ro *v1alpha1.Rollout, t v1alpha1.RolloutConditionType) *v1alpha1.RolloutCondition {
	for i := range ro.Status.Conditions {
		if ro.Status.Conditions[i].Type == t {
			return &ro.Status.Conditions[i]
		}
	}
	return nil
}
