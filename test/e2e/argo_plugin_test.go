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
