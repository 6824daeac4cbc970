package decide_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/decide"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// plain is a Rollout with Services and a router, and nothing deployed yet.
func plain() *v1alpha1.Rollout {
	four := int32(4)
	labels := map[string]string{"app": "x"}
	ro := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "shop", UID: "uid-x", ResourceVersion: "1"}}
	ro.Spec.Replicas, ro.Spec.Selector = &four, &metav1.LabelSelector{MatchLabels: labels}
	ro.Spec.Template = corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app:v1"}}}}
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{StableService: "stable", CanaryService: "canary",
		TrafficRouting: &v1alpha1.RolloutTrafficRouting{Plugins: map[string]json.RawMessage{"r": []byte(`{}`)}}}
	return ro
}

func routedSnapshot(ro *v1alpha1.Rollout) *rollout.Snapshot {
	return &rollout.Snapshot{Now: start, Rollout: ro,
		Services: map[string]*corev1.Service{"stable": {}, "canary": {}},
		Routers: []rollout.Router{{Plugin: "r", Path: "spec.strategy.canary.trafficRouting.plugins[r]", Config: []byte(`{}`),
			Capabilities: rollout.Capabilities{Observe: true}}}}
}

// Nothing looks at the numbers of an update again: where writing one of them
// fails, the position stays, and the next pass does all of it.
func TestAnUpdateBeginsWhenItsNumbersAreWritten(t *testing.T) {
	ro := plain()
	plan := decide.Decide(routedSnapshot(ro))
	require.Empty(t, plan.Invalid)
	require.Equal(t, rollout.TransitionReset, plan.Transition.Kind)
	assert.Equal(t, []rollout.OpID{"rollout", "create-replicaset"}, plan.Transition.After)
	require.Len(t, plan.Ops, 2)
	assert.Equal(t, []rollout.OpID{"rollout"}, plan.Ops[1].After(), "no ReplicaSet of a revision that the Rollout does not say")

	// Back to a revision that was there before another one.
	hash := plan.Hash
	older := set(ro, hash, ro.Spec.Template, "1")
	template := *ro.Spec.Template.DeepCopy()
	template.Spec.Containers[0].Image = "app:v2"
	newer := set(ro, "newer", template, "2")
	ro.Annotations = map[string]string{v1alpha1.AnnotationRevision: "2"}
	ro.Status.CurrentPodHash, ro.Status.StableRS = "newer", "newer"
	s := routedSnapshot(ro)
	s.ReplicaSets = []*appsv1.ReplicaSet{older, newer}
	plan = decide.Decide(s)
	require.Equal(t, rollout.TransitionReset, plan.Transition.Kind)
	assert.Equal(t, []rollout.OpID{"rollout", rollout.OpID("replicaset/" + older.Name)}, plan.Transition.After)
}

func set(ro *v1alpha1.Rollout, hash string, template corev1.PodTemplateSpec, revision string) *appsv1.ReplicaSet {
	four := int32(4)
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: ro.Name + "-" + hash, Namespace: ro.Namespace, Labels: map[string]string{v1alpha1.LabelPodTemplateHash: hash},
			Annotations:     map[string]string{v1alpha1.AnnotationRevision: revision},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ro, v1alpha1.GroupVersion.WithKind("Rollout"))}},
		Spec:   appsv1.ReplicaSetSpec{Replicas: &four, Template: template},
		Status: appsv1.ReplicaSetStatus{Replicas: 4, AvailableReplicas: 4},
	}
}
