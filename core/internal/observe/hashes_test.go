package observe

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// What is remembered is what would be computed, whatever the hashes follow from
// has changed: the spec, the count of collisions, the object behind the name, or a
// template that is somebody else's.
func TestRememberedHashesAreThoseOfNow(t *testing.T) {
	ro := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "a", Generation: 1}}
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{}
	image := func(name string) {
		ro.Spec.Template.Spec.Containers = []corev1.Container{{Name: "web", Image: name}}
	}
	var h hashes
	seen := map[rollout.Hashes]bool{}
	for _, change := range []func(){
		func() { image("v1") },
		func() { ro.Generation++; image("v2") },
		func() {
			ro.Generation++
			ro.Spec.Strategy.Canary.Steps = []v1alpha1.CanaryStep{{SetWeight: new(int32(20))}}
		},
		func() { ro.Status.CollisionCount = new(int32(0)) },
		func() { ro.Status.CollisionCount = new(int32(1)) },
		func() { ro.UID = "b"; image("v3") },
		func() { ro.Spec.WorkloadRef = &v1alpha1.ObjectRef{}; image("v4") },
		func() { image("v5") },
	} {
		change()
		for range 2 {
			assert.Equal(t, rollout.HashesOf(ro), h.get(ro))
		}
		seen[h.get(ro)] = true
	}
	assert.Len(t, seen, 8, "each change is another hash")
	h.forget(types.NamespacedName{Namespace: "shop", Name: "web"})
	assert.Empty(t, h.of)
}
