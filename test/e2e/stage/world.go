package stage

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// World is the state of an App at one moment, as watches have shown it. Its
// objects are shared: nobody modifies them. What does not exist is zero.
type World struct {
	Rollout v1alpha1.Rollout
	// Others are further Rollouts of the namespace.
	Others   map[string]*v1alpha1.Rollout
	Route    gatewayv1.HTTPRoute
	Services map[string]*corev1.Service
	Sets     map[string]*appsv1.ReplicaSet
	Runs     map[string]*v1alpha1.AnalysisRun
	// Experiments by name.
	Experiments map[string]*v1alpha1.Experiment
}

// Status of the Rollout.
func (w World) Status() v1alpha1.RolloutStatus { return w.Rollout.Status }

// Observed reports that the status is about the spec as it is now.
func (w World) Observed() bool {
	return w.Rollout.Generation > 0 && w.Status().ObservedGeneration == itoa(w.Rollout.Generation)
}

// Weight of the canary on the route.
func (w World) Weight() int { return weightOn(&w.Route, "canary") }

func weightOn(route *gatewayv1.HTTPRoute, service string) int {
	for _, rule := range route.Spec.Rules {
		for _, b := range rule.BackendRefs {
			if b.Weight != nil && strings.HasSuffix(string(b.Name), service) {
				return int(*b.Weight)
			}
		}
	}
	return -1
}

// Step is status.currentStepIndex; -1 when there is none.
func (w World) Step() int {
	if i := w.Status().CurrentStepIndex; i != nil {
		return int(*i)
	}
	return -1
}

// Condition of the Rollout; nil when there is none of the type.
func (w World) Condition(t v1alpha1.RolloutConditionType) *v1alpha1.RolloutCondition {
	for i := range w.Rollout.Status.Conditions {
		if c := &w.Rollout.Status.Conditions[i]; c.Type == t {
			return c
		}
	}
	return nil
}

// Reason of a condition; "" when there is none of the type.
func (w World) Reason(t v1alpha1.RolloutConditionType) string {
	if c := w.Condition(t); c != nil {
		return c.Reason
	}
	return ""
}

// Message of a condition; "" when there is none of the type.
func (w World) Message(t v1alpha1.RolloutConditionType) string {
	if c := w.Condition(t); c != nil {
		return c.Message
	}
	return ""
}

// Set is the Rollout's ReplicaSet of a version; nil when there is none.
func (w World) Set(version string) *appsv1.ReplicaSet {
	for _, rs := range w.Sets {
		if rs.Labels[v1alpha1.LabelPodTemplateHash] == "" {
			continue // of a Deployment
		}
		if c := rs.Spec.Template.Spec.Containers; len(c) > 0 && strings.HasSuffix(c[0].Image, ":"+version) {
			return rs
		}
	}
	return nil
}

// Hash of a version's ReplicaSet; "" when there is none.
func (w World) Hash(version string) string {
	if rs := w.Set(version); rs != nil {
		return rs.Labels[v1alpha1.LabelPodTemplateHash]
	}
	return ""
}

// Wanted is how many pods a version's ReplicaSet wants.
func (w World) Wanted(version string) int {
	if rs := w.Set(version); rs != nil && rs.Spec.Replicas != nil {
		return int(*rs.Spec.Replicas)
	}
	return 0
}

// Selects is the revision that a Service selects; "" when it selects all.
func (w World) Selects(service string) string {
	if svc := w.Services[service]; svc != nil {
		return svc.Spec.Selector[v1alpha1.LabelPodTemplateHash]
	}
	return ""
}

// Healthy reports that a version is the stable one, serves everything, and
// nothing is left to do but to scale older ones down.
func (w World) Healthy(version string) bool {
	st, hash := w.Status(), w.Hash(version)
	return w.Observed() && hash != "" && st.Phase == v1alpha1.RolloutPhaseHealthy && st.StableRS == hash && st.CurrentPodHash == hash &&
		w.Weight() == 0 && w.Selects(StableService) == hash && w.Selects(CanaryService) == hash
}

// Invalid reports that the spec as it is now is refused, with the text in the
// message.
func (w World) Invalid(text string) bool {
	return w.Observed() && w.Status().Phase == v1alpha1.RolloutPhaseDegraded && w.Reason(v1alpha1.ConditionInvalidSpec) == v1alpha1.ReasonInvalidSpec &&
		strings.Contains(w.Message(v1alpha1.ConditionInvalidSpec), text) && strings.Contains(w.Status().Message, text)
}

// Blocked reports that the Rollout waits for something outside it.
func (w World) Blocked(reason string) bool {
	c := w.Condition(v1alpha1.ConditionBlocked)
	return w.Observed() && c != nil && c.Status == corev1.ConditionTrue && c.Reason == reason
}

// Aborted reports that an update to a version was given up and nothing of it is
// left in traffic, selectors and pods.
func (w World) Aborted(version, back string) bool {
	return w.Status().Abort && w.Status().Phase == v1alpha1.RolloutPhaseDegraded && w.Weight() == 0 &&
		w.Selects(StableService) == w.Hash(back) && w.Selects(CanaryService) == w.Hash(back) && w.Wanted(version) == 0
}

// Paused reports that a pause step is in force at the index and that traffic
// has the weight.
func (w World) Paused(step, weight int) bool {
	return w.Observed() && w.Step() == step && w.Weight() == weight &&
		slices.ContainsFunc(w.Status().PauseConditions, func(c v1alpha1.PauseCondition) bool {
			return c.Reason == v1alpha1.PauseReasonCanaryPauseStep
		})
}
