package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// A router built for Argo Rollouts' net/rpc protocol, listed as Argo lists it:
// an update runs through its weights, and the routed share is taken back at the
// end.
func TestArgoRolloutsOwnRouterPlugin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	binary, calls := filepath.Join(dir, "argo"), filepath.Join(dir, "calls")
	out, err := exec.Command("go", "build", "-o", binary, "../../core/internal/plugins/argoplugin").CombinedOutput()
	require.NoError(t, err, "%s", out)

	c := on.NewController(t, stage.ControllerOptions{Instance: "argorpc", Plugins: []string{"prometheus"}})
	c.Start(t)
	c.ListPlugins(t, fmt.Sprintf("- name: test/argo\n  location: file://%s\n  args: ['%s']\n", binary, calls))
	app := on.NewApp(t, c)
	app.Apply(strings.Replace(stage.RolloutYAML(stage.SetWeight(25), stage.SetWeight(50)), "argoproj-labs/gatewayAPI: {httpRoute: app}", "test/argo: {route: app}", 1))
	app.Await("it is deployed", func(w stage.World) bool { return w.Healthy("v1") })
	c.AwaitEvent(t, "runs without a digest")

	app.Update("v2")
	w := app.Await("v2 is rolled out", func(w stage.World) bool { return w.Healthy("v2") && w.Wanted("v1") == 0 })
	raw, err := os.ReadFile(calls)
	require.NoError(t, err)
	var weights []string
	for line := range strings.Lines(string(raw)) {
		if weight, ok := strings.CutPrefix(strings.TrimSpace(line), "SetWeight "); ok {
			weight, _, _ = strings.Cut(weight, " ")
			if len(weights) == 0 || weights[len(weights)-1] != weight {
				weights = append(weights, weight)
			}
		}
	}
	assert.Contains(t, strings.Join(weights, " "), "25 50 100 0", "%s", raw)
	assert.Equal(t, w.Hash("v2"), w.Selects(stage.StableService))
}

// A step built for Argo Rollouts' net/rpc protocol: it is asked again after the time it names, with the state it has left,
// also by the controller that comes after one that was killed; and an update that is given up takes it back.
func TestArgoRolloutsOwnStepPlugin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	binary, calls := filepath.Join(dir, "argo"), filepath.Join(dir, "calls")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../core/internal/plugins/argoplugin").CombinedOutput()
	require.NoError(t, err, "%s", out)
	c := on.NewController(t, stage.ControllerOptions{Instance: "argostep", Plugins: []string{"gatewayapi"}})
	c.Start(t)
	c.ListEverything(t, map[string]any{"stepPlugins": fmt.Sprintf("- name: test/argo\n  location: file://%s\n  args: ['%s', undoes]\n", binary, calls)})
	app := on.NewApp(t, c)
	app.Deploy(stage.SetWeight(20), "{plugin: {name: test/argo, config: {table: users}}}", stage.SetWeight(50), stage.Pause)

	app.Update("v2")
	w := app.Await("the step runs", atPhase(1, opRun, v1alpha1.StepPluginPhaseRunning))
	assert.Equal(t, v1alpha1.DurationString("17s"), operation(w, 1, opRun).Backoff)
	crash(t, c)
	w = app.Await("the rollout goes on", func(w stage.World) bool { return w.Paused(3, 50) })
	e := operation(w, 1, opRun)
	assert.Equal(t, v1alpha1.StepPluginPhaseSuccessful, e.Phase)
	assert.EqualValues(t, 2, e.Executions)
	app.PatchStatus(`{"status": {"abort": true}}`)
	app.Await("the update is given up", func(w stage.World) bool { return w.Aborted("v2", "v1") })
	app.Await("the step is taken back", atPhase(1, opAbort, v1alpha1.StepPluginPhaseSuccessful))

	raw, err := os.ReadFile(calls)
	require.NoError(t, err)
	var asked []string
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); line != "InitPlugin" {
			asked = append(asked, line)
		}
	}
	assert.Equal(t, []string{
		`Run app test/argo config={"table":"users"} status=`,
		`Run app test/argo config={"table":"users"} status={"n":1}`,
		`Abort {"n":1}`,
	}, asked)
}
