package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// What dashboards see of a canary that is blocked half-way, of a run and of an
// experiment. A replica that does not lead shows nothing: sums would count
// everything twice.
func TestObjectsInMetrics(t *testing.T) {
	four := int32(4)
	ro := served("web", "web", "web-canary")
	ro.Spec.Replicas = &four
	ro.Spec.Strategy.Canary.TrafficRouting = &v1alpha1.RolloutTrafficRouting{Istio: &v1alpha1.IstioTrafficRouting{}}
	ro.Status.Phase, ro.Status.AvailableReplicas, ro.Status.UpdatedReplicas = v1alpha1.RolloutPhaseProgressing, 3, 1
	ro.Status.Canary.Weights = &v1alpha1.TrafficWeights{Canary: v1alpha1.WeightDestination{Weight: 25}}
	ro.Status.Conditions = []v1alpha1.RolloutCondition{{
		Type: v1alpha1.ConditionBlocked, Status: "True", Reason: "PluginUnavailable", LastTransitionTime: metav1.NewTime(time.Unix(1700000000, 0)),
	}}
	run := &v1alpha1.AnalysisRun{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}}
	run.Status.Phase = v1alpha1.AnalysisPhaseRunning
	ex := &v1alpha1.Experiment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-ab"}}
	ex.Status.Phase = v1alpha1.AnalysisPhaseSuccessful

	elected := make(chan struct{})
	objects := &Inventory{reader: shelf(t, ro, run, ex), leading: elected}
	assert.Zero(t, testutil.CollectAndCount(objects))
	close(elected)
	require.NoError(t, testutil.CollectAndCompare(objects, strings.NewReader(`
# HELP analysis_run_info 1 for each AnalysisRun.
# TYPE analysis_run_info gauge
analysis_run_info{name="web-1",namespace="shop",phase="Running"} 1
# HELP experiment_info 1 for each Experiment.
# TYPE experiment_info gauge
experiment_info{name="web-ab",namespace="shop",phase="Successful"} 1
# HELP rollout_info 1 for each Rollout.
# TYPE rollout_info gauge
rollout_info{name="web",namespace="shop",phase="Progressing",strategy="canary",traffic_router="Istio"} 1
# HELP rollout_info_replicas_available Available pods of a Rollout.
# TYPE rollout_info_replicas_available gauge
rollout_info_replicas_available{name="web",namespace="shop"} 3
# HELP rollout_info_replicas_desired spec.replicas of a Rollout.
# TYPE rollout_info_replicas_desired gauge
rollout_info_replicas_desired{name="web",namespace="shop"} 4
# HELP rollout_info_replicas_unavailable Pods of a Rollout that are not available.
# TYPE rollout_info_replicas_unavailable gauge
rollout_info_replicas_unavailable{name="web",namespace="shop"} 1
# HELP rollout_info_replicas_updated Pods of the desired revision of a Rollout.
# TYPE rollout_info_replicas_updated gauge
rollout_info_replicas_updated{name="web",namespace="shop"} 1
# HELP sluice_rollout_blocked_since_seconds When a Rollout was blocked, as seconds since 1970; only for those that are. The reason is that of the Blocked condition.
# TYPE sluice_rollout_blocked_since_seconds gauge
sluice_rollout_blocked_since_seconds{name="web",namespace="shop",reason="PluginUnavailable"} 1.7e+09
# HELP sluice_rollout_canary_weight Weight that routers have acknowledged for the canary; only for Rollouts whose traffic is routed.
# TYPE sluice_rollout_canary_weight gauge
sluice_rollout_canary_weight{name="web",namespace="shop"} 25
`)))
}

// An update that ends is observed once, with the time in which a person had to
// act beside the time in which it moved.
func TestTheEndOfAnUpdateInMetrics(t *testing.T) {
	counters, err := NewMetrics(prometheus.NewRegistry())
	require.NoError(t, err)
	began := metav1.NewTime(time.Unix(1700000000, 0))
	finished := metav1.NewTime(began.Add(20 * time.Minute))
	ro := served("web", "web", "web-canary")
	ro.Status.Duration = &v1alpha1.RolloutDuration{RolloutStartedAt: &began}
	after := v1alpha1.RolloutStatus{Duration: &v1alpha1.RolloutDuration{
		RolloutStartedAt: &began, FinishedAt: &finished, TotalManualPauseDurationSeconds: 300, CompletionStatus: v1alpha1.CompletionPromoted,
	}}
	counters.Ended(ro, after)
	ro.Status = after
	counters.Ended(ro, after) // a later status write of the same update
	require.NoError(t, testutil.CollectAndCompare(counters.progression, strings.NewReader(`
# HELP rollout_progression_duration_seconds Time of an update without the pauses in which a person had to act.
# TYPE rollout_progression_duration_seconds histogram
rollout_progression_duration_seconds_bucket{namespace="shop",status="Promoted",le="60"} 0
rollout_progression_duration_seconds_bucket{namespace="shop",status="Promoted",le="300"} 0
rollout_progression_duration_seconds_bucket{namespace="shop",status="Promoted",le="900"} 1
rollout_progression_duration_seconds_bucket{namespace="shop",status="Promoted",le="1800"} 1
rollout_progression_duration_seconds_bucket{namespace="shop",status="Promoted",le="3600"} 1
rollout_progression_duration_seconds_bucket{namespace="shop",status="Promoted",le="7200"} 1
rollout_progression_duration_seconds_bucket{namespace="shop",status="Promoted",le="21600"} 1
rollout_progression_duration_seconds_bucket{namespace="shop",status="Promoted",le="86400"} 1
rollout_progression_duration_seconds_bucket{namespace="shop",status="Promoted",le="+Inf"} 1
rollout_progression_duration_seconds_sum{namespace="shop",status="Promoted"} 900
rollout_progression_duration_seconds_count{namespace="shop",status="Promoted"} 1
`)))
}
