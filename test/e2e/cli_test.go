package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/cmd/kubectl-sluice/cli"
	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// typed is what a command line printed, and how it ended.
type typed struct {
	out, err string
	code     int
}

// command runs a command line in the App's namespace, as an administrator.
func command(t *testing.T, app *stage.App, args ...string) typed {
	t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"--kubeconfig", on.Cluster.KubeconfigPath(), "--namespace", app.Namespace}, args...)
	code := cli.Run(t.Context(), args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	return typed{out.String(), errs.String(), code}
}

// sluice is a command line that has to work.
func sluice(t *testing.T, app *stage.App, args ...string) string {
	t.Helper()
	c := command(t, app, args...)
	require.Zero(t, c.code, "%v: %s%s", args, c.out, c.err)
	return c.out
}

// An update from `set image` to the end: a pause that is promoted, an analysis
// that is skipped, and `status` says how it ends.
func TestCommandsOfAnUpdate(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.PatchJSON("AnalysisTemplate", stage.TemplateName, `[{"op": "replace", "path": "/spec/metrics/0/count", "value": 10000}]`)
	app.Deploy(stage.SetWeight(20), stage.Pause, stage.Analysis, stage.SetWeight(40), stage.Pause)
	assert.Equal(t, "Healthy\n", sluice(t, app, "status", "app"))
	assert.Contains(t, sluice(t, app, "promote", "app"), "has nothing to promote")

	sluice(t, app, "set", "image", "app", "app=example.com/app:v2")
	paused := sluice(t, app, "status", "app", "--success-on-pause", "--timeout", "60s")
	assert.Contains(t, paused, "Paused - CanaryPauseStep\n")
	tree := sluice(t, app, "get", "rollout", "app")
	for _, text := range []string{"॥ Paused", "CanaryPauseStep", "1/5", "SetWeight:     20", "ActualWeight:  20", "example.com/app:v1 (stable)", "example.com/app:v2 (canary)", "# revision:2", "# revision:1", "□ app-"} {
		assert.Contains(t, tree, text)
	}
	late := command(t, app, "status", "app", "--timeout", "10ms")
	assert.Equal(t, cli.ExitTimeout, late.code, late)
	assert.Contains(t, late.err, "why app")

	sluice(t, app, "promote", "app")
	app.Await("the analysis is running", func(w stage.World) bool {
		for _, run := range w.Runs {
			return w.Step() == 2 && run.Status.Phase == v1alpha1.AnalysisPhaseRunning
		}
		return false
	})
	sluice(t, app, "promote", "rollout.argoproj.io/app")
	app.Await("the analysis is skipped", func(w stage.World) bool { return w.Paused(4, 40) })
	sluice(t, app, "promote", "--full", "app")
	assert.Contains(t, sluice(t, app, "status", "app"), "Healthy\n")
	assert.Contains(t, sluice(t, app, "promote", "--full", "app"), "is fully promoted already")
}

// Abort, retry, undo, pause and restart write the fields that Argo Rollouts'
// CLI writes.
func TestCommandsThatTurnBack(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(20), stage.Pause)
	sluice(t, app, "set", "image", "app", "*=example.com/app:v2")
	app.Await("paused at 20", func(w stage.World) bool { return w.Paused(1, 20) })

	sluice(t, app, "abort", "app")
	degraded := command(t, app, "status", "app")
	assert.Equal(t, cli.ExitFailed, degraded.code)
	assert.Contains(t, degraded.out, "Degraded - RolloutAborted")
	assert.Contains(t, command(t, app, "promote", "app").err, "retry rollout app")
	app.Await("v2 is given up", func(w stage.World) bool { return w.Aborted("v2", "v1") })

	sluice(t, app, "retry", "rollout", "app")
	app.Await("paused at 20 again", func(w stage.World) bool { return w.Paused(1, 20) && !w.Status().Abort })
	sluice(t, app, "promote", "-c", "app")
	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") })

	assert.Contains(t, sluice(t, app, "undo", "app"), "undone to revision 1")
	app.Await("v1 comes back step by step", func(w stage.World) bool { return w.Paused(1, 20) })
	sluice(t, app, "promote", "app", "--full")
	app.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
	gone := command(t, app, "undo", "app", "--to-revision", "17")
	assert.Contains(t, gone.err, "there is no revision 17 any more; revisions: 3, 2")

	sluice(t, app, "pause", "app")
	app.Await("paused by hand", func(w stage.World) bool { return w.Status().Message == "manually paused" })
	sluice(t, app, "promote", "app")
	app.Await("going on", func(w stage.World) bool { return w.Healthy("v1") && !w.Rollout.Spec.Paused })
	before := map[types.UID]bool{}
	for _, pod := range app.Pods("v1") {
		before[pod.GetUID()] = true // some may be of this very second
	}
	sluice(t, app, "restart", "app")
	app.Eventually("every pod is new", func() bool {
		for _, pod := range app.Pods("v1") {
			if before[pod.GetUID()] {
				return false
			}
		}
		return app.Now().Rollout.Status.RestartedAt != nil
	})
}

// Runs and experiments are created from templates, and ended.
func TestCommandsForRuns(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.PatchJSON("AnalysisTemplate", stage.TemplateName, `[{"op": "replace", "path": "/spec/metrics/0/count", "value": 10000}]`)
	sluice(t, app, "create", "analysisrun", "--from", stage.TemplateName, "--name", "once", "--instance-id", app.Controller.Instance)
	app.Await("it is running", func(w stage.World) bool {
		return w.Runs["once"] != nil && w.Runs["once"].Status.Phase == v1alpha1.AnalysisPhaseRunning
	})
	sluice(t, app, "terminate", "analysisrun", "once")
	app.Await("it is over", func(w stage.World) bool { return w.Runs["once"].Status.Phase == v1alpha1.AnalysisPhaseSuccessful })
	assert.Contains(t, command(t, app, "terminate", "analysisrun", "onec").err, "did you mean once?")

	file := filepath.Join(t.TempDir(), "experiment.yaml")
	label := ""
	if id := app.Controller.Instance; id != "" {
		label = "\n  labels: {argo-rollouts.argoproj.io/controller-instance-id: " + id + "}"
	}
	require.NoError(t, os.WriteFile(file, []byte(`
apiVersion: argoproj.io/v1alpha1
kind: Experiment
metadata:
  name: compare`+label+`
spec:
  templates:
    - name: a
      selector: {matchLabels: {app: a}}
      template:
        metadata: {labels: {app: a}}
        spec: {containers: [{name: app, image: "example.com/app:v1"}]}
`), 0o600))
	sluice(t, app, "create", "-f", file)
	app.Await("it is running", func(w stage.World) bool {
		return w.Experiments["compare"] != nil && w.Experiments["compare"].Status.Phase == v1alpha1.AnalysisPhaseRunning
	})
	assert.Contains(t, sluice(t, app, "get", "experiment", "compare"), "Σ compare")
	sluice(t, app, "terminate", "experiment", "compare")
	over := func(w stage.World) bool { return w.Experiments["compare"].Status.Phase.Completed() }
	app.Await("it is over", over)
	sluice(t, app, "retry", "experiment", "compare")
	app.Await("it is over again", over)
	assert.Contains(t, sluice(t, app, "list", "experiments"), "compare")
}

// What is read by programs is the object as it is stored; wrong input is told
// with what helps.
func TestCommandsForPrograms(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(20))
	var ro v1alpha1.Rollout
	require.NoError(t, json.Unmarshal([]byte(sluice(t, app, "get", "ro", "app", "-o", "json")), &ro))
	assert.Equal(t, "app", ro.Name)
	assert.Contains(t, sluice(t, app, "get", "ro", "app", "-o", "yaml"), "kind: Rollout\n")
	assert.Equal(t, "rollout.argoproj.io/app\n", sluice(t, app, "list", "ro", "-o", "name"))
	assert.Contains(t, sluice(t, app, "get", "ro", "app", "-o", "wide"), "node:")
	assert.Regexp(t, `app +Canary +✔ Healthy +1/1 +100 +4/4 +4 +4 +4\n`, sluice(t, app, "list", "rollouts"))
	assert.Contains(t, sluice(t, app, "list", "rollouts", "-A"), app.Namespace)
	assert.Contains(t, sluice(t, app, "__complete", "promote", "a"), "app\n")

	for args, want := range map[string]struct {
		code int
		text string
	}{
		"abort ap":                   {1, `there is no Rollout "ap" in namespace "` + app.Namespace + `"; did you mean app?`},
		"abort":                      {2, "--help"},
		"abrot app":                  {2, "unknown command"},
		"get ro app -o xml":          {2, "use json, yaml, name or wide"},
		"set image app app":          {2, `"app" is not CONTAINER=IMAGE`},
		"set image app web=x":        {1, `it has no container "web"; it has app`},
		"status app --context other": {1, "give --kubeconfig and --context"},
		"create -f nowhere.yaml":     {1, "nowhere.yaml"},
	} {
		c := command(t, app, strings.Fields(args)...)
		assert.Equal(t, want.code, c.code, "%s: %s", args, c.err)
		assert.Contains(t, c.err, want.text, args)
	}
	nobody, err := on.Cluster.KubeconfigFor("nobody")
	require.NoError(t, err)
	c := command(t, app, "--kubeconfig", nobody, "abort", "app")
	assert.Equal(t, cli.ExitFailed, c.code)
	assert.Contains(t, c.err, "ask for a RoleBinding to 'edit'")
}
