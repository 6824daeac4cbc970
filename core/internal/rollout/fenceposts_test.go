package rollout

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// TestFenceposts: §11.2, 454. No row for garbage on one side alone gives a count.
func TestFenceposts(t *testing.T) {
	text := func(s string) *intstr.IntOrString { return ptr.To(intstr.FromString(s)) }
	for name, tc := range map[string]struct {
		surge, unavailable *intstr.IntOrString
		replicas           int32
		want               [2]int32
	}{
		"no pods":           {text("0%"), text("0%"), 0, [2]int32{0, 1}},
		"up and down":       {text("39%"), text("39%"), 10, [2]int32{4, 3}},
		"no surge":          {nil, text("39%"), 10, [2]int32{0, 3}},
		"no unavailability": {text("39%"), nil, 10, [2]int32{4, 0}},
		"neither":           {nil, nil, 10, [2]int32{0, 1}},
		"without the sign":  {text("25"), text("25"), 10, [2]int32{3, 2}},
		"counts":            {ptr.To(intstr.FromInt32(7)), ptr.To(intstr.FromInt32(0)), 2, [2]int32{7, 0}},
		"a large percent":   {text("1000%"), nil, 1 << 30, [2]int32{1<<31 - 1, 0}},
	} {
		surge, unavailable, err := Fenceposts(tc.surge, tc.unavailable, tc.replicas)
		assert.NoError(t, err, name)
		assert.Equal(t, tc.want, [2]int32{surge, unavailable}, name)
	}
	for _, wrong := range [][2]*intstr.IntOrString{{text("a few"), nil}, {nil, text("50 %")}, {ptr.To(intstr.FromInt32(-1)), nil}} {
		surge, unavailable, err := Fenceposts(wrong[0], wrong[1], 10)
		assert.Error(t, err)
		assert.Equal(t, [2]int32{}, [2]int32{surge, unavailable})
	}
}

// TestPodBounds: §11.2, 595: no more can be missing than there are.
func TestPodBounds(t *testing.T) {
	for _, tc := range []struct {
		unavailable intstr.IntOrString
		replicas    int32
		floor       int64
	}{
		{intstr.FromInt32(2), 10, 8},
		{intstr.FromInt32(10), 5, 0},
		{intstr.FromInt32(1), 0, 0},
		{intstr.FromString("50"), 4, 2},
		{intstr.FromString("what"), 4, 4},
	} {
		c := &v1alpha1.CanaryStrategy{MaxUnavailable: &tc.unavailable}
		_, floor := PodBounds(c, tc.replicas)
		assert.Equal(t, tc.floor, floor, "%s of %d", tc.unavailable.String(), tc.replicas)
	}
	ceiling, floor := PodBounds(&v1alpha1.CanaryStrategy{}, 10)
	assert.Equal(t, [2]int64{13, 8}, [2]int64{ceiling, floor}, "25 % of each")
}
