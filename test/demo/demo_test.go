//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/demo/internal/measure"
	"github.com/sluice-rollouts/sluice/test/demo/internal/quiet"
	"github.com/sluice-rollouts/sluice/test/demo/internal/view"
	"github.com/sluice-rollouts/sluice/test/demo/internal/watch"
)

// exampleRollout is the Rollout a user can copy, and the demo's.
func exampleRollout(t *testing.T) *v1alpha1.Rollout {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "examples", "demo", "rollout.yaml"))
	require.NoError(t, err)
	ro := &v1alpha1.Rollout{}
	require.NoError(t, yaml.Unmarshal(data, ro))
	require.Empty(t, ro.Malformed)
	return ro
}

func TestTheExampleIsWhatTheDemoNeeds(t *testing.T) {
	ro := exampleRollout(t)
	assert.Equal(t, namespace, ro.Namespace)
	assert.Equal(t, appName, ro.Name)
	assert.Equal(t, image+"v1", ro.Spec.Template.Spec.Containers[0].Image)
	assert.NotNil(t, ro.Spec.Template.Annotations, "a JSON patch adds to annotations that are there")
	assert.Equal(t, []float64{10, 25, 50, 100}, expected(ro, false))
	assert.Equal(t, []float64{10, 0}, expected(ro, true))
	assert.Equal(t,
		[]string{"setWeight 10", "pause 10s", "analysis", "setWeight 25", "pause 10s", "setWeight 50", "pause 10s", "setWeight 100", "pause 10s"},
		stepNames(ro))
}

func TestEnded(t *testing.T) {
	status := func(phase v1alpha1.RolloutPhase, stable string) *v1alpha1.Rollout {
		ro := &v1alpha1.Rollout{}
		ro.Status.Phase, ro.Status.StableRS, ro.Status.CurrentPodHash = phase, stable, "new"
		return ro
	}
	assert.False(t, ended(nil))
	assert.False(t, ended(status(v1alpha1.RolloutPhasePaused, "old")))
	assert.False(t, ended(status(v1alpha1.RolloutPhaseProgressing, "old")))
	assert.False(t, ended(status(v1alpha1.RolloutPhaseHealthy, "old")), "the phase of the update before")
	assert.True(t, ended(status(v1alpha1.RolloutPhaseHealthy, "new")))
	assert.True(t, ended(status(v1alpha1.RolloutPhaseDegraded, "old")))

	paused := status(v1alpha1.RolloutPhasePaused, "old")
	paused.Status.PauseConditions = []v1alpha1.PauseCondition{{Reason: v1alpha1.PauseReasonCanaryPauseStep}}
	assert.False(t, ended(paused), "a step's pause ends by itself")
	paused.Status.PauseConditions[0].Reason = v1alpha1.PauseReasonInconclusiveAnalysis
	assert.True(t, ended(paused), "only a user ends this one")
}

func TestAtRest(t *testing.T) {
	yes := true
	state := func(weight int32, verified *bool, route int64) watch.State {
		ro := &v1alpha1.Rollout{}
		ro.Status.Canary.Weights = &v1alpha1.TrafficWeights{Canary: v1alpha1.WeightDestination{Weight: weight}, Verified: verified}
		return watch.State{Rollout: ro, Route: watch.Route{Found: true, Stable: 100 - route, Canary: route}}
	}
	assert.True(t, atRest(state(0, &yes, 0)))
	assert.False(t, atRest(state(10, &yes, 10)))
	assert.False(t, atRest(state(0, nil, 0)), "not verified")
	assert.False(t, atRest(state(0, &yes, 10)), "the route was written by somebody else")
	assert.False(t, atRest(watch.State{Rollout: &v1alpha1.Rollout{}}))
	assert.False(t, atRest(watch.State{}))
}

func set(version, hash string, available, wanted int32) *appsv1.ReplicaSet {
	s := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{hashLabel: hash}}}
	s.Spec.Replicas = &wanted
	s.Spec.Template.Spec.Containers = []corev1.Container{{Image: image + version}}
	s.Status.Replicas, s.Status.AvailableReplicas = available, available
	return s
}

func TestFrame(t *testing.T) {
	ro := exampleRollout(t)
	index := int32(2)
	ro.Status.Phase, ro.Status.Message = v1alpha1.RolloutPhaseProgressing, "waiting for the analysis"
	ro.Status.CurrentStepIndex, ro.Status.CurrentPodHash = &index, "new"
	run := &v1alpha1.AnalysisRun{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{hashLabel: "new"}}}
	run.Status.MetricResults = []v1alpha1.MetricResult{{
		Name: "error-ratio", Phase: v1alpha1.AnalysisPhaseRunning,
		Measurements: []v1alpha1.Measurement{{Value: "[0]"}, {Value: "", Message: "no answer"}},
	}}
	state := watch.State{
		Rollout: ro,
		Sets:    []*appsv1.ReplicaSet{set("v0", "oldest", 0, 0), set("v1", "old", 5, 5), set("v2", "new", 1, 1)},
		Runs:    []*v1alpha1.AnalysisRun{run},
	}
	splits := []measure.Split{{At: time.Second, Revision: "new", Asked: 10, Verified: true}}
	var requests []measure.Request
	for i := range 10 {
		q := measure.Request{Start: 3 * time.Second, Revision: "old"}
		if i == 0 {
			q.Revision, q.Problem = "new", "status 500"
		}
		requests = append(requests, q)
	}
	asked := 10.0
	assert.Equal(t, view.Frame{
		Elapsed: 4 * time.Second,
		Phase:   "Progressing", Message: "waiting for the analysis",
		Steps: stepNames(ro), Step: 2, Asked: &asked, Verified: true,
		Shares:   []view.Share{{Version: "v1", Requests: 9, Percent: 90}, {Version: "v2", Requests: 1, Percent: 10}},
		Sets:     []view.Set{{Version: "v1", Available: 5, Wanted: 5}, {Version: "v2", Available: 1, Wanted: 1}},
		Analysis: []view.Metric{{Name: "error-ratio", Phase: "Running", Values: []string{"[0]", "(no answer)"}}},
		Sent:     10, Failed: 1,
	}, frame(state, splits, requests, 4*time.Second))

	run.Labels[hashLabel] = "old"
	assert.Empty(t, frame(state, splits, requests, 4*time.Second).Analysis, "of the update before")
	assert.Equal(t, view.Frame{Elapsed: time.Second}, frame(watch.State{}, nil, nil, time.Second))
}

func TestRestChecks(t *testing.T) {
	calm := quiet.Controller{HealthChecks: quiet.Counts{"gatewayapi": 12}, Leases: quiet.Counts{"put leases": 30}}
	assert.True(t, measure.Passed(restChecks(time.Minute, calm, nil)))

	for name, c := range map[string]struct {
		counted quiet.Controller
		audited quiet.Counts
	}{
		"a write":         {quiet.Controller{Writes: quiet.Counts{"patch rollouts": 1}}, nil},
		"a plugin's call": {quiet.Controller{Calls: quiet.Counts{"gatewayapi Observe": 1}}, nil},
		"an audited one":  {quiet.Controller{}, quiet.Counts{"patch rollouts": 1}},
	} {
		assert.False(t, measure.Passed(restChecks(time.Minute, c.counted, c.audited)), name)
	}
}
