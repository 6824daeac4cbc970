package sim

import (
	"math/rand"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Services of a blue-green Rollout.
const (
	ActiveService  = "active"
	PreviewService = "preview"
)

// NewBlueGreen is a blue-green Rollout with both Services, changed by edit; nil
// leaves it.
func NewBlueGreen(version string, replicas int32, edit func(*v1alpha1.BlueGreenStrategy)) *v1alpha1.Rollout {
	ro := NewRollout(version, replicas)
	bg := &v1alpha1.BlueGreenStrategy{ActiveService: ActiveService, PreviewService: PreviewService}
	if edit != nil {
		edit(bg)
	}
	ro.Spec.Strategy = v1alpha1.RolloutStrategy{BlueGreen: bg}
	return ro
}

// UseStrategy is a user's edit of the whole strategy.
func (w *World) UseStrategy(what string, strategy v1alpha1.RolloutStrategy) {
	w.Edit("changes the strategy to "+what, func(ro *v1alpha1.Rollout) {
		ro.Spec.Strategy = *strategy.DeepCopy()
		fitting(ro)
	})
}

// fitting drops a scaleDownDelayRevisionLimit that revisionHistoryLimit does not
// allow for any more.
func fitting(ro *v1alpha1.Rollout) {
	if bg := ro.Spec.Strategy.BlueGreen; bg != nil && bg.ScaleDownDelayRevisionLimit != nil &&
		*bg.ScaleDownDelayRevisionLimit > ro.Spec.RevisionHistoryLimitOrDefault() {
		bg.ScaleDownDelayRevisionLimit = nil
	}
}

// SwitchStrategy goes to the other strategy of a random cluster, and back with
// the next call.
func (w *World) SwitchStrategy() {
	next := w.other
	if next.Canary == nil && next.BlueGreen == nil {
		return // this Rollout keeps its strategy
	}
	w.correct()
	w.other = *w.Rollout().Spec.Strategy.DeepCopy()
	what := "canary"
	if next.BlueGreen != nil {
		what = "blue-green"
	}
	w.UseStrategy(what, next)
}

// alternatives gives every random Rollout a strategy to switch to, and begins
// with blue-green one time in three.
func (w *World) alternatives(r *rand.Rand, ro *v1alpha1.Rollout) {
	w.other = v1alpha1.RolloutStrategy{BlueGreen: randomBlueGreen(r, ro)}
	if r.Intn(3) == 0 {
		w.other, ro.Spec.Strategy = ro.Spec.Strategy, w.other
	}
}

func randomBlueGreen(r *rand.Rand, ro *v1alpha1.Rollout) *v1alpha1.BlueGreenStrategy {
	some := func(oneIn, below int) *int32 {
		if v := int32(r.Intn(below)); r.Intn(oneIn) == 0 {
			return &v
		}
		return nil
	}
	bg := &v1alpha1.BlueGreenStrategy{ActiveService: ActiveService, PreviewReplicaCount: some(3, 4),
		ScaleDownDelaySeconds: some(3, 40), AbortScaleDownDelaySeconds: some(3, 20)}
	if r.Intn(3) > 0 {
		bg.PreviewService = PreviewService
	}
	if r.Intn(3) == 0 { // the same names as those of the canary
		bg.ActiveService = StableService
	}
	if limit := some(5, 3); limit != nil && *limit <= ro.Spec.RevisionHistoryLimitOrDefault() {
		bg.ScaleDownDelayRevisionLimit = limit
	}
	switch r.Intn(4) {
	case 0:
		bg.AutoPromotionEnabled = new(bool)
	case 1:
		bg.AutoPromotionSeconds = int32(1 + r.Intn(20))
	}
	if r.Intn(3) == 0 {
		bg.PrePromotionAnalysis = Analysis().Analysis
	}
	if r.Intn(3) == 0 {
		bg.PostPromotionAnalysis = Analysis().Analysis
	}
	return bg
}

// VersionOf is the version behind a pod template hash, "" when it is unknown.
func (w *World) VersionOf(hash string) string { return w.journal.alias[hash] }
