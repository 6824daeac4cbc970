package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// A new Rollout names something that does not exist: it says what exactly,
// touches nothing, and goes on when it appears.
func TestMissingReference(t *testing.T) {
	t.Parallel()
	for _, missing := range []struct{ kind, name, says string }{
		{"Service", stage.StableService, `spec.strategy.canary.stableService: Service "app-stable" does not exist in namespace "NAMESPACE"; create it`},
		{"Service", stage.CanaryService, `spec.strategy.canary.canaryService: Service "app-canary" does not exist in namespace "NAMESPACE"; create it`},
		{"HTTPRoute", stage.AppName, `spec.strategy.canary.trafficRouting.plugins[argoproj-labs/gatewayAPI]: httpRoute: HTTPRoute "NAMESPACE/app" not found: create it`},
		{"AnalysisTemplate", stage.TemplateName, `spec.strategy.canary.steps[1].analysis: AnalysisTemplate "errors" not found: create it`},
	} {
		t.Run(missing.kind+" "+missing.name, func(t *testing.T) {
			t.Parallel()
			app := on.NewApp(t, shared)
			app.Delete(missing.kind, missing.name)
			app.Apply(stage.RolloutYAML(stage.SetWeight(50), stage.Analysis))
			says := strings.ReplaceAll(missing.says, "NAMESPACE", app.Namespace)
			w := app.Await("it says what is missing", func(w stage.World) bool { return w.Invalid(says) })
			assert.Empty(t, w.Sets)
			for name := range w.Services {
				assert.Empty(t, w.Selects(name), name)
			}
			if missing.kind != "HTTPRoute" {
				assert.EqualValues(t, 1, w.Route.Generation)
			}

			app.ApplyAll()
			w = app.Await("it is deployed", func(w stage.World) bool { return w.Healthy("v1") })
			assert.Nil(t, w.Condition(v1alpha1.ConditionInvalidSpec))
		})
	}
}

// A serving Rollout gets a new version together with a reference to nothing: it
// serves on undisturbed and starts when the reference is corrected.
func TestMissingReferenceInANewSpec(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	v1 := app.Deploy(stage.SetWeight(50), stage.Analysis)
	app.PatchRollout(`{"spec": {"strategy": {"canary": {"steps": [
		{"setWeight": 50}, {"analysis": {"templates": [{"templateName": "erors"}]}}]}}}}`)
	app.Update("v2")
	says := `spec.strategy.canary.steps[1].analysis: AnalysisTemplate "erors" not found`
	app.Await("it says what is missing", func(w stage.World) bool { return w.Invalid(says) })
	app.PatchRollout(`{"spec": {"replicas": 6}}`)
	w := app.Await("v1 follows the replicas", func(w stage.World) bool { return w.Wanted("v1") == 6 && w.Invalid(says) })
	assert.Len(t, w.Sets, 1)
	assert.Equal(t, v1.Route.Generation, w.Route.Generation)
	assert.Equal(t, v1.Hash("v1"), w.Selects(stage.CanaryService))

	app.PatchRollout(`{"spec": {"strategy": {"canary": {"steps": [
		{"setWeight": 50}, {"analysis": {"templates": [{"templateName": "errors"}]}}]}}}}`)
	app.Await("v2 is rolled out", func(w stage.World) bool { return w.Healthy("v2") })
}

// The route is deleted while v2 has half of the traffic, and made again as it
// was in the beginning: the rollout holds, then goes on at the same weight.
func TestRouteIsDeletedAndMadeAgain(t *testing.T) {
	t.Parallel()
	app := half(t)
	app.Delete("HTTPRoute", stage.AppName)
	w := app.Await("it says what is missing", func(w stage.World) bool { return w.Invalid(`HTTPRoute "` + app.Namespace + `/app" not found`) })
	assert.Equal(t, 1, w.Step())
	assert.Equal(t, 4, w.Wanted("v1"))
	assert.Equal(t, 2, w.Wanted("v2"))

	app.ApplyAll()
	app.Await("half of the traffic again", func(w stage.World) bool { return w.Paused(1, 50) })
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") })
}
