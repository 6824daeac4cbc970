package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// experimentYAML compares two templates; spec adds lines to its spec.
func experimentYAML(spec string) string {
	return `
apiVersion: argoproj.io/v1alpha1
kind: Experiment
metadata: {name: compare}
spec:
  ` + strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ") + `
  scaleDownDelaySeconds: 1
  templates:
    - name: baseline
      selector: {matchLabels: {app: app, role: baseline}}
      template:
        metadata: {labels: {app: app, role: baseline}}
        spec: {containers: [{name: app, image: "example.com/app:v1", ports: [{containerPort: 8080}]}]}
    - name: canary
      replicas: 2
      selector: {matchLabels: {app: app, role: canary}}
      service: {}
      template:
        metadata: {labels: {app: app, role: canary}}
        spec: {containers: [{name: app, image: "example.com/app:v2", ports: [{containerPort: 8080}]}]}
`
}

const analysedByErrors = `
analyses:
  - {name: check, templateName: errors}
`

func phase(w stage.World, is v1alpha1.AnalysisPhase) bool {
	ex := w.Experiments["compare"]
	return ex != nil && ex.Status.Phase == is
}

func pods(w stage.World, set string) int {
	if rs := w.Sets[set]; rs != nil {
		return int(rs.Status.AvailableReplicas)
	}
	return -1
}

// wound reports that nothing of the experiment is left but its objects at rest.
func wound(w stage.World) bool {
	return pods(w, "compare-baseline") == 0 && pods(w, "compare-canary") == 0 && w.Services["compare-canary"] == nil
}

// A person compares two versions: both come up, one behind a Service of its own,
// the analysis starts when all are available, and in the end all is wound down.
func TestExperiment(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Apply(experimentYAML("duration: 5s" + analysedByErrors))
	// Each kind is watched on its own: the Experiment's news may come before those of its ReplicaSets.
	w := app.Await("it runs with the pods asked for", func(w stage.World) bool {
		return phase(w, v1alpha1.AnalysisPhaseRunning) && pods(w, "compare-baseline") == 1 && pods(w, "compare-canary") == 2 &&
			w.Services["compare-canary"] != nil
	})
	st := w.Experiments["compare"].Status
	require.NotNil(t, st.AvailableAt)
	hash := w.Sets["compare-canary"].Labels[v1alpha1.LabelPodTemplateHash]
	assert.Equal(t, hash, w.Selects("compare-canary"))
	assert.Equal(t, hash, st.TemplateStatuses[1].PodTemplateHash)
	assert.Equal(t, "compare-canary", st.TemplateStatuses[1].ServiceName)
	assert.NotEqual(t, hash, st.TemplateStatuses[0].PodTemplateHash)

	app.Await("it is analysed", func(w stage.World) bool {
		run := w.Runs["compare-check"]
		return run != nil && run.Status.Phase == v1alpha1.AnalysisPhaseSuccessful && phase(w, v1alpha1.AnalysisPhaseRunning)
	})
	app.Await("it is successful and wound down", func(w stage.World) bool { return phase(w, v1alpha1.AnalysisPhaseSuccessful) && wound(w) })
	app.RequireOrder("compare Pending", "compare Running", "compare Successful", "compare-canary wants 0")
	assert.Len(t, app.Now().Runs, 1)
	for _, reason := range []string{"TemplateRunning", "ExperimentRunning", "AnalysisRunSuccessful", "ExperimentSuccessful"} {
		app.AwaitEventOf("Experiment", "compare", reason)
	}
}

// The second version answers with errors: the experiment says so and ends.
func TestExperimentFails(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Metric(0.5)
	app.Apply(experimentYAML(analysedByErrors))
	app.Await("it failed and is wound down", func(w stage.World) bool { return phase(w, v1alpha1.AnalysisPhaseFailed) && wound(w) })
	st := app.Now().Experiments["compare"].Status
	assert.Contains(t, st.Message, `Analysis "check" assessed Failed: Metric "error-ratio" assessed Failed due to failed (1) > failureLimit (0)`)
	for _, tpl := range st.TemplateStatuses {
		assert.Equal(t, v1alpha1.TemplateStatusSuccessful, tpl.Status)
	}

	// As the CLI retries it.
	app.Metric(0)
	app.Patch("Experiment", "compare", `{"status": null, "spec": {"duration": "1s"}}`)
	w := app.Await("the second try is successful", func(w stage.World) bool { return phase(w, v1alpha1.AnalysisPhaseSuccessful) && wound(w) })
	assert.Len(t, w.Runs, 2)
	assert.Contains(t, w.Runs, "compare-check.1")
}

// Nothing ends this one but a person.
func TestExperimentIsTerminated(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Apply(strings.Replace(app.TemplateYAML(), "count: 2", "count: 0", 1))
	app.Apply(experimentYAML(analysedByErrors))
	app.Await("it is measured", func(w stage.World) bool {
		run := w.Runs["compare-check"]
		return run != nil && len(run.Status.MetricResults) > 0 && run.Status.MetricResults[0].Count > 1
	})
	app.Patch("Experiment", "compare", `{"spec": {"terminate": true}}`)
	w := app.Await("it ended and is wound down", func(w stage.World) bool { return phase(w, v1alpha1.AnalysisPhaseSuccessful) && wound(w) })
	run := w.Runs["compare-check"]
	assert.True(t, run.Spec.Terminate)
	assert.Equal(t, "Run Terminated", run.Status.Message)
	app.RequireOrder("compare-check Successful", "compare Successful")
}

// Pods that never become ready fail it at its deadline.
func TestExperimentPastItsDeadline(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Apply(neverReadyCanary(experimentYAML("progressDeadlineSeconds: 3" + analysedByErrors)))
	w := app.Await("it failed and is wound down", func(w stage.World) bool { return phase(w, v1alpha1.AnalysisPhaseFailed) && wound(w) })
	st := w.Experiments["compare"].Status
	assert.Equal(t, "Template 'canary' exceeded its progressDeadlineSeconds (3): 0 of 2 pods are available", st.Message)
	assert.Empty(t, w.Runs)
}

func neverReadyCanary(manifest string) string {
	return strings.Replace(manifest, "labels: {app: app, role: canary}}\n        spec",
		"labels: {app: app, role: canary}, annotations: {\"devcluster.sluice.dev/never-ready\": \"true\"}}\n        spec", 1)
}

// The controller is killed at every point that can be told apart, and starts
// again: everything is there once, and the run is measured on where it was.
func TestControllerIsKilledDuringAnExperiment(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "experiment-kill"})
	c.Start(t)
	app := on.NewApp(t, c)
	app.Apply(strings.Replace(app.TemplateYAML(), "count: 2", "count: 6", 1))
	app.Apply(experimentYAML(strings.Replace(analysedByErrors, "name: check", "name: check, requiredForCompletion: true", 1)))
	for _, point := range []struct {
		what    string
		reached func(stage.World) bool
	}{
		{"the first ReplicaSet", func(w stage.World) bool { return len(w.Sets) > 0 }},
		{"the Service", func(w stage.World) bool { return w.Services["compare-canary"] != nil }},
		{"all pods", func(w stage.World) bool { return pods(w, "compare-canary") == 2 }},
		{"the run", func(w stage.World) bool { return len(w.Runs) > 0 }},
		{"the second measurement", func(w stage.World) bool {
			run := w.Runs["compare-check"]
			return run != nil && len(run.Status.MetricResults) > 0 && run.Status.MetricResults[0].Count >= 2
		}},
		{"the end", func(w stage.World) bool { return phase(w, v1alpha1.AnalysisPhaseSuccessful) }},
	} {
		app.Await(point.what, point.reached)
		c.Kill(t)
		c.Start(t)
	}
	w := app.Await("it is wound down", func(w stage.World) bool { return phase(w, v1alpha1.AnalysisPhaseSuccessful) && wound(w) })
	assert.Len(t, w.Sets, 2)
	require.Len(t, w.Runs, 1)
	result := w.Runs["compare-check"].Status.MetricResults[0]
	assert.EqualValues(t, 6, result.Count)
	assert.EqualValues(t, 6, result.Successful)
	assert.Len(t, result.Measurements, 6)
}
