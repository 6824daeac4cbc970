package record

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// selects is the revision a Service selects after this pass.
func (r *recorder) selects(service string) string {
	for _, op := range r.plan.Ops {
		if o, ok := op.(rollout.PointService); ok && o.Name == service && r.out.Succeeded(o.ID()) {
			return o.To
		}
	}
	return r.s.ServiceHash(service)
}

// blueGreenCounts narrows what clients and autoscalers read to the revision
// that users reach.
func (r *recorder) blueGreenCounts() {
	st, bg := &r.new, r.s.Rollout.Spec.Strategy.BlueGreen
	st.BlueGreen.ActiveSelector, st.BlueGreen.PreviewSelector = r.selects(bg.ActiveService), ""
	if bg.PreviewService != "" {
		st.BlueGreen.PreviewSelector = r.selects(bg.PreviewService)
	}
	st.ReadyReplicas, st.AvailableReplicas = 0, 0
	if st.BlueGreen.ActiveSelector != "" {
		st.HPAReplicas = 0 // else every pod counts, as status.selector says
	}
	if rs := r.s.ByHash(st.BlueGreen.ActiveSelector); rs != nil {
		st.ReadyReplicas, st.AvailableReplicas, st.HPAReplicas = rs.Status.ReadyReplicas, rs.Status.AvailableReplicas, rs.Status.Replicas
	}
	st.Selector = ""
	if sel := r.s.Rollout.Spec.Selector; sel != nil {
		sel = sel.DeepCopy()
		if hash := st.BlueGreen.ActiveSelector; hash != "" {
			sel.MatchLabels = maps.Clone(sel.MatchLabels)
			if sel.MatchLabels == nil {
				sel.MatchLabels = map[string]string{}
			}
			sel.MatchLabels[v1alpha1.LabelPodTemplateHash] = hash
		}
		if s, err := metav1.LabelSelectorAsSelector(sel); err == nil {
			st.Selector = s.String()
		}
	}
}

// serving: users of a blue-green Rollout reach a revision of it.
func (r *recorder) serving() bool {
	return r.s.Rollout.Spec.Strategy.BlueGreen == nil || r.s.ByHash(r.new.BlueGreen.ActiveSelector) != nil
}

// reaches: active and preview Service select the revision.
func (r *recorder) reaches(bg *v1alpha1.BlueGreenStrategy, hash string) bool {
	st := r.new.BlueGreen
	return st.ActiveSelector == hash && (bg.PreviewService == "" || st.PreviewSelector == hash)
}

// blueGreenRuns records the runs of the update. They stay when it is promoted
// or aborted, and go when another one starts, or the same one again.
func (r *recorder) blueGreenRuns() {
	st := &r.new.BlueGreen
	st.PrePromotionAnalysisRunStatus, st.PostPromotionAnalysisRunStatus = r.plan.PreRun, r.plan.PostRun
	if r.applied && (r.plan.Transition.Kind == rollout.TransitionReset || r.plan.Transition.Kind == rollout.TransitionRetry) {
		st.PrePromotionAnalysisRunStatus, st.PostPromotionAnalysisRunStatus = nil, nil
	}
}

// reanalysed: an inconclusive run has given way to another one.
func (r *recorder) reanalysed() bool {
	o, n := r.old.BlueGreen, r.new.BlueGreen
	return replaced(o.PrePromotionAnalysisRunStatus, n.PrePromotionAnalysisRunStatus) ||
		replaced(o.PostPromotionAnalysisRunStatus, n.PostPromotionAnalysisRunStatus)
}

// blueGreenPhase is the part of Phase that differs for blue-green.
func blueGreenPhase(bg *v1alpha1.BlueGreenStrategy, st v1alpha1.RolloutStatus) (v1alpha1.RolloutPhase, string) {
	switch post := st.BlueGreen.PostPromotionAnalysisRunStatus; {
	case st.BlueGreen.ActiveSelector == "" || st.BlueGreen.ActiveSelector != st.CurrentPodHash:
		return v1alpha1.RolloutPhaseProgressing, "active service cutover pending"
	case st.StableRS != "" && st.StableRS == st.CurrentPodHash:
		return v1alpha1.RolloutPhaseHealthy, ""
	case bg.PostPromotionAnalysis != nil && (post == nil || !post.Status.Completed()):
		return v1alpha1.RolloutPhaseProgressing, "waiting for analysis to complete"
	}
	return v1alpha1.RolloutPhaseProgressing, "waiting for post-promotion verification to complete"
}
