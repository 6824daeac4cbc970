package record

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// conditions brings every condition up to date. A condition is rewritten only
// when its status or reason changes; Progressing also when there was progress,
// because its lastUpdateTime is what the deadline counts from.
func (r *recorder) conditions() {
	r.invalid()
	if r.plan.Invalid != "" && !r.applied {
		r.drop(v1alpha1.ConditionBlocked)
		return
	}
	r.paused()
	r.completed()
	r.available()
	r.healthy()
	r.failure()
	r.blocked()
	r.warned()
	r.progressing()
}

func (r *recorder) invalid() {
	if r.plan.Invalid == "" {
		r.drop(v1alpha1.ConditionInvalidSpec)
		return
	}
	old := r.condition(v1alpha1.ConditionInvalidSpec)
	if old != nil && old.Message != r.plan.Invalid {
		r.drop(v1alpha1.ConditionInvalidSpec) // another mistake is another condition
	}
	if r.set(v1alpha1.ConditionInvalidSpec, corev1.ConditionTrue, v1alpha1.ReasonInvalidSpec, r.plan.Invalid) {
		r.edge(corev1.EventTypeWarning, v1alpha1.EventInvalidSpec, r.plan.Invalid)
	}
}

func (r *recorder) paused() {
	is := r.s.Rollout.Spec.Paused || len(r.new.PauseConditions) > 0
	was := r.isTrue(v1alpha1.ConditionPaused)
	if is == was {
		return
	}
	status := corev1.ConditionFalse
	if is {
		status = corev1.ConditionTrue
	}
	r.set(v1alpha1.ConditionPaused, status, v1alpha1.ReasonRolloutPaused, "Rollout is paused")
}

func (r *recorder) completed() {
	if r.new.CurrentPodHash == "" {
		return // nothing has been started yet
	}
	status := corev1.ConditionFalse
	if r.new.StableRS != "" && r.new.StableRS == r.new.CurrentPodHash {
		status = corev1.ConditionTrue
	}
	first := r.condition(v1alpha1.ConditionCompleted) == nil && r.s.Rollout.Spec.Strategy.BlueGreen != nil
	if r.set(v1alpha1.ConditionCompleted, status, v1alpha1.ReasonRolloutCompleted, "Rollout "+completedWord[status]) && status == corev1.ConditionFalse && !first {
		r.edge(corev1.EventTypeNormal, v1alpha1.EventRolloutNotCompleted,
			fmt.Sprintf("Rollout not completed, started update to revision %d (%s)", r.plan.Revision, r.plan.Hash))
	}
}

var completedWord = map[corev1.ConditionStatus]string{corev1.ConditionTrue: "completed", corev1.ConditionFalse: "not completed"}

func (r *recorder) available() {
	if r.new.AvailableReplicas >= r.s.Replicas() && r.serving() {
		r.set(v1alpha1.ConditionAvailable, corev1.ConditionTrue, v1alpha1.ReasonAvailable, "Rollout has minimum availability")
	} else {
		r.set(v1alpha1.ConditionAvailable, corev1.ConditionFalse, v1alpha1.ReasonAvailable, "Rollout does not have minimum availability")
	}
}

func (r *recorder) isHealthy() bool {
	want, st := r.s.Replicas(), r.new
	if bg := r.s.Rollout.Spec.Strategy.BlueGreen; bg != nil {
		if !r.reaches(bg, st.CurrentPodHash) {
			return false
		}
	} else if st.Replicas != want {
		return false
	}
	return st.UpdatedReplicas == want && st.AvailableReplicas == want &&
		r.old.ObservedGeneration == st.ObservedGeneration && r.atEnd() &&
		st.StableRS != "" && st.StableRS == st.CurrentPodHash
}

func (r *recorder) atEnd() bool {
	c, at := r.s.Rollout.Spec.Strategy.Canary, r.new.CurrentStepIndex
	return c == nil || at == nil || int(*at) == len(c.Steps)
}

// healthy exists from the first time the rollout was.
func (r *recorder) healthy() {
	switch {
	case r.isHealthy():
		r.set(v1alpha1.ConditionHealthy, corev1.ConditionTrue, v1alpha1.ReasonRolloutHealthy, "Rollout is healthy")
	case r.condition(v1alpha1.ConditionHealthy) != nil:
		r.set(v1alpha1.ConditionHealthy, corev1.ConditionFalse, v1alpha1.ReasonRolloutHealthy, "Rollout is not healthy")
	}
}

// failure repeats why a ReplicaSet cannot make pods, the new one's first.
func (r *recorder) failure() {
	sets := r.s.ReplicaSets
	if rs := r.s.ByHash(r.new.CurrentPodHash); rs != nil {
		sets = append(sets[:0:0], rs)
		sets = append(sets, r.s.ReplicaSets...)
	}
	for _, rs := range sets {
		for _, c := range rs.Status.Conditions {
			if c.Type == "ReplicaFailure" && c.Status == corev1.ConditionTrue {
				r.set(v1alpha1.ConditionReplicaFailure, c.Status, c.Reason, c.Message)
				return
			}
		}
	}
	r.drop(v1alpha1.ConditionReplicaFailure)
}

// progressing tells where the update stands; the first that applies wins.
func (r *recorder) progressing() {
	const t = v1alpha1.ConditionProgressing
	created, found := r.started()
	switch {
	case r.new.Abort:
		if r.abortMessage == "" {
			r.abortMessage = fmt.Sprintf("Rollout aborted update to revision %d", r.plan.Revision)
		}
		if r.set(t, corev1.ConditionFalse, v1alpha1.ReasonRolloutAborted, r.abortMessage) {
			r.edge(corev1.EventTypeWarning, v1alpha1.EventRolloutAborted, r.abortMessage)
		}
	case r.isTrue(v1alpha1.ConditionPaused):
		if r.set(t, corev1.ConditionUnknown, v1alpha1.ReasonRolloutPaused, "Rollout is paused") {
			r.edge(corev1.EventTypeNormal, v1alpha1.EventRolloutPaused, "Rollout is paused ("+r.pauseReason()+")")
		}
	case r.retried:
		r.set(t, corev1.ConditionUnknown, v1alpha1.ReasonRolloutRetry, "Retrying Rollout after abort")
	case created != "":
		r.refresh(v1alpha1.ReasonNewReplicaSetCreated, fmt.Sprintf("Created new replica set %q", created))
	case found != "":
		r.refresh(v1alpha1.ReasonFoundNewReplicaSet, fmt.Sprintf("Found new replica set %q", found))
	case r.resumed():
		if r.set(t, corev1.ConditionUnknown, v1alpha1.ReasonRolloutResumed, "Rollout is resumed") {
			r.edge(corev1.EventTypeNormal, v1alpha1.EventRolloutResumed, "Rollout is resumed")
		}
	case r.isHealthy():
		r.set(t, corev1.ConditionTrue, v1alpha1.ReasonNewReplicaSetAvailable, fmt.Sprintf("ReplicaSet %q has successfully progressed.", r.newName()))
	case r.reason(t) == v1alpha1.ReasonNewReplicaSetAvailable && r.new.AvailableReplicas < r.s.Replicas():
		r.set(t, corev1.ConditionTrue, v1alpha1.ReasonReplicaSetNotAvailable, fmt.Sprintf("ReplicaSet %q is not available", r.newName()))
	case r.progressed(), rollout.Held(r.old.Conditions) && !rollout.Held(r.new.Conditions):
		// Time that a hold took does not count towards the deadline.
		r.refresh(v1alpha1.ReasonReplicaSetUpdated, fmt.Sprintf("ReplicaSet %q is progressing.", r.newName()))
	default:
		r.deadline()
	}
}

func (r *recorder) deadline() {
	late, at := rollout.Deadline(r.s)
	if late {
		r.set(v1alpha1.ConditionProgressing, corev1.ConditionFalse, v1alpha1.ReasonProgressDeadlineExceeded,
			fmt.Sprintf("ReplicaSet %q has timed out progressing.", r.newName()))
	} else if !at.IsZero() {
		r.wakeAt(at)
	}
}

// started names the ReplicaSet that was created or found by this pass.
func (r *recorder) started() (created, found string) {
	if r.plan.Transition.Kind != rollout.TransitionReset || !r.applied {
		return "", ""
	}
	for _, op := range r.plan.Ops {
		if c, ok := op.(rollout.CreateReplicaSet); ok && r.out.Succeeded(c.ID()) {
			return c.ReplicaSet.Name, ""
		}
	}
	return "", r.newName()
}

func (r *recorder) newName() string {
	if rs := r.s.ByHash(r.new.CurrentPodHash); rs != nil {
		return rs.Name
	}
	return r.s.Rollout.Name + "-" + r.new.CurrentPodHash
}

func (r *recorder) pauseReason() string {
	if len(r.new.PauseConditions) > 0 {
		return string(r.new.PauseConditions[0].Reason)
	}
	return "spec.paused"
}

// resumed: Progressing still says paused and the rollout is not.
func (r *recorder) resumed() bool {
	return r.reason(v1alpha1.ConditionProgressing) == v1alpha1.ReasonRolloutPaused
}

func (r *recorder) progressed() bool {
	o, n := r.old, r.new
	same := func(a, b *int32) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
	return n.UpdatedReplicas != o.UpdatedReplicas || n.Replicas-n.UpdatedReplicas < o.Replicas-o.UpdatedReplicas ||
		n.ReadyReplicas > o.ReadyReplicas || n.AvailableReplicas > o.AvailableReplicas ||
		n.BlueGreen.ActiveSelector != o.BlueGreen.ActiveSelector || n.BlueGreen.PreviewSelector != o.BlueGreen.PreviewSelector ||
		n.StableRS != o.StableRS || !same(n.CurrentStepIndex, o.CurrentStepIndex) || n.CurrentStepHash != o.CurrentStepHash ||
		r.condition(v1alpha1.ConditionProgressing) == nil
}

// blocked shows the first hold that somebody should know about. Invalid specs
// have a condition of their own.
func (r *recorder) blocked() {
	if r.plan.Invalid != "" {
		r.drop(v1alpha1.ConditionBlocked)
		return
	}
	for _, op := range r.plan.Ops {
		var problem *rollout.Problem
		if err := r.out.Failed[op.ID()]; err != nil && errors.As(err, &problem) && problem.Class != rollout.ProblemWaiting {
			r.block(rollout.HoldReason(problem.Reason), problem.Error())
			return
		}
	}
	for _, h := range r.plan.Holds {
		if h.Blocking {
			r.block(h.Reason, h.What+"; ended by "+h.EndedBy)
			return
		}
	}
	r.drop(v1alpha1.ConditionBlocked)
}

// warned shows what plugins warn of, once all have spoken.
func (r *recorder) warned() {
	if len(r.s.StepChecks.Problems) > 0 {
		return
	}
	var all []string
	for _, router := range r.s.Routers {
		switch {
		case router.Releasing:
		case router.Problem != nil && router.Remark == "":
			return
		case router.Remark != "":
			all = append(all, router.Path+": "+router.Remark)
		}
	}
	for _, index := range slices.Sorted(maps.Keys(r.s.StepChecks.Remarks)) {
		all = append(all, fmt.Sprintf("spec.strategy.canary.steps[%d].plugin.config: %s", index, r.s.StepChecks.Remarks[index]))
	}
	what := strings.Join(all, "; ")
	if old := r.condition(v1alpha1.ConditionPluginWarning); old != nil && old.Message != what {
		r.drop(v1alpha1.ConditionPluginWarning)
	}
	if what != "" && r.set(v1alpha1.ConditionPluginWarning, corev1.ConditionTrue, v1alpha1.ReasonPluginWarning, what) {
		r.edge(corev1.EventTypeWarning, v1alpha1.EventPluginWarning, what)
	}
}

func (r *recorder) block(reason rollout.HoldReason, what string) {
	if r.set(v1alpha1.ConditionBlocked, corev1.ConditionTrue, string(reason), what) {
		r.edge(corev1.EventTypeWarning, string(reason), what)
	}
}

func (r *recorder) condition(t v1alpha1.RolloutConditionType) *v1alpha1.RolloutCondition {
	for i := range r.new.Conditions {
		if r.new.Conditions[i].Type == t {
			return &r.new.Conditions[i]
		}
	}
	return nil
}

func (r *recorder) isTrue(t v1alpha1.RolloutConditionType) bool {
	c := r.condition(t)
	return c != nil && c.Status == corev1.ConditionTrue
}

func (r *recorder) reason(t v1alpha1.RolloutConditionType) string {
	if c := r.condition(t); c != nil {
		return c.Reason
	}
	return ""
}

// set changes a condition if its status or reason differ, and reports whether
// it did. A changed condition moves to the end of the list.
func (r *recorder) set(t v1alpha1.RolloutConditionType, status corev1.ConditionStatus, reason, message string) bool {
	old := r.condition(t)
	if old != nil && old.Status == status && old.Reason == reason {
		return false
	}
	next := v1alpha1.RolloutCondition{Type: t, Status: status, Reason: reason, Message: message,
		LastUpdateTime: r.now(), LastTransitionTime: r.now()}
	if old != nil && old.Status == status {
		next.LastTransitionTime = old.LastTransitionTime
	}
	r.drop(t)
	r.new.Conditions = append(r.new.Conditions, next)
	return true
}

// refresh sets Progressing to True and renews its lastUpdateTime.
func (r *recorder) refresh(reason, message string) {
	if r.set(v1alpha1.ConditionProgressing, corev1.ConditionTrue, reason, message) {
		return
	}
	c := r.condition(v1alpha1.ConditionProgressing)
	c.Message, c.LastUpdateTime = message, metav1.NewTime(r.s.Now.Truncate(time.Second))
}

func (r *recorder) drop(t v1alpha1.RolloutConditionType) {
	for i := range r.new.Conditions {
		if r.new.Conditions[i].Type == t {
			r.new.Conditions = append(r.new.Conditions[:i:i], r.new.Conditions[i+1:]...)
			return
		}
	}
}
