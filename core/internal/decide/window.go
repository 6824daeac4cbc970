package decide

import "github.com/sluice-rollouts/sluice/core/internal/rollout"

// inWindow reports that the wanted revision is an earlier one, so recent that
// going back to it skips the steps: its ReplicaSet was created before the
// stable one, and fewer than rollbackWindow.revisions were created in between.
func (p *planner) inWindow() bool {
	w := p.ro.Spec.RollbackWindow
	if w == nil || w.Revisions <= 0 || p.newRS == nil || p.stableRS == nil ||
		!rollout.BegunBefore(p.newRS, p.stableRS) {
		return false
	}
	var between int32
	for _, rs := range p.others {
		if rollout.BegunBefore(p.newRS, rs) && rollout.BegunBefore(rs, p.stableRS) {
			between++
		}
	}
	return between < w.Revisions
}

// hurried reports that what is left of the steps is skipped: full promotion was
// asked for, or a recent revision is wanted back.
func (p *planner) hurried() bool { return p.ro.Status.PromoteFull || p.inWindow() }
