package rollout

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// TestHashes: status hashes, as computed apart from this program from the JSON
// {"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"x","image":"v2","resources":{}}]}}
// and [{"setWeight":10},{"pause":{}}]. Another value restarts every pod.
func TestHashes(t *testing.T) {
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: "v2"}}}}
	assert.Equal(t, "8b7c8748b", TemplateHash(template, nil))
	assert.Equal(t, "66fdb89475", TemplateHash(template, ptr.To[int32](1)))
	assert.Equal(t, "6cc5b78b67", TemplateHash(template, ptr.To[int32](258)), "the counter is little-endian")

	steps := func(s ...v1alpha1.CanaryStep) *v1alpha1.Rollout {
		ro := &v1alpha1.Rollout{}
		ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{Steps: s}
		return ro
	}
	assert.Equal(t, "849b756fd4", StepsHash(steps(v1alpha1.CanaryStep{SetWeight: ptr.To[int32](10)}, v1alpha1.CanaryStep{Pause: &v1alpha1.RolloutPause{}})))
	assert.Equal(t, "5ffbfbbd64", StepsHash(steps()), "no steps are not an empty list")
	assert.Equal(t, "5f8cb5778f", StepsHash(steps([]v1alpha1.CanaryStep{}...)))
	assert.Empty(t, StepsHash(&v1alpha1.Rollout{}), "blue-green")
}
