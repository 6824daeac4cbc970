package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

const (
	activeService  = "app-active"
	previewService = "app-preview"
)

// blueGreen deploys v1 with three pods and the strategy, a YAML flow map.
func blueGreen(t *testing.T, strategy string) *stage.App {
	t.Helper()
	app := on.NewApp(t, shared)
	deployBlueGreen(app, strategy)
	return app
}

func deployBlueGreen(app *stage.App, strategy string) {
	for _, name := range []string{activeService, previewService} {
		app.Apply(`{apiVersion: v1, kind: Service, metadata: {name: ` + name + `}, spec: {selector: {app: app}, ports: [{name: http, port: 80, targetPort: 8080}]}}`)
	}
	app.Apply(strings.NewReplacer("{name: errors}", "{name: lasting}", "count: 2", "count: 10000").Replace(app.TemplateYAML()), `
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: app}
spec:
  replicas: 3
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: "example.com/app:v1", ports: [{containerPort: 8080}]}]}
  strategy: {blueGreen: `+strategy+`}
`)
	app.Await("users reach v1", reaches("v1"))
}

// reaches: a version is stable, and users reach it.
func reaches(version string) func(stage.World) bool {
	return func(w stage.World) bool {
		st, hash := w.Status(), w.Hash(version)
		return w.Observed() && hash != "" && st.Phase == v1alpha1.RolloutPhaseHealthy && st.StableRS == hash &&
			st.BlueGreen.ActiveSelector == hash && w.Selects(activeService) == hash
	}
}

// waits: the preview of a version waits to be promoted.
func waits(version string) func(stage.World) bool {
	return func(w stage.World) bool {
		st := w.Status()
		return w.Observed() && st.CurrentPodHash == w.Hash(version) && len(st.PauseConditions) == 1 &&
			st.PauseConditions[0].Reason == v1alpha1.PauseReasonBlueGreenPause && st.ControllerPause
	}
}

// The order of events that clients compare, from a first deployment and an
// update with three pods and no preview Service.
func TestBlueGreenEvents(t *testing.T) {
	t.Parallel()
	app := blueGreen(t, `{activeService: app-active}`)
	app.Update("v2")
	app.Await("users reach v2", reaches("v2"))
	requireEvents(app,
		"RolloutAddedToInformer", "RolloutUpdated", "NewReplicaSetCreated", "ScalingReplicaSet", "RolloutCompleted", "SwitchService",
		"RolloutUpdated", "NewReplicaSetCreated", "RolloutNotCompleted", "ScalingReplicaSet", "SwitchService", "RolloutCompleted")
}

// The preview waits until a person promotes it as `kubectl argo rollouts promote`
// does; v1 that is wanted back within its delay serves again without a pause.
func TestBlueGreenIsPromotedAndRolledBack(t *testing.T) {
	t.Parallel()
	app := blueGreen(t, `{activeService: app-active, previewService: app-preview, autoPromotionEnabled: false}`)
	app.Update("v2")
	w := app.Await("v2 waits", waits("v2"))
	assert.Equal(t, v1alpha1.RolloutPhasePaused, w.Status().Phase)
	assert.Equal(t, "BlueGreenPause", w.Status().Message)
	assert.Equal(t, w.Hash("v1"), w.Selects(activeService))
	assert.Equal(t, w.Hash("v2"), w.Selects(previewService))
	assert.Equal(t, 3, w.Wanted("v2"))

	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	w = app.Await("users reach v2, v1 has a deadline", func(w stage.World) bool { return reaches("v2")(w) && deadline(w, "v1") != "" })
	assert.False(t, w.Status().ControllerPause)
	assert.Equal(t, 3, w.Wanted("v1"))

	app.Update("v1")
	app.Await("users reach v1 again, which is to stay", func(w stage.World) bool { return reaches("v1")(w) && deadline(w, "v1") == "" })
	app.AwaitEvent(v1alpha1.EventRolloutCompleted, "Fast rollback")
}

// An update that is aborted before the switch never reaches users; its pods go
// after their delay, and a retry waits to be promoted again.
func TestBlueGreenIsAbortedAndRetried(t *testing.T) {
	t.Parallel()
	app := blueGreen(t, `{activeService: app-active, previewService: app-preview, autoPromotionEnabled: false, abortScaleDownDelaySeconds: 1}`)
	app.Update("v2")
	app.Await("v2 waits", waits("v2"))
	app.PatchStatus(`{"status": {"abort": true}}`)
	w := app.Await("v2 is gone", func(w stage.World) bool {
		return w.Status().Phase == v1alpha1.RolloutPhaseDegraded && w.Wanted("v2") == 0 && w.Set("v2").Status.Replicas == 0
	})
	assert.Equal(t, w.Hash("v1"), w.Selects(activeService))
	assert.Equal(t, w.Hash("v2"), w.Selects(previewService), "the preview stays where it was")
	assert.Equal(t, 3, w.Wanted("v1"))

	app.PatchStatus(`{"status": {"abort": false}}`)
	app.Await("v2 waits again", waits("v2"))
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("users reach v2", reaches("v2"))
}

// An analysis after the switch that fails sends users back to v1, which still
// has all its pods.
func TestBlueGreenGoesBackAfterTheSwitch(t *testing.T) {
	t.Parallel()
	app := blueGreen(t, `{activeService: app-active, previewService: app-preview,
		prePromotionAnalysis: {templates: [{templateName: errors}]}, postPromotionAnalysis: {templates: [{templateName: lasting}]}}`)
	app.Update("v2")
	app.Await("users reach v2, which is analysed", func(w stage.World) bool {
		return w.Selects(activeService) == w.Hash("v2") && w.Hash("v2") != ""
	})
	app.Metric(0.5)
	w := app.Await("users reach v1 again", func(w stage.World) bool {
		return w.Status().Phase == v1alpha1.RolloutPhaseDegraded && w.Status().Abort && w.Selects(activeService) == w.Hash("v1")
	})
	assert.Equal(t, 3, w.Wanted("v1"))
	assert.Contains(t, w.Status().Message, "Blue/green post-promotion analysis phase error/failed")
	pre, post := w.Status().BlueGreen.PrePromotionAnalysisRunStatus, w.Status().BlueGreen.PostPromotionAnalysisRunStatus
	require.NotNil(t, pre)
	require.NotNil(t, post)
	assert.Equal(t, "app-"+w.Hash("v2")+"-2-pre", pre.Name)
	assert.Equal(t, v1alpha1.AnalysisPhaseSuccessful, pre.Status)
	assert.Equal(t, "app-"+w.Hash("v2")+"-2-post", post.Name)
	assert.Equal(t, v1alpha1.RolloutTypePostPromotion, w.Runs[post.Name].Labels[v1alpha1.LabelRolloutType])
}

// At 50 % of a canary the strategy becomes blue-green: the route is given back,
// v2 is a preview, and v1 keeps its pods until users have left it.
func TestCanaryBecomesBlueGreen(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(50), stage.Pause)
	app.Update("v2")
	app.Await("v2 has half", func(w stage.World) bool { return w.Paused(1, 50) })

	app.PatchRollout(`{"spec": {"strategy": {"canary": null, "blueGreen": {"activeService": "app-stable", "autoPromotionEnabled": false}}}}`)
	w := app.Await("v2 waits, the route is given back", func(w stage.World) bool { return waits("v2")(w) && w.Weight() == 0 })
	assert.Empty(t, w.Status().Canary.Routers)
	assert.Nil(t, w.Status().Canary.Weights)
	assert.Equal(t, w.Hash("v1"), w.Selects(stage.StableService))
	assert.Equal(t, 4, w.Wanted("v1"))
	assert.Equal(t, 4, w.Wanted("v2"))

	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("users reach v2", func(w stage.World) bool {
		return w.Status().Phase == v1alpha1.RolloutPhaseHealthy && w.Selects(stage.StableService) == w.Hash("v2")
	})
	app.RequireWeights(0, 50, 0)
}
