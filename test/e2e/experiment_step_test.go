package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// compareStep gives a baseline and a canary 10 % each, and looks at both.
const compareStep = `{experiment: {
  templates: [{name: baseline, specRef: stable, weight: 10}, {name: canary, specRef: canary, weight: 10}],
  analyses: [{name: look, templateName: errors, requiredForCompletion: true}]}}`

// shares are the weights on the route by Service.
func shares(w stage.World) map[string]int32 {
	out := map[string]int32{}
	for _, rule := range w.Route.Spec.Rules {
		for _, b := range rule.BackendRefs {
			if b.Weight != nil && string(b.Name) != "docs" {
				out[string(b.Name)] += *b.Weight
			}
		}
	}
	return out
}

// experimentOf is the one experiment of the rollout, nil while there is none.
func experimentOf(w stage.World) *v1alpha1.Experiment {
	for _, ex := range w.Experiments {
		return ex
	}
	return nil
}

// A baseline against a canary, as a step: both get their share of the traffic
// beside stable through Services of their own, the analysis judges, and then
// nothing of them is left on the route.
func TestExperimentStep(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Apply(strings.NewReplacer("failureLimit: 0", "failureLimit: -1", "count: 2", "consecutiveSuccessLimit: 1").Replace(app.TemplateYAML()))
	app.Metric(0.5) // no verdict yet: the comparison goes on until the test has seen it
	before := app.Deploy(compareStep, stage.SetWeight(50), stage.Pause)
	require.Equal(t, map[string]int32{stage.StableService: 100, stage.CanaryService: 0}, shares(before))

	app.Update("v2")
	w := app.Await("both get their share", func(w stage.World) bool { return len(shares(w)) == 4 && shares(w)[stage.StableService] == 80 })
	ex := experimentOf(w)
	require.NotNil(t, ex)
	assert.Equal(t, ex.Name, w.Status().Canary.CurrentExperiment)
	for _, template := range ex.Status.TemplateStatuses {
		assert.Equal(t, int32(10), shares(w)[template.ServiceName], template.Name)
	}
	app.Metric(0)
	app.Await("the experiment is over, nothing of it is on the route, and the canary gets its weight", func(w stage.World) bool {
		return w.Paused(2, 50) && len(shares(w)) == 2 && experimentOf(w).Status.Phase == v1alpha1.AnalysisPhaseSuccessful
	})
	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("v2 serves", func(w stage.World) bool { return w.Healthy("v2") && len(shares(w)) == 2 })
}

// A comparison that goes badly gives up the update, and takes its share back.
func TestExperimentStepFails(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(compareStep, stage.SetWeight(50), stage.Pause)
	app.Metric(0.5)
	app.Update("v2")
	app.Await("the update is aborted and stable has everything", func(w stage.World) bool {
		return w.Aborted("v2", "v1") && len(shares(w)) == 2 && shares(w)[stage.StableService] == 100
	})
}
