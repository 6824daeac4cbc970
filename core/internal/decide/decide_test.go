package decide_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/decide"
	"github.com/sluice-rollouts/sluice/core/internal/invariant"
	"github.com/sluice-rollouts/sluice/core/internal/record"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// TestDecideOnAnything: whatever the snapshot says, and however little sense it
// makes, deciding does not panic, decides the same twice, changes nothing it
// was given, and never plans weights that do not add up.
func TestDecideOnAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySnapshot(t)
		before, err := json.Marshal(s)
		require.NoError(t, err)
		plan := decide.Decide(s)
		require.Equal(t, plan, decide.Decide(s))
		after, err := json.Marshal(s)
		require.NoError(t, err)
		require.Equal(t, string(before), string(after), "the snapshot was modified")
		for _, v := range invariant.Check(s, plan) {
			require.NotEqual(t, "I1", v.Rule, v.Error())
		}
		seen := map[rollout.OpID]bool{}
		for _, op := range plan.Ops {
			require.False(t, seen[op.ID()], "%s is twice in one plan", op.ID())
			seen[op.ID()] = true
		}
		_ = record.Of(s, plan, done(plan))
		_ = record.Of(s, plan, rollout.Outcome{})
	})
}

// TestDecideIsSafe: on objects that make sense, in any combination of states,
// no plan breaks an invariant.
func TestDecideIsSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := sensibleSnapshot(t)
		require.Empty(t, invariant.Check(s, decide.Decide(s)))
	})
}

// TestWeightsAre64Bit: with the largest total weight, 22 pods and more overflow
// 32 bits.
func TestWeightsAre64Bit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := sensibleSnapshot(t)
		total, replicas := int32(100_000_000), rapid.Int32Range(20, math.MaxInt32/2).Draw(t, "replicas")
		canary := s.Rollout.Spec.Strategy.Canary
		canary.TrafficRouting = &v1alpha1.RolloutTrafficRouting{MaxTrafficWeight: &total, Plugins: map[string]json.RawMessage{"r": json.RawMessage(`{}`)}}
		s.Rollout.Spec.Replicas = &replicas
		for _, op := range decide.Decide(s).Ops {
			if up, ok := op.(rollout.UpdateReplicaSet); ok {
				require.GreaterOrEqual(t, up.To, int32(0))
				require.LessOrEqual(t, up.To, max(replicas, up.From))
			}
		}
	})
}

func done(plan rollout.Plan) rollout.Outcome {
	out := rollout.Outcome{Done: map[rollout.OpID]bool{}}
	for _, op := range plan.Ops {
		out.Done[op.ID()] = true
	}
	return out
}

func template(image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: image}}}}
}

// hashes of three revisions; the Rollout wants the first.
func hashes() []string {
	var out []string
	for _, image := range []string{"v2", "v1", "v0"} {
		out = append(out, rollout.TemplateHash(template(image), nil))
	}
	return out
}

func sensibleSnapshot(t *rapid.T) *rollout.Snapshot {
	all := hashes()
	hash := rapid.SampledFrom(all)
	replicas := rapid.Int32Range(0, 6).Draw(t, "replicas")
	steps := rapid.SliceOfN(rapid.Custom(step), 0, 3).Draw(t, "steps")
	ro := &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "n", UID: "u", Generation: 1, ResourceVersion: "1"},
		Spec: v1alpha1.RolloutSpec{Replicas: &replicas, Template: template("v2"), Paused: rapid.Bool().Draw(t, "paused"),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}},
			Strategy: v1alpha1.RolloutStrategy{Canary: &v1alpha1.CanaryStrategy{StableService: "s", CanaryService: "c", Steps: steps,
				TrafficRouting: &v1alpha1.RolloutTrafficRouting{Plugins: map[string]json.RawMessage{"r": json.RawMessage(`{}`)}}}},
		},
	}
	st := &ro.Status
	st.CurrentPodHash, st.CurrentStepHash = hash.Draw(t, "current"), rollout.StepsHash(ro)
	st.StableRS = rapid.SampledFrom(append(all, "")).Draw(t, "stable")
	st.Abort, st.PromoteFull = rapid.Bool().Draw(t, "abort"), rapid.Bool().Draw(t, "promoteFull")
	st.ControllerPause = rapid.Bool().Draw(t, "controllerPause")
	if rapid.Bool().Draw(t, "was aborted") {
		st.AbortedAt = &metav1.Time{Time: start}
	}
	index := rapid.Int32Range(0, int32(len(steps))).Draw(t, "index")
	st.CurrentStepIndex = &index
	s := &rollout.Snapshot{Now: start.Add(time.Minute), Rollout: ro, Services: map[string]*corev1.Service{}}
	for i, h := range all {
		if rapid.IntRange(0, 4).Draw(t, "there") > 0 {
			s.ReplicaSets = append(s.ReplicaSets, replicaSet(t, ro, h, i))
		}
	}
	for _, name := range []string{"s", "c"} {
		selector := map[string]string{"app": "x"}
		if rapid.IntRange(0, 4).Draw(t, "managed") > 0 {
			selector[v1alpha1.LabelPodTemplateHash] = hash.Draw(t, "selected")
		}
		s.Services[name] = &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: "1"}, Spec: corev1.ServiceSpec{Selector: selector}}
	}
	s.Routers = []rollout.Router{router(t)}
	canary := ro.Spec.Strategy.Canary
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		canary.DynamicStableScale = true
	case 1:
		canary.TrafficRouting, s.Routers = nil, nil
		canary.MaxSurge, canary.MaxUnavailable = bound(t, "surge"), bound(t, "unavailable")
		if rapid.Bool().Draw(t, "no names") {
			canary.StableService, canary.CanaryService, s.Services = "", "", nil
		}
	}
	return s
}

// bound is maxSurge or maxUnavailable.
func bound(t *rapid.T, name string) *intstr.IntOrString {
	v := intstr.FromInt32(rapid.Int32Range(0, 4).Draw(t, name))
	return &v
}

func step(t *rapid.T) v1alpha1.CanaryStep {
	if rapid.IntRange(0, 4).Draw(t, "scale") == 0 {
		n := rapid.Int32Range(0, 8).Draw(t, "replicas")
		return v1alpha1.CanaryStep{SetCanaryScale: &v1alpha1.SetCanaryScale{Replicas: &n}}
	}
	if rapid.Bool().Draw(t, "pause") {
		d := intstr.FromInt32(rapid.Int32Range(1, 90).Draw(t, "seconds"))
		return v1alpha1.CanaryStep{Pause: &v1alpha1.RolloutPause{Duration: &d}}
	}
	w := rapid.Int32Range(0, 100).Draw(t, "setWeight")
	return v1alpha1.CanaryStep{SetWeight: &w}
}

func replicaSet(t *rapid.T, ro *v1alpha1.Rollout, hash string, i int) *appsv1.ReplicaSet {
	n := rapid.Int32Range(0, 6).Draw(t, "spec")
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: "x-" + hash, Namespace: "n", UID: types.UID(hash), ResourceVersion: "1",
			Labels: map[string]string{"app": "x", v1alpha1.LabelPodTemplateHash: hash}, Annotations: map[string]string{v1alpha1.AnnotationRevision: string(rune('3' - i))},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ro, v1alpha1.GroupVersion.WithKind("Rollout"))}},
		Spec:   appsv1.ReplicaSetSpec{Replicas: &n},
		Status: appsv1.ReplicaSetStatus{Replicas: rapid.Int32Range(0, 6).Draw(t, "pods")},
	}
	rs.Status.AvailableReplicas = rapid.Int32Range(0, rs.Status.Replicas).Draw(t, "available")
	if rapid.Bool().Draw(t, "deadline") {
		rs.Annotations[v1alpha1.AnnotationScaleDownDeadline] = start.Add(time.Duration(rapid.IntRange(0, 120).Draw(t, "at")) * time.Second).Format(time.RFC3339)
	}
	return rs
}

func router(t *rapid.T) rollout.Router {
	r := rollout.Router{Plugin: "r", Path: "p", Config: json.RawMessage(`{}`), Capabilities: rollout.Capabilities{Observe: true}}
	if rapid.IntRange(0, 5).Draw(t, "problem") == 0 {
		r.Problem = &rollout.Problem{Class: rollout.ProblemUnavailable, Reason: v1alpha1.ReasonPluginUnavailable, Message: "down"}
		return r
	}
	r.Observation.Convergence = rapid.SampledFrom([]rollout.Convergence{rollout.ConvergenceDone, rollout.ConvergencePending, rollout.ConvergenceUnknown}).Draw(t, "convergence")
	for range rapid.IntRange(1, 2).Draw(t, "places") {
		w := rapid.Int32Range(0, 100).Draw(t, "weight")
		r.Observation.Observed = append(r.Observation.Observed, rollout.Observed{Traffic: rollout.Traffic{TotalWeight: 100, Destinations: []rollout.Destination{
			{Role: rollout.RoleStable, Service: "s", Weight: 100 - w}, {Role: rollout.RoleCanary, Service: "c", Weight: w}}}})
	}
	return r
}

// anySnapshot breaks a sensible one in ways no API server would allow.
func anySnapshot(t *rapid.T) *rollout.Snapshot {
	s := sensibleSnapshot(t)
	n := rapid.Int32()
	ro, canary := s.Rollout, s.Rollout.Spec.Strategy.Canary
	for range rapid.IntRange(0, 4).Draw(t, "damages") {
		switch rapid.IntRange(0, 13).Draw(t, "damage") {
		case 0:
			replicas := n.Draw(t, "replicas")
			ro.Spec.Replicas = &replicas
		case 1:
			index := n.Draw(t, "index")
			ro.Status.CurrentStepIndex = &index
		case 2:
			ro.Status.CurrentStepIndex, ro.Spec.Replicas = nil, new(int32)
		case 3:
			total := n.Draw(t, "total")
			if canary.TrafficRouting != nil {
				canary.TrafficRouting.MaxTrafficWeight = &total
			}
		case 4:
			canary.TrafficRouting = nil
		case 5:
			ro.Spec.Selector = nil
		case 6:
			ro.Spec.Template = corev1.PodTemplateSpec{}
		case 7:
			s.Services = nil
		case 8:
			s.Routers = nil
		case 9:
			ro.Spec.Strategy = v1alpha1.RolloutStrategy{}
		case 10:
			canary.Steps = append(canary.Steps, v1alpha1.CanaryStep{}, v1alpha1.CanaryStep{Experiment: &v1alpha1.RolloutExperimentStep{}})
		case 11:
			canary.MinPodsPerReplicaSet = new(int32)
			*canary.MinPodsPerReplicaSet = n.Draw(t, "minPods")
		case 12:
			for _, rs := range s.ReplicaSets {
				rs.Labels, rs.Annotations, rs.Spec.Replicas = nil, nil, nil
			}
		case 13:
			for i := range s.Routers {
				s.Routers[i].Observation.Observed = nil
				s.Routers[i].Releasing = rapid.Bool().Draw(t, "releasing")
			}
		}
	}
	return s
}
