package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// taskKind is what test/e2e/taskstep works with, and what the controller may do on its behalf.
const taskKind = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tasks.steps.example.com}
spec:
  group: steps.example.com
  scope: Namespaced
  names: {kind: Task, plural: tasks}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: sluice-plugin-taskstep
  labels: {rbac.sluice.dev/aggregate-to-plugins: "true"}
rules:
  - {apiGroups: [steps.example.com], resources: [tasks], verbs: [get, list, watch, create, patch]}
`

const taskStep = "{plugin: {name: test/task, config: {task: migrate}}}"

// taskController serves Rollouts whose steps are Tasks, with the plugin as an administrator would list it.
func taskController(t *testing.T, instance string) *stage.Controller {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "taskstep")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./taskstep").CombinedOutput()
	require.NoError(t, err, "%s", out)
	raw, err := os.ReadFile(binary)
	require.NoError(t, err)
	require.NoError(t, on.Cluster.Apply(t.Context(), strings.Split(taskKind, "---\n")...))
	c := on.NewController(t, stage.ControllerOptions{Instance: instance, Plugins: []string{"gatewayapi"}})
	c.Start(t)
	c.ListEverything(t, map[string]any{"stepPlugins": fmt.Sprintf(`
- name: test/task
  location: file://%s
  sha256: %x
  grants: [{group: steps.example.com, kind: Task, verbs: [read, create, update]}]
`, binary, sha256.Sum256(raw))})
	return c
}

// tasks of the App in the order of their creation.
func tasks(a *stage.App) []unstructured.Unstructured {
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("steps.example.com/v1")
	list.SetKind("TaskList")
	if err := on.Client.List(a.Context(), list, client.InNamespace(a.Namespace)); err != nil {
		return nil
	}
	return list.Items
}

// wanted of the App's only Task; "" while there is none.
func wanted(a *stage.App) string {
	all := tasks(a)
	if len(all) != 1 {
		return ""
	}
	text, _, _ := unstructured.NestedString(all[0].Object, "spec", "wanted")
	return text
}

// report writes how the Tasks have gone that are wanted so.
func report(a *stage.App, wanted, phase, message string) {
	for _, task := range tasks(a) {
		if text, _, _ := unstructured.NestedString(task.Object, "spec", "wanted"); text == wanted {
			a.PatchSubresource("Task", task.GetName(), "status", fmt.Sprintf(`{"status": {"phase": %q, "message": %q}}`, phase, message))
		}
	}
}

// operation is what status says of one of a step's operations; zero when nothing.
func operation(w stage.World, index int32, operation v1alpha1.StepPluginOperation) v1alpha1.StepPluginStatus {
	for _, e := range w.Status().Canary.StepPluginStatuses {
		if e.Index == index && e.Operation == operation {
			return e
		}
	}
	return v1alpha1.StepPluginStatus{}
}

// atPhase: an operation of a step has been called and come to the phase.
func atPhase(index int32, op v1alpha1.StepPluginOperation, phase v1alpha1.StepPluginPhase) func(stage.World) bool {
	return func(w stage.World) bool {
		return operation(w, index, op).Phase == phase && operation(w, index, op).Executions > 0
	}
}

const (
	opRun       = v1alpha1.StepPluginOperationRun
	opAbort     = v1alpha1.StepPluginOperationAbort
	opTerminate = v1alpha1.StepPluginOperationTerminate
)

// A step that a plugin does takes as long as it takes: the rollout waits at its weight, and goes on when the plugin is done.
// When the plugin has failed, the update is given up.
func TestStepPluginRuns(t *testing.T) {
	t.Parallel()
	c := taskController(t, "steps")
	good, bad := on.NewApp(t, c), on.NewApp(t, c)
	for _, app := range []*stage.App{good, bad} {
		app.Apply(stage.RolloutYAML(stage.SetWeight(20), taskStep, stage.SetWeight(50), stage.Pause))
	}
	for _, app := range []*stage.App{good, bad} {
		app.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
		app.Update("v2")
	}
	for _, app := range []*stage.App{good, bad} {
		w := app.Await("the step runs", atPhase(1, opRun, v1alpha1.StepPluginPhaseRunning))
		assert.Equal(t, 1, w.Step())
		assert.Equal(t, 20, w.Weight())
		assert.Equal(t, v1alpha1.RolloutPhaseProgressing, w.Status().Phase)
		e := operation(w, 1, opRun)
		assert.Equal(t, "test/task", e.Name)
		assert.NotNil(t, e.StartedAt)
		assert.NotNil(t, e.UpdatedAt)
		assert.Nil(t, e.FinishedAt)
		assert.Equal(t, v1alpha1.DurationString("30s"), e.Backoff)
		assert.JSONEq(t, `{"knows": "the task"}`, string(e.Status))
	}

	report(good, "done", "done", "12 tables")
	w := good.Await("the rollout goes on", func(w stage.World) bool { return w.Paused(3, 50) })
	e := operation(w, 1, opRun)
	assert.Equal(t, v1alpha1.StepPluginPhaseSuccessful, e.Phase)
	assert.Equal(t, "12 tables", e.Message)
	assert.NotNil(t, e.FinishedAt)
	assert.Empty(t, e.Backoff)
	resume(good)
	good.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") })
	good.AwaitEvent(v1alpha1.EventStepPluginTransition, "Step Plugin 2 (test/task) Run is Successful: 12 tables")
	assert.Len(t, tasks(good), 1)
	good.RequireWeights(0, 20, 50, 100, 0)

	report(bad, "done", "failed", "a table is locked")
	w = bad.Await("the update is given up", func(w stage.World) bool { return w.Aborted("v2", "v1") })
	assert.Contains(t, w.Status().Message, "Step Plugin 2 (test/task) failed: a table is locked")
	assert.Equal(t, "done", wanted(bad), "what has failed is not undone")
	bad.AwaitEvent(v1alpha1.EventStepPluginTransition, "a table is locked")

	// Switched off, the step is none.
	c.ListEverything(t, map[string]any{"stepPlugins": "[{name: test/task, disabled: true}]"})
	good.Update("v3")
	w = good.Await("the step is passed over", func(w stage.World) bool { return w.Paused(3, 50) })
	assert.Equal(t, []v1alpha1.StepPluginStatus{{Index: 1, Name: "test/task", Operation: opRun, Disabled: true}}, w.Status().Canary.StepPluginStatuses)
	assert.Len(t, tasks(good), 1)
}

// An update that is given up takes its steps back, the one that is done and the one that runs, and asks until they are. The
// traffic does not wait for that. Trying again begins them anew.
func TestStepPluginIsAborted(t *testing.T) {
	t.Parallel()
	c := taskController(t, "undo")
	app := on.NewApp(t, c)
	app.Deploy(stage.SetWeight(20), taskStep, taskStep, stage.SetWeight(50))
	app.Update("v2")
	app.Await("the first step runs", atPhase(1, opRun, v1alpha1.StepPluginPhaseRunning))
	report(app, "done", "done", "")
	app.Await("the second step runs", atPhase(2, opRun, v1alpha1.StepPluginPhaseRunning))

	app.PatchStatus(`{"status": {"abort": true}}`)
	app.Await("the update is given up", func(w stage.World) bool { return w.Aborted("v2", "v1") })
	app.Await("both steps are being undone", func(w stage.World) bool {
		return atPhase(1, opAbort, v1alpha1.StepPluginPhaseRunning)(w) && atPhase(2, opAbort, v1alpha1.StepPluginPhaseRunning)(w)
	})
	crash(t, c)
	report(app, "undone", "undone", "")
	app.Await("both steps are undone", func(w stage.World) bool {
		return atPhase(1, opAbort, v1alpha1.StepPluginPhaseSuccessful)(w) && atPhase(2, opAbort, v1alpha1.StepPluginPhaseSuccessful)(w)
	})
	require.Len(t, tasks(app), 2)

	app.PatchStatus(`{"status": {"abort": false}}`)
	app.Await("the first step runs again", func(w stage.World) bool {
		return atPhase(1, opRun, v1alpha1.StepPluginPhaseRunning)(w) && operation(w, 1, opAbort).Operation == ""
	})
	assert.Len(t, tasks(app), 3, "another attempt is another operation")
}

// A step that nobody waits for any more is ended: by a full promotion, and by a person who goes past it.
func TestStepPluginIsPassed(t *testing.T) {
	t.Parallel()
	c := taskController(t, "passed")
	for name, story := range map[string]struct {
		how   string
		after func(stage.World) bool
	}{
		"promoted": {`{"status": {"promoteFull": true}}`, func(w stage.World) bool { return w.Healthy("v2") }},
		"skipped":  {`{"status": {"currentStepIndex": 2}}`, func(w stage.World) bool { return w.Paused(3, 50) }},
	} {
		app := on.NewApp(t, c)
		app.Deploy(stage.SetWeight(20), taskStep, stage.SetWeight(50), stage.Pause)
		app.Update("v2")
		app.Await(name+": the step runs", atPhase(1, opRun, v1alpha1.StepPluginPhaseRunning))
		app.PatchStatus(story.how)
		app.Await(name+": the rollout goes on", story.after)
		app.Eventually(name+": the task is to end", func() bool { return wanted(app) == "stopped" })
		report(app, "stopped", "stopped", "")
		app.Await(name+": the step has ended", atPhase(1, opTerminate, v1alpha1.StepPluginPhaseSuccessful))
	}
}

// The controller is killed while a step runs: what comes after it goes on with the same operation.
func TestControllerIsKilledDuringAStep(t *testing.T) {
	t.Parallel()
	c := taskController(t, "step-kill")
	app := on.NewApp(t, c)
	app.Deploy(stage.SetWeight(20), taskStep, stage.SetWeight(50), stage.Pause)
	app.Update("v2")
	app.Eventually("the task is begun", func() bool { return wanted(app) == "done" })
	crash(t, c) // whether or not it knew that the task was begun
	app.Await("the step runs", atPhase(1, opRun, v1alpha1.StepPluginPhaseRunning))
	crash(t, c)
	report(app, "done", "done", "")
	w := app.Await("the rollout goes on", func(w stage.World) bool { return w.Paused(3, 50) })
	assert.Equal(t, v1alpha1.StepPluginPhaseSuccessful, operation(w, 1, opRun).Phase)
	assert.Len(t, tasks(app), 1, "begun once")
	app.RequireWeights(0, 20, 50)
}

// A step whose configuration its plugin refuses stops the update before it begins, and says which field is wrong and what
// to do. What the plugin only warns of stops nothing, and is shown.
func TestStepPluginIsAskedBeforehand(t *testing.T) {
	t.Parallel()
	c := taskController(t, "step-config")
	app := on.NewApp(t, c)
	app.Deploy(stage.SetWeight(20), stage.Pause)
	template := `"template": {"spec": {"containers": [{"name": "app", "image": "example.com/app:v2", "ports": [{"containerPort": 8080}]}]}}`
	steps := func(config string) string {
		return `"strategy": {"canary": {"steps": [{"setWeight": 20}, {"plugin": {"name": "test/task", "config": ` + config + `}}, {"setWeight": 50}, {"pause": {}}]}}`
	}
	app.PatchRollout(`{"spec": {` + template + `, ` + steps(`{"task": "migrate", "workers": 12}`) + `}}`)
	const wrong = "spec.strategy.canary.steps[1].plugin.config: workers: 12 are too many; take 1 to 10"
	w := app.Await("it is refused", func(w stage.World) bool { return w.Invalid(wrong) })
	assert.Nil(t, w.Set("v2"), "nothing of it has begun")
	assert.Equal(t, 4, w.Wanted("v1"))
	app.AwaitEvent(v1alpha1.EventInvalidSpec, wrong)

	app.PatchRollout(`{"spec": {` + steps(`{"task": "migrate", "workers": null, "threads": 3}`) + `}}`)
	w = app.Await("corrected, it goes on", atPhase(1, opRun, v1alpha1.StepPluginPhaseRunning))
	const remark = "spec.strategy.canary.steps[1].plugin.config: threads is called workers now"
	assert.Nil(t, w.Condition(v1alpha1.ConditionInvalidSpec))
	assert.Equal(t, remark, w.Message(v1alpha1.ConditionPluginWarning))
	app.AwaitEvent(v1alpha1.EventPluginWarning, remark)
	assert.Contains(t, sluice(t, app, "why", stage.AppName), "warning: "+remark)
	crash(t, c)

	report(app, "done", "done", "")
	w = app.Await("the rollout goes on", func(w stage.World) bool { return w.Paused(3, 50) })
	assert.Equal(t, remark, w.Message(v1alpha1.ConditionPluginWarning))
	warnings := 0
	for _, reason := range app.Reasons() {
		if reason == v1alpha1.EventPluginWarning {
			warnings++
		}
	}
	assert.Equal(t, 1, warnings)
}
