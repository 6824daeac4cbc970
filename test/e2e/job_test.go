package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// jobRun measures with a Job whose pod behaves as the annotation says; env adds
// to its container.
func jobRun(name, behaviour, env string) string {
	return fmt.Sprintf(`
apiVersion: argoproj.io/v1alpha1
kind: AnalysisRun
metadata: {name: %s}
spec:
  args:
    - {name: token, valueFrom: {secretKeyRef: {name: login, key: token}}}
  metrics:
    - name: smoke
      provider:
        job:
          metadata: {labels: {team: shop}}
          spec:
            backoffLimit: 0
            template:
              metadata: {annotations: {%s}}
              spec:
                restartPolicy: Never
                containers: [{name: smoke, image: "example.com/smoke:1"%s}]
`, name, behaviour, env)
}

// A Job measures: the controller makes it for the plugin, which has no
// credentials, and its end is the verdict. A Job that would hold a Secret's
// value is not made.
func TestJobsMeasure(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Apply("apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData: {token: hunter2-hunter2}\n")
	ended := func(run string, as v1alpha1.AnalysisPhase) func(stage.World) bool {
		return func(w stage.World) bool { return w.Runs[run] != nil && w.Runs[run].Status.Phase == as }
	}

	app.Apply(jobRun("good", "", ""))
	w := app.Await("the run is successful", ended("good", v1alpha1.AnalysisPhaseSuccessful))
	require.Len(t, w.Runs["good"].Status.MetricResults, 1)
	measurement := w.Runs["good"].Status.MetricResults[0].Measurements[0]
	assert.Equal(t, string(w.Runs["good"].UID)+".smoke.1", measurement.Metadata["job-name"])
	assert.Equal(t, app.Namespace, measurement.Metadata["job-namespace"])

	app.Apply(strings.Replace(jobRun("warned", "", ""), "{labels: {team: shop}}", "{name: mine}", 1))
	w = app.Await("what is only warned of stops nothing", ended("warned", v1alpha1.AnalysisPhaseSuccessful))
	const remark = "metadata.name: only labels and annotations are put on a Job"
	assert.Equal(t, remark, w.Runs["warned"].Status.MetricResults[0].Metadata["pluginWarning"])
	app.AwaitEventOf("AnalysisRun", "warned", v1alpha1.EventPluginWarning)

	app.Apply(jobRun("bad", `devcluster.sluice.dev/exit-code: "1"`, ""))
	app.Await("the run has failed", ended("bad", v1alpha1.AnalysisPhaseFailed))

	app.Apply(jobRun("stopped", `devcluster.sluice.dev/run-for: 10m`, ""))
	app.Await("its Job runs", func(stage.World) bool { return len(jobsOf(app, "stopped")) == 1 })
	app.Patch("AnalysisRun", "stopped", `{"spec": {"terminate": true}}`)
	app.Await("the run has ended and its Job is gone", func(w stage.World) bool {
		return w.Runs["stopped"].Status.Phase.Completed() && len(jobsOf(app, "stopped")) == 0
	})

	app.Apply(jobRun("leaking", "", `, env: [{name: TOKEN, value: "{{args.token}}"}]`))
	w = app.Await("the run that would store a Secret ends in an error", ended("leaking", v1alpha1.AnalysisPhaseError))
	assert.Contains(t, w.Runs["leaking"].Status.Message, "an object would store the value of a Secret")
	assert.Empty(t, jobsOf(app, "leaking"))
}

// jobsOf are the Jobs of a run that are not being deleted.
func jobsOf(app *stage.App, run string) []batchv1.Job {
	var list, own batchv1.JobList
	if err := on.Client.List(app.Context(), &list, client.InNamespace(app.Namespace)); err != nil {
		return nil
	}
	for _, j := range list.Items {
		if len(j.OwnerReferences) == 1 && j.OwnerReferences[0].Name == run && j.DeletionTimestamp == nil {
			own.Items = append(own.Items, j)
		}
	}
	return own.Items
}
