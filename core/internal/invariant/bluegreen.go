package invariant

import (
	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// active is the revision that users of a blue-green Rollout reach; "" for other
// strategies.
func (c *checker) active() string {
	if bg := c.s.Rollout.Spec.Strategy.BlueGreen; bg != nil {
		return c.s.ServiceHash(bg.ActiveService)
	}
	return ""
}

// previews: the name is the preview Service, through which no user comes.
func (c *checker) previews(service string) bool {
	bg := c.s.Rollout.Spec.Strategy.BlueGreen
	return bg != nil && service == bg.PreviewService && service != bg.ActiveService
}

// switches is I6 and I7 for blue-green. The preview may select pods that are
// still to come; the active Service goes on only to all pods, analysed, and
// back only to as many as serve now.
func (c *checker) switches(o rollout.PointService, bg *v1alpha1.BlueGreenStrategy) {
	if c.previews(o.Name) {
		if w := c.s.ServiceWeight(o.Name); w > 0 {
			c.broken("I6", o, "Service %s moves while it carries weight %d", o.Name, w)
		}
		return
	}
	st, to := c.s.Rollout.Status, c.s.ByHash(o.To)
	have, serving := int64(rollout.Available(to)), int64(rollout.Available(c.s.ByHash(o.From)))
	forward := o.To == c.plan.Hash && o.To != st.StableRS
	need := min(c.want, max(1, serving))
	if forward {
		need = c.want
	}
	if o.From == "" {
		need = max(c.want, int64(rollout.SpecReplicas(to)))
	}
	if have < need {
		c.broken("I6", o, "users are sent to revision %s with %d of %d pods available", o.To, have, need)
	}
	if !forward {
		return
	}
	if st.Abort || c.s.Rollout.Spec.Paused {
		c.broken("I5", o, "users are sent to revision %s while the update is aborted or paused", o.To)
	}
	run := st.BlueGreen.PrePromotionAnalysisRunStatus
	if bg.PrePromotionAnalysis != nil && !st.PromoteFull && !c.returns(to) && (run == nil || run.Status != v1alpha1.AnalysisPhaseSuccessful) && !c.verdict(run) {
		c.broken("I7", o, "users are sent to revision %s without its analysis", o.To)
	}
}

// verdict reports that the run itself is successful, though status does not say
// so yet.
func (c *checker) verdict(run *v1alpha1.RolloutAnalysisRunStatus) bool {
	for _, r := range c.s.AnalysisRuns {
		if run != nil && r.Name == run.Name {
			return r.Status.Phase == v1alpha1.AnalysisPhaseSuccessful
		}
	}
	return false
}

// returns: an older revision that was still in its scale-down delay, or may be
// within the rollback window.
func (c *checker) returns(rs *appsv1.ReplicaSet) bool {
	stable := c.s.ByHash(c.s.Rollout.Status.StableRS)
	if rs == nil || stable == nil || !rollout.BegunBefore(rs, stable) {
		return false
	}
	return rs.Annotations[v1alpha1.AnnotationScaleDownDeadline] != "" || c.s.Rollout.Spec.RollbackWindow != nil
}

func (c *checker) delayedBlueGreen(rs *appsv1.ReplicaSet, bg *v1alpha1.BlueGreenStrategy) bool {
	none := bg.ScaleDownDelaySeconds != nil && *bg.ScaleDownDelaySeconds <= 0
	return bg.ScaleDownDelayRevisionLimit != nil || none && rollout.Hash(rs) != c.plan.Hash || c.expired(rs)
}
