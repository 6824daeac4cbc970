package rollout

import (
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// BegunBefore reports that the revision of a was started first. Timestamps have
// whole seconds; within one, the number it was given first tells. False where
// nothing does.
func BegunBefore(a, b *appsv1.ReplicaSet) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	first, second := firstRevision(a), firstRevision(b)
	return first > 0 && first < second
}

// firstRevision is the number the ReplicaSet got when it was made; it gets a
// higher one each time it is wanted again. 0 when it has none.
func firstRevision(rs *appsv1.ReplicaSet) int {
	history, _, more := strings.Cut(rs.Annotations[v1alpha1.AnnotationRevisionHistory], ",")
	if history == "" && !more {
		history = rs.Annotations[v1alpha1.AnnotationRevision]
	}
	n, err := strconv.Atoi(history)
	if err != nil {
		return 0
	}
	return n
}
