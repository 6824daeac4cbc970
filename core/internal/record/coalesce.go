package record

import (
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Patience is how long a status that MayWait is kept back. It is what an
// autoscaler and `kubectl get` lag behind at most, and long enough for the pods
// of one scale step, or a data plane that follows at once, to need one write.
const Patience = time.Second

// nearDeadline is how close the progress deadline may be while progress waits
// to be written: a deadline that is reached meanwhile would abort an update
// that did progress.
const nearDeadline = 10 * Patience

// mayWait reports that the new status tells nothing that the next write could
// not tell as well: counts of pods, what routers carry, and the words that
// follow from both. Whatever decides where the rollout stands, what a person
// asked for, or what an event tells is written at once.
func (r *recorder) mayWait() bool {
	if r.applied || len(r.edges) > 0 || r.intent() || r.deadlineNear() {
		return false
	}
	was := r.old.DeepCopy()
	settleCounts(was, &r.new)
	if !r.settleTraffic(was) || !settleConditions(was, &r.new) {
		return false
	}
	return apiequality.Semantic.DeepEqual(*was, r.new)
}

// intent: an effect waits for this write.
func (r *recorder) intent() bool {
	for _, op := range r.plan.Ops {
		if _, ok := op.(rollout.RecordIntent); ok {
			return true
		}
	}
	return false
}

func (r *recorder) deadlineNear() bool {
	late, at := rollout.Deadline(r.s)
	return late || !at.IsZero() && at.Sub(r.s.Now) < nearDeadline
}

// settleCounts makes the counts, and the message that follows from them, those
// of the new status.
func settleCounts(was, now *v1alpha1.RolloutStatus) {
	was.Replicas, was.UpdatedReplicas, was.HPAReplicas = now.Replicas, now.UpdatedReplicas, now.HPAReplicas
	was.ReadyReplicas, was.AvailableReplicas = now.ReadyReplicas, now.AvailableReplicas
	if was.Phase == v1alpha1.RolloutPhaseProgressing {
		was.Message = now.Message
	}
}

// settleTraffic takes over what routers carry, where the next pass sees it
// again by itself. The first weight of an update is written at once: an abort
// after the Services were renamed finds them there.
func (r *recorder) settleTraffic(was *v1alpha1.RolloutStatus) bool {
	for _, router := range r.s.Routers {
		if !router.Capabilities.Observe || router.Capabilities.ExternalEffects || router.Subsets() {
			// Only equal traffic may wait. That a subset is meant to be turned says
			// that it has carried nothing for long enough: an older intent that was
			// overtaken by a hand edit must not be read as that.
			return true
		}
	}
	now := &r.new
	a, b := was.Canary.Weights, now.Canary.Weights
	if a != nil && b != nil {
		named := a.Canary.ServiceName == b.Canary.ServiceName && a.Stable.ServiceName == b.Stable.ServiceName
		if !named || a.Canary.Weight == 0 && b.Canary.Weight > 0 {
			return false
		}
		was.Canary.Weights = b
	}
	if len(was.Canary.Routers) != len(now.Canary.Routers) {
		return false
	}
	for i := range was.Canary.Routers {
		a, b := &was.Canary.Routers[i], &now.Canary.Routers[i]
		a.Intended, a.Since = b.Intended, b.Since
	}
	return true
}

// settleConditions takes over how available the pods are and that they make
// progress: both follow the counts.
func settleConditions(was, now *v1alpha1.RolloutStatus) bool {
	old := map[v1alpha1.RolloutConditionType]v1alpha1.RolloutCondition{}
	for _, c := range was.Conditions {
		old[c.Type] = c
	}
	for _, c := range now.Conditions {
		before, had := old[c.Type]
		delete(old, c.Type)
		follows := had && (c.Type == v1alpha1.ConditionAvailable ||
			c.Type == v1alpha1.ConditionProgressing && progress[before.Reason] && c.Reason == v1alpha1.ReasonReplicaSetUpdated)
		if !follows && (!had || !apiequality.Semantic.DeepEqual(before, c)) {
			return false
		}
	}
	was.Conditions = now.Conditions
	return len(old) == 0
}

// progress are the reasons of an update that is on its way.
var progress = map[string]bool{
	v1alpha1.ReasonNewReplicaSetCreated: true, v1alpha1.ReasonFoundNewReplicaSet: true, v1alpha1.ReasonReplicaSetUpdated: true,
	v1alpha1.ReasonRolloutResumed: true, v1alpha1.ReasonRolloutRetry: true,
}
