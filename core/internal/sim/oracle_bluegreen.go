package sim

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// canary is the canary strategy; under another one the Services that routers
// from before still send traffic to.
func (w *World) canary() *v1alpha1.CanaryStrategy {
	if c := w.Rollout().Spec.Strategy.Canary; c != nil {
		return c
	}
	return &v1alpha1.CanaryStrategy{StableService: StableService, CanaryService: CanaryService}
}

// active is the revision that users of a blue-green Rollout reach.
func (w *World) active() string {
	ro := w.Rollout()
	if ro == nil || ro.Spec.Strategy.BlueGreen == nil {
		return ""
	}
	return w.hashOf(ro.Spec.Strategy.BlueGreen.ActiveService)
}

// names are the Services that select the serving revision at rest.
func (w *World) names() []string {
	ro := w.Rollout()
	bg := ro.Spec.Strategy.BlueGreen
	switch {
	case bg == nil:
		stable, other := rollout.Services(ro)
		return []string{stable, other}
	case bg.PreviewService == "" || ro.Status.Abort || ro.Spec.Paused: // the preview stays where it was
		return []string{bg.ActiveService}
	}
	return []string{bg.ActiveService, bg.PreviewService}
}

// ceiling is S7: what one revision may have at most.
func (w *World) ceiling() int64 {
	most := w.replicas()
	if bg := w.Rollout().Spec.Strategy.BlueGreen; bg != nil && bg.PreviewReplicaCount != nil {
		most = max(most, int64(*bg.PreviewReplicaCount))
	}
	return most
}

// delays before a revision is scaled down.
type delays struct {
	set            bool
	old, abort     time.Duration
	never, limited bool
}

func delaysOf(ro *v1alpha1.Rollout) delays {
	d := delays{set: true}
	if bg := ro.Spec.Strategy.BlueGreen; bg != nil {
		d.old, d.limited = bg.ScaleDownDelay(), bg.ScaleDownDelayRevisionLimit != nil
		d.abort, d.never = bg.AbortScaleDownDelay()
		return d
	}
	if c := ro.Spec.Strategy.Canary; c != nil {
		d.old, d.limited = c.ScaleDownDelay(), c.ScaleDownDelayRevisionLimit != nil
		if c.TrafficRouting != nil { // else pods go as those of stable come
			d.abort, d.never = c.AbortScaleDownDelay()
		}
	}
	return d
}

// or is what a revision may count on that has seen both.
func (d delays) or(e delays) delays {
	if !d.set {
		return e
	}
	return delays{true, min(d.old, e.old), min(d.abort, e.abort), d.never && e.never, d.limited || e.limited}
}

func (d delays) values() (old, abort time.Duration, never, limited bool) {
	return d.old, d.abort, d.never, d.limited
}

// delays are those of the strategy; after a switch of strategies the shortest
// ones, because a deadline may be from before it.
func (w *World) delays(ro *v1alpha1.Rollout) (old, abort time.Duration, never, limited bool) {
	return delaysOf(ro).or(w.watch.brief).values()
}

// judgeSwitch is S3, S5 and S17 for blue-green: users go on to all pods of a
// revision that was analysed and waited for, and back to no fewer than serve
// them. The preview may be early.
func (w *World) judgeSwitch(service, from, to string) {
	ro := w.Rollout()
	bg, st := ro.Spec.Strategy.BlueGreen, ro.Status
	if service == bg.PreviewService {
		if weight := w.weightOf(func(svc string) bool { return svc == service }); weight > 0 {
			w.broken("S3", "Service %s moves from %s to %s while it carries weight %d", service, from, to, weight)
		}
		return
	}
	have, need := w.available(to), min(w.replicas(), max(1, w.available(from)))
	forward := service == bg.ActiveService && to == st.CurrentPodHash && to != st.StableRS
	if forward || from == "" {
		need = w.replicas()
	}
	if have < need {
		w.broken("S3", "users are sent from %q to %s, which has %d of %d pods", from, to, have, need)
	}
	if !forward {
		return
	}
	if st.Abort {
		w.broken("S10", "users are sent to %s after an abort", to)
	}
	if ro.Spec.Paused {
		w.broken("S17", "users are sent to %s while spec.paused is set", to)
	}
	w.judgePreview(ro, "users are sent to "+to)
}

// judgePreview: analysis and pause before the switch have ended as they should.
func (w *World) judgePreview(before *v1alpha1.Rollout, what string) {
	bg, st := before.Spec.Strategy.BlueGreen, before.Status
	if st.PromoteFull || w.watch.returning || before.Spec.RollbackWindow != nil || st.BlueGreen.ScaleUpPreviewCheckPoint {
		return
	}
	if bg.PrePromotionAnalysis != nil && !w.succeeded(st.BlueGreen.PrePromotionAnalysisRunStatus, st.CurrentPodHash, v1alpha1.RolloutTypePrePromotion) {
		w.broken("S5", "%s without a successful analysis", what)
	}
	if bg.AutoPromotionEnabledOrDefault() && bg.AutoPromotionSeconds == 0 || st.ControllerPause && len(st.PauseConditions) == 0 && w.watch.resumed {
		return
	}
	for _, c := range st.PauseConditions {
		if c.Reason == v1alpha1.PauseReasonBlueGreenPause && bg.AutoPromotionEnabledOrDefault() &&
			!w.now.Before(c.StartTime.Add(time.Duration(bg.AutoPromotionSeconds)*time.Second)) {
			return
		}
	}
	w.broken("S5", "%s before its pause is over: %+v, resumed %v", what, st.PauseConditions, w.watch.resumed)
}

func (w *World) succeeded(named *v1alpha1.RolloutAnalysisRunStatus, hash, kind string) bool {
	if named == nil {
		return false
	}
	run := find[*v1alpha1.AnalysisRun](w.store.live, kindAnalysisRun, named.Name)
	return run != nil && run.Status.Phase == v1alpha1.AnalysisPhaseSuccessful &&
		run.Labels[v1alpha1.LabelPodTemplateHash] == hash && run.Labels[v1alpha1.LabelRolloutType] == kind
}

// judgeServed is S6 for blue-green: a revision becomes stable when users reach
// it, and when the analysis after the switch says so.
func (w *World) judgeServed(before *v1alpha1.Rollout) {
	bg, st := before.Spec.Strategy.BlueGreen, before.Status
	if at := w.active(); at != st.CurrentPodHash {
		w.broken("S6", "%s becomes stable while users reach %q", st.CurrentPodHash, at)
	}
	if bg.PostPromotionAnalysis == nil || st.PromoteFull || w.watch.returning || before.Spec.RollbackWindow != nil {
		return
	}
	if !w.succeeded(st.BlueGreen.PostPromotionAnalysisRunStatus, st.CurrentPodHash, v1alpha1.RolloutTypePostPromotion) {
		w.broken("S6", "%s becomes stable without a successful analysis", st.CurrentPodHash)
	}
}

// judgeBlueGreen is S5 and S17 for a blue-green status.
func (w *World) judgeBlueGreen(before, after *v1alpha1.Rollout) {
	o, n := before.Status, after.Status
	if !o.BlueGreen.ScaleUpPreviewCheckPoint && n.BlueGreen.ScaleUpPreviewCheckPoint {
		w.judgePreview(before, "the preview grows")
	}
	same := o.CurrentPodHash == n.CurrentPodHash && o.CurrentStepHash == n.CurrentStepHash && !n.Abort && o.StableRS == n.StableRS && !o.PromoteFull
	if len(n.PauseConditions) < len(o.PauseConditions) && same && w.active() != n.CurrentPodHash && !n.BlueGreen.ScaleUpPreviewCheckPoint {
		w.failf("oracle S17: the controller removed a pause without going on")
	}
}

// leaving: an older revision than the stable one waits for its scale-down.
func (w *World) leaving(hash, stable string) bool {
	rs, other := w.byHash(hash), w.byHash(stable)
	if rs == nil || other == nil || !begunBefore(rs, other) {
		return false
	}
	_, delayed := rs.Annotations[v1alpha1.AnnotationScaleDownDeadline]
	return delayed && rollout.SpecReplicas(rs) > 0
}

// begunBefore: the revision of a was started first; within one second the first
// of its numbers tells.
func begunBefore(a, b *appsv1.ReplicaSet) bool {
	first := func(rs *appsv1.ReplicaSet) string {
		history, _, _ := strings.Cut(rs.Annotations[v1alpha1.AnnotationRevisionHistory], ",")
		return cmp.Or(history, rs.Annotations[v1alpha1.AnnotationRevision])
	}
	if a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		n, _ := strconv.Atoi(first(a))
		m, _ := strconv.Atoi(first(b))
		return n > 0 && n < m
	}
	return a.CreationTimestamp.Before(&b.CreationTimestamp)
}
