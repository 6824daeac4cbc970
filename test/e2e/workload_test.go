package e2e

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

const deploymentYAML = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: "example.com/app:v1", ports: [{containerPort: 8080}]}]}
`

func referringYAML(scaleDown string, steps ...string) string {
	return stage.EditYAML(stage.RolloutYAML(steps...), func(spec map[string]any) {
		delete(spec, "template")
		delete(spec, "selector")
		spec["workloadRef"] = map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "scaleDown": scaleDown}
	})
}

// A Rollout takes over a running Deployment, is updated by it, and gives it its
// pods back when it is deleted.
func TestWorkloadIsTakenOverAndGivenBack(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Apply(referringYAML(v1alpha1.ScaleDownOnSuccess, stage.SetWeight(20), stage.Pause))
	app.Await("the missing Deployment is named", func(w stage.World) bool {
		return w.Invalid(`spec.workloadRef: Deployment "web" does not exist in namespace`)
	})

	app.Apply(deploymentYAML)
	app.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
	replicas := func() int64 { return app.Number("Deployment", "web", "spec", "replicas") }
	app.Eventually("the Deployment is at 0", func() bool { return replicas() == 0 })
	app.Await("its last generation is observed", func(w stage.World) bool {
		generation := w.Status().WorkloadObservedGeneration
		return generation == strconv.FormatInt(app.Number("Deployment", "web", "metadata", "generation"), 10) &&
			generation == w.Rollout.Annotations[v1alpha1.AnnotationWorkloadGeneration]
	})
	stored := app.Read("Rollout", stage.AppName)["spec"].(map[string]any)
	assert.NotContains(t, stored, "template", "a resolved template is never stored")
	assert.NotContains(t, stored, "selector")

	app.Patch("Deployment", "web", `{"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "example.com/app:v2"}]}}}}`)
	app.Await("v2 is paused at 20", func(w stage.World) bool { return w.Paused(1, 20) })
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") && w.Wanted("v1") == 0 })
	require.Zero(t, replicas())

	app.Delete("Rollout", stage.AppName)
	app.Eventually("the Deployment has its replicas", func() bool { return replicas() == 3 })
	app.Await("the Services reach its pods", func(w stage.World) bool {
		return w.Selects(stage.StableService) == "" && w.Selects(stage.CanaryService) == "" &&
			w.Services[stage.StableService].Annotations[v1alpha1.AnnotationManagedBy] == ""
	})
	labels, _ := app.Read("Deployment", "web")["metadata"].(map[string]any)["labels"].(map[string]any)
	assert.Empty(t, labels, "no mark is left")
}

// What was deleted while no controller ran is cleaned up when one starts.
func TestDeletedWhileNobodyLooked(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "missed"})
	c.Start(t)
	app := on.NewApp(t, c)
	app.Apply(deploymentYAML, referringYAML(v1alpha1.ScaleDownProgressively))
	app.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
	replicas := func() int64 { return app.Number("Deployment", "web", "spec", "replicas") }
	app.Eventually("the Deployment is taken over", func() bool { return replicas() == 0 })
	c.Stop(t)
	app.Delete("Rollout", stage.AppName)
	c.Start(t)
	app.Eventually("the Deployment has its replicas", func() bool { return replicas() == 3 })
	app.Await("the Services reach its pods", func(w stage.World) bool {
		return w.Selects(stage.StableService) == "" && w.Selects(stage.CanaryService) == ""
	})
}

// A Service that the Rollout stops naming is freed; those it still names stay.
func TestServiceNoLongerNamed(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Apply(`{apiVersion: v1, kind: Service, metadata: {name: new-canary}, spec: {selector: {app: app}, ports: [{name: http, port: 80, targetPort: 8080}]}}`)
	app.Deploy(stage.SetWeight(20), stage.Pause)
	app.PatchJSON("HTTPRoute", stage.AppName, `[{"op": "replace", "path": "/spec/rules/0/backendRefs/1/name", "value": "new-canary"}]`)
	app.PatchRollout(`{"spec": {"strategy": {"canary": {"canaryService": "new-canary"}}}}`)
	w := app.Await("the new name is used, the old one is free", func(w stage.World) bool {
		return w.Selects("new-canary") == w.Hash("v1") && w.Selects(stage.CanaryService) == "" && w.Selects(stage.StableService) == w.Hash("v1")
	})
	assert.NotContains(t, w.Services[stage.CanaryService].Annotations, v1alpha1.AnnotationManagedBy)
}
