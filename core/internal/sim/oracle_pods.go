package sim

import (
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// basic: nobody routes traffic, so the ratio of pods is the weight.
func basic(ro *v1alpha1.Rollout) bool {
	c := ro.Spec.Strategy.Canary
	return c != nil && c.TrafficRouting == nil
}

// dynamic: stable follows its traffic.
func dynamic(ro *v1alpha1.Rollout) bool {
	c := ro.Spec.Strategy.Canary
	return c != nil && c.TrafficRouting != nil && c.DynamicStableScale
}

// asked is what setCanaryScale wants for the revision under update; false when
// the weight decides.
func (w *World) asked(ro *v1alpha1.Rollout, hash string) (int64, bool) {
	scale := rollout.ScaleInForce(ro)
	switch {
	case scale == nil || hash != ro.Status.CurrentPodHash || hash == ro.Status.StableRS:
		return 0, false
	case scale.Replicas != nil:
		return int64(*scale.Replicas), true
	}
	return (int64(*scale.Weight)*w.replicas() + w.total() - 1) / w.total(), true
}

// judgeBasicPods is S7 and S8 where pods are the weight: together they are never
// more than maxSurge allows, and never fewer of them available than
// maxUnavailable does.
func (w *World) judgeBasicPods(before, after *appsv1.ReplicaSet) {
	ro := w.Rollout()
	from, to := rollout.SpecReplicas(before), rollout.SpecReplicas(after)
	ceiling, floor := rollout.PodBounds(ro.Spec.Strategy.Canary, int32(w.replicas()))
	var pods, had, has, serve int64
	for _, rs := range list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet) {
		have := int64(rollout.Available(rs))
		had, has = had+have, has+have // also of one that somebody took away: its pods serve
		if rollout.Reported(rs) {
			serve += have
		}
		if metav1.GetControllerOf(rs) != nil {
			pods += int64(rollout.SpecReplicas(rs))
		}
		if rs.Name == after.Name {
			had += int64(min(rs.Status.AvailableReplicas, from)) - have
		}
	}
	// One that somebody took away is gone like one that was deleted: nobody can
	// give it pods, so the new revision gets all of them. Users have more, not less.
	stable := w.byHash(ro.Status.StableRS)
	alone := stable == nil || metav1.GetControllerOf(stable) == nil || ro.Status.StableRS == ro.Status.CurrentPodHash
	if to > from && pods > ceiling && !alone {
		w.broken("S7", "%s is raised to %d: %d pods, %d are allowed", after.Name, to, pods, ceiling)
	}
	if to < from && has < min(had, floor) {
		w.broken("S8", "%s is lowered to %d: %d pods are available, %d were and %d are promised", after.Name, to, has, had, floor)
	}
	if to > 0 || to == from || w.replicas() == 0 || serve == 0 {
		return // also where the others' pods are going away and their count is of before: nobody was left to move the name to
	}
	for _, name := range []string{ro.Spec.Strategy.Canary.StableService, ro.Spec.Strategy.Canary.CanaryService} {
		if name != "" && w.hashOf(name) == rollout.Hash(after) {
			w.broken("S3", "%s is scaled to 0 while Service %s selects it", after.Name, name)
		}
	}
}

// judgeRatio: where pods are the weight, they are as near to it as they can be,
// and all of those of the new revision are there.
func (w *World) judgeRatio(ro *v1alpha1.Rollout, weight int32, rule, what string) {
	var total, canary int64
	for _, rs := range list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet) {
		n := int64(rollout.SpecReplicas(rs))
		if total += n; rollout.Hash(rs) == ro.Status.CurrentPodHash {
			canary = n
		}
	}
	if total < w.replicas() || total > w.replicas()+1 {
		w.broken(rule, "%s with %d pods, spec.replicas is %d", what, total, w.replicas())
	}
	off := canary*w.total() - int64(weight)*total
	lone := w.replicas() == 1 && total == 1 // one pod is of one revision
	if (off >= w.total() || -off >= w.total()) && !lone {
		w.broken(rule, "%s with %d of %d pods for weight %d", what, canary, total, weight)
	}
	if (weight == 0 && canary > 0) || int64(weight) == w.total() && canary < total {
		w.broken(rule, "%s with %d of %d pods for weight %d", what, canary, total, weight)
	}
	if !w.enough(w.available(ro.Status.CurrentPodHash), canary) {
		w.broken(rule, "%s with %d of %d pods", what, w.available(ro.Status.CurrentPodHash), canary)
	}
}
