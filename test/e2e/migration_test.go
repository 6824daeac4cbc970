package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// argoStatus is what Argo Rollouts has written about a canary that pauses at its
// second step: its conventions, and none of the fields that only Sluice has.
const argoStatus = `{"status": {
  "HPAReplicas": 5, "availableReplicas": 5, "readyReplicas": 5, "replicas": 5, "updatedReplicas": 1, "blueGreen": {},
  "canary": {"routers": null, "weights": {
    "canary": {"weight": 20, "serviceName": "app-canary", "podTemplateHash": %[1]q},
    "stable": {"weight": 80, "serviceName": "app-stable", "podTemplateHash": %[2]q}}},
  "conditions": [
    {"type": "Available", "status": "True", "reason": "AvailableReason", "message": "Rollout has minimum availability",
     "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"},
    {"type": "Paused", "status": "True", "reason": "RolloutPaused", "message": "Rollout is paused",
     "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"},
    {"type": "Progressing", "status": "Unknown", "reason": "RolloutPaused", "message": "Rollout is paused",
     "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"}],
  "controllerPause": true, "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z"}],
  "currentPodHash": %[1]q, "stableRS": %[2]q, "currentStepIndex": 1, "phase": "Paused", "message": "CanaryPauseStep"}}`

// Sluice takes over from Argo Rollouts in the middle of a canary: while Argo holds the
// lease nothing happens; afterwards the canary goes on where it was, and no pod is
// replaced.
func TestTakesOverFromArgoRollouts(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "migration", Lease: true})
	c.Start(t)
	app := on.NewApp(t, c)
	app.Deploy(stage.SetWeight(20), stage.Pause, stage.SetWeight(60), stage.ShortPause)
	app.Update("v2")
	w := app.Await("paused at 20", func(w stage.World) bool { return w.Paused(1, 20) })
	c.Stop(t)
	app.PatchStatus(fmt.Sprintf(argoStatus, w.Hash("v2"), w.Hash("v1")))
	require.Contains(t, app.Read("Rollout", stage.AppName)["status"].(map[string]any)["canary"], "weights")
	before, route := podUIDs(app), app.Now().Route.Generation
	seen := app.Now().Rollout.ResourceVersion

	holdLease(t, c)
	c.Start(t)
	app.PatchStatus(`{"status": {"pauseConditions": null}}`) // a promote that Argo has not seen yet
	require.Never(t, func() bool { return app.Now().Step() != 1 || app.Now().Weight() != 20 }, 3*time.Second, 100*time.Millisecond,
		"while Argo Rollouts holds the lease")
	assert.Equal(t, route, app.Now().Route.Generation)
	assert.NotEqual(t, seen, app.Now().Rollout.ResourceVersion, "the promote was stored")
	assert.Equal(t, before, podUIDs(app), "pods were replaced")

	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") && w.Wanted("v1") == 0 })
	app.RequireWeights(0, 20, 60, 100, 0)
	for uid := range before["v2"] {
		assert.Contains(t, podUIDs(app)["v2"], uid, "a pod of the canary was replaced")
	}
}

// podUIDs are the pods of each version.
func podUIDs(app *stage.App) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for _, version := range []string{"v1", "v2"} {
		out[version] = map[string]bool{}
		for _, pod := range app.Pods(version) {
			out[version][string(pod.GetUID())] = true
		}
	}
	return out
}

// holdLease makes Argo Rollouts the holder of the controller's lease, as if its
// process had ended a moment ago.
func holdLease(t *testing.T, c *stage.Controller) {
	t.Helper()
	holder, seconds, now := "argo-rollouts-5f64f8d68-x2x7q_0c6b4f1e", int32(15), metav1.NowMicro()
	var lease coordinationv1.Lease
	key := stage.LeaseKey(c)
	require.NoError(t, on.Client.Get(t.Context(), key, &lease))
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = &holder, &seconds
	lease.Spec.AcquireTime, lease.Spec.RenewTime = &now, &now
	require.NoError(t, on.Client.Update(t.Context(), &lease))
}
