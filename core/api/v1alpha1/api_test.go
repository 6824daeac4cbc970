package v1alpha1_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

func TestPauseDurationSeconds(t *testing.T) {
	assert.Zero(t, v1alpha1.RolloutPause{}.DurationSeconds(), "indefinite")
	for in, want := range map[intstr.IntOrString]int32{
		intstr.FromInt32(5):                      5,
		intstr.FromInt32(-5):                     -5,
		intstr.FromString("20"):                  20,
		intstr.FromString("10s"):                 10,
		intstr.FromString("1h30m"):               5400,
		intstr.FromString("1500ms"):              1,
		intstr.FromString("-1s"):                 -1,
		intstr.FromString("10 s"):                -1,
		intstr.FromString("1d"):                  -1,
		intstr.FromString(""):                    -1,
		intstr.FromString("9999999999"):          math.MaxInt32,
		intstr.FromString("9999999999999999999"): -1,
		intstr.FromString("2000000h"):            math.MaxInt32,
	} {
		assert.Equal(t, want, v1alpha1.RolloutPause{Duration: &in}.DurationSeconds(), in.String())
	}
}

func TestScaleDownDelays(t *testing.T) {
	traffic := &v1alpha1.RolloutTrafficRouting{}
	seconds := func(n int32) *int32 { return &n }

	assert.Zero(t, (&v1alpha1.CanaryStrategy{}).ScaleDownDelay())
	assert.Equal(t, 30*time.Second, (&v1alpha1.CanaryStrategy{TrafficRouting: traffic}).ScaleDownDelay())
	assert.Zero(t, (&v1alpha1.CanaryStrategy{TrafficRouting: traffic, ScaleDownDelaySeconds: seconds(0)}).ScaleDownDelay())
	assert.Equal(t, 30*time.Second, (&v1alpha1.BlueGreenStrategy{}).ScaleDownDelay())

	abort := func(s interface {
		AbortScaleDownDelay() (time.Duration, bool)
	}) any {
		delay, never := s.AbortScaleDownDelay()
		if never {
			return "never"
		}
		return delay
	}
	assert.Equal(t, time.Duration(0), abort(&v1alpha1.CanaryStrategy{}))
	assert.Equal(t, 30*time.Second, abort(&v1alpha1.CanaryStrategy{TrafficRouting: traffic}))
	assert.Equal(t, "never", abort(&v1alpha1.CanaryStrategy{AbortScaleDownDelaySeconds: seconds(0)}))
	assert.Equal(t, 5*time.Second, abort(&v1alpha1.CanaryStrategy{AbortScaleDownDelaySeconds: seconds(5)}))
	assert.Equal(t, 30*time.Second, abort(&v1alpha1.BlueGreenStrategy{}))
	assert.Equal(t, "never", abort(&v1alpha1.BlueGreenStrategy{AbortScaleDownDelaySeconds: seconds(0)}))
}

// What a referenced workload contributed must never be persisted.
func TestResolvedTemplateIsNotWritten(t *testing.T) {
	spec := v1alpha1.RolloutSpec{
		TemplateResolvedFromRef: true,
		SelectorResolvedFromRef: true,
		WorkloadRef:             &v1alpha1.ObjectRef{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
		Selector:                &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		Template:                corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}}}},
	}
	text, err := json.Marshal(v1alpha1.Rollout{Spec: spec})
	require.NoError(t, err)
	assert.JSONEq(t, `{"metadata":{},"spec":{"workloadRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"}}}`, string(text))
	assert.Len(t, spec.Template.Spec.Containers, 1, "the value itself is unchanged")
}

func TestCompleted(t *testing.T) {
	for phase, want := range map[v1alpha1.AnalysisPhase]bool{
		"":                                 false,
		v1alpha1.AnalysisPhasePending:      false,
		v1alpha1.AnalysisPhaseRunning:      false,
		v1alpha1.AnalysisPhaseSuccessful:   true,
		v1alpha1.AnalysisPhaseFailed:       true,
		v1alpha1.AnalysisPhaseError:        true,
		v1alpha1.AnalysisPhaseInconclusive: true,
	} {
		assert.Equal(t, want, phase.Completed(), phase)
	}
}
