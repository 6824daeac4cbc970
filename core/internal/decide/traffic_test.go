package decide_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/decide"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// TestTrafficThatNobodyKnows: a router that cannot say what it routes may give everything to the new revision. What is asked
// of it then may be a return, and waits until stable has pods for it: it was asked for at once when a canary at 100 %
// became a blue-green and a canary again while all of stable's pods were down, and users reached nobody.
func TestTrafficThatNobodyKnows(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stable int32 // available pods of 2
		asked  bool
	}{
		{"stable has no pod", 0, false},
		{"stable has one, as many as 80 % of two are, rounded down", 1, true},
		{"stable has all", 2, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := decide.Decide(unobserved(tt.stable))
			asked := false
			for _, op := range plan.Ops {
				switch op.(type) {
				case rollout.RouteTraffic, rollout.RecordIntent:
					asked = true
				}
			}
			assert.Equal(t, tt.asked, asked)
			held := false
			for _, hold := range plan.Holds {
				held = held || hold.Reason == rollout.HoldWaitingForPods
			}
			assert.Equal(t, !tt.asked, held, plan.Holds)
		})
	}
}

// unobserved is a canary at setWeight 20 with two pods, whose router says nothing of what it routes.
func unobserved(stable int32) *rollout.Snapshot {
	replicas, weight := int32(2), int32(20)
	ro := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "n", UID: "u", ResourceVersion: "1"}}
	ro.Spec = v1alpha1.RolloutSpec{Replicas: &replicas, Template: template("v2"),
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}},
		Strategy: v1alpha1.RolloutStrategy{Canary: &v1alpha1.CanaryStrategy{StableService: "s", CanaryService: "c",
			Steps:          []v1alpha1.CanaryStep{{SetWeight: &weight}},
			TrafficRouting: &v1alpha1.RolloutTrafficRouting{Plugins: map[string]json.RawMessage{"r": json.RawMessage(`{}`)}}}}}
	hash, old := rollout.TemplateHash(template("v2"), nil), rollout.TemplateHash(template("v1"), nil)
	ro.Status.StableRS, ro.Status.CurrentPodHash, ro.Status.CurrentStepHash = old, hash, rollout.StepsHash(ro)
	set := func(hash, image string, available int32) *appsv1.ReplicaSet {
		return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "x-" + hash, UID: types.UID(hash),
			Labels:          map[string]string{"app": "x", v1alpha1.LabelPodTemplateHash: hash},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ro, v1alpha1.GroupVersion.WithKind("Rollout"))}},
			Spec:   appsv1.ReplicaSetSpec{Replicas: &replicas, Template: template(image)},
			Status: appsv1.ReplicaSetStatus{Replicas: replicas, ReadyReplicas: available, AvailableReplicas: available}}
	}
	service := func(hash string) *corev1.Service {
		return &corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "x", v1alpha1.LabelPodTemplateHash: hash}}}
	}
	return &rollout.Snapshot{Now: start, Rollout: ro,
		ReplicaSets: []*appsv1.ReplicaSet{set(hash, "v2", replicas), set(old, "v1", stable)},
		Services:    map[string]*corev1.Service{"s": service(old), "c": service(hash)},
		Routers:     []rollout.Router{{Plugin: "r"}}}
}
