package decide

import (
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// inWindow reports that the wanted revision is an earlier one, so recent that
// going back to it skips the steps: its ReplicaSet was created before the
// stable one, and fewer than rollbackWindow.revisions were created in between.
func (p *planner) inWindow() bool {
	w := p.ro.Spec.RollbackWindow
	if w == nil || w.Revisions <= 0 || p.newRS == nil || p.stableRS == nil ||
		!begunBefore(p.newRS, p.stableRS) {
		return false
	}
	var between int32
	for _, rs := range p.others {
		if begunBefore(p.newRS, rs) && begunBefore(rs, p.stableRS) {
			between++
		}
	}
	return between < w.Revisions
}

// begunBefore reports that the revision of a was started first. Timestamps have
// whole seconds; within one, the number it was given first tells.
func begunBefore(a, b *appsv1.ReplicaSet) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	first, second := firstRevision(a), firstRevision(b)
	return first > 0 && first < second
}

// firstRevision is the number the ReplicaSet got when it was made; it gets a
// higher one each time it is wanted again. 0 when it has none.
func firstRevision(rs *appsv1.ReplicaSet) int {
	history, _, _ := strings.Cut(rs.Annotations[v1alpha1.AnnotationRevisionHistory], ",")
	if n, err := strconv.Atoi(history); err == nil && n > 0 {
		return n
	}
	return revision(rs)
}

// hurried reports that what is left of the steps is skipped: full promotion was
// asked for, or a recent revision is wanted back.
func (p *planner) hurried() bool { return p.ro.Status.PromoteFull || p.inWindow() }
