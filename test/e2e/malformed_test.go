package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// broken is a Rollout as the API server stores it: pod templates are not
// checked, and may hold fields of a newer Kubernetes.
func broken(steps ...string) string {
	return strings.Replace(stage.RolloutYAML(steps...), "ports: [{containerPort: 8080}]",
		`resources: {requests: {memory: invalid, cpu: 1}}, fieldOfTomorrow: {a: [1, {b: c}]}`, 1)
}

const brokenPath = "spec.template.spec.containers[0].resources.requests"

// A Rollout that does not decode stops nobody else, says where it is wrong,
// keeps what nobody understands, and goes on when it is mended.
func TestMalformedRollout(t *testing.T) {
	t.Parallel()
	sick, healthy := on.NewApp(t, shared), on.NewApp(t, shared)
	sick.Apply(broken(stage.SetWeight(50), stage.ShortPause))
	w := sick.Await("the path is told", func(w stage.World) bool { return w.Invalid(brokenPath) })
	assert.Empty(t, w.Sets)
	assert.Equal(t, 0, w.Weight())
	sick.AwaitEvent(v1alpha1.EventInvalidSpec, brokenPath)

	healthy.Deploy(stage.SetWeight(50), stage.Analysis)
	healthy.Update("v2")
	healthy.Await("another Rollout proceeds", func(w stage.World) bool { return w.Healthy("v2") })

	container := containerOf(sick.Read("Rollout", stage.AppName))
	assert.Equal(t, map[string]any{"requests": map[string]any{"memory": "invalid", "cpu": int64(1)}}, container["resources"])
	assert.Equal(t, map[string]any{"a": []any{int64(1), map[string]any{"b": "c"}}}, container["fieldOfTomorrow"])

	sick.PatchJSON("Rollout", stage.AppName, `[{"op": "remove", "path": "/spec/template/spec/containers/0/resources"}]`)
	w = sick.Await("the mended one is deployed", func(w stage.World) bool { return w.Healthy("v1") })
	assert.Nil(t, w.Condition(v1alpha1.ConditionInvalidSpec))
	assert.NotEmpty(t, containerOf(sick.Read("Rollout", stage.AppName))["fieldOfTomorrow"])
}

// A serving Rollout is edited into something that does not decode: it serves on,
// and still follows spec.replicas.
func TestMalformedEditOfAServingRollout(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	v1 := app.Deploy(stage.SetWeight(50), stage.ShortPause)
	route := app.Read("HTTPRoute", stage.AppName)
	app.PatchJSON("Rollout", stage.AppName, `[
		{"op": "add", "path": "/spec/template/spec/containers/0/resources", "value": {"requests": {"memory": "invalid"}}},
		{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "example.com/app:v2"}]`)
	app.Await("the path is told", func(w stage.World) bool { return w.Invalid(brokenPath) })
	app.PatchRollout(`{"spec": {"replicas": 6}}`)
	w := app.Await("v1 follows the replicas", func(w stage.World) bool { return w.Wanted("v1") == 6 && w.Invalid(brokenPath) })
	assert.Len(t, w.Sets, 1)
	assert.Equal(t, v1.Selects(stage.StableService), w.Selects(stage.StableService))
	assert.Equal(t, route, app.Read("HTTPRoute", stage.AppName))

	app.PatchJSON("Rollout", stage.AppName, `[{"op": "remove", "path": "/spec/template/spec/containers/0/resources"}]`)
	app.Await("the mended one is rolled out", func(w stage.World) bool { return w.Healthy("v2") })
}

// An AnalysisRun that does not decode is told so and stops no other one.
func TestMalformedAnalysisRun(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Apply(`
apiVersion: argoproj.io/v1alpha1
kind: AnalysisRun
metadata: {name: sick}
spec:
  metrics:
    - name: job
      provider:
        job:
          spec:
            template:
              spec:
                restartPolicy: Never
                containers: [{name: a, image: "example.com/a", resources: {requests: {memory: invalid}}, fieldOfTomorrow: 7}]
`)
	w := app.Await("the run is judged", func(w stage.World) bool {
		run := w.Runs["sick"]
		return run != nil && run.Status.Phase.Completed()
	})
	assert.Equal(t, v1alpha1.AnalysisPhaseError, w.Runs["sick"].Status.Phase)
	assert.Contains(t, w.Runs["sick"].Status.Message, "spec.metrics[0].provider.job.spec.template.spec.containers[0].resources.requests")

	app.Deploy(stage.SetWeight(50), stage.Analysis)
	app.Update("v2")
	app.Await("another analysis proceeds", func(w stage.World) bool { return w.Healthy("v2") })

	metrics := app.Read("AnalysisRun", "sick")["spec"].(map[string]any)["metrics"].([]any)
	job := metrics[0].(map[string]any)["provider"].(map[string]any)["job"].(map[string]any)
	container := job["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
	assert.Equal(t, int64(7), container["fieldOfTomorrow"])
}

// containerOf is the first container of a Rollout's pod template.
func containerOf(rollout map[string]any) map[string]any {
	template := rollout["spec"].(map[string]any)["template"].(map[string]any)
	return template["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
}
