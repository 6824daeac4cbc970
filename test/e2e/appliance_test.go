package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// appliance is a load balancer outside the cluster; see the command appliance.
type appliance struct {
	t      *testing.T
	folder string
}

// asked are the requests so far, as "stable/canary operation".
func (a appliance) asked() []string {
	raw, err := os.ReadFile(filepath.Join(a.folder, "asked"))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(raw)), "\n")
}

// serves reports that this was asked for last.
func (a appliance) serves(weights string) bool {
	asked := a.asked()
	return len(asked) > 0 && strings.HasPrefix(asked[len(asked)-1], weights+" ")
}

func (a appliance) busy(is bool) {
	file := filepath.Join(a.folder, "busy")
	if is {
		require.NoError(a.t, os.WriteFile(file, nil, 0o600))
		return
	}
	require.NoError(a.t, os.Remove(file))
}

func applianceController(t *testing.T) (*stage.Controller, appliance) {
	t.Helper()
	a := appliance{t: t, folder: t.TempDir()}
	binary := filepath.Join(a.folder, "appliance")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./appliance").CombinedOutput()
	require.NoError(t, err, "%s", out)
	raw, err := os.ReadFile(binary)
	require.NoError(t, err)
	c := on.NewController(t, stage.ControllerOptions{Instance: "appliance", Plugins: []string{"gatewayapi"}})
	c.Start(t)
	c.ListPlugins(t, fmt.Sprintf("- name: test/appliance\n  location: file://%s\n  sha256: %x\n  args: ['%s']\n", binary, sha256.Sum256(raw), a.folder))
	return c, a
}

// A router that cannot be asked what it routes: the controller goes by what it has asked for and what was acknowledged,
// also after it was killed; pods wait for the acknowledgement; an abort and a release arrive; and at rest nothing is asked.
func TestARouterThatCannotBeObserved(t *testing.T) {
	t.Parallel()
	c, lb := applianceController(t)
	app := on.NewApp(t, c)
	app.Apply(strings.Replace(stage.RolloutYAML(stage.SetWeight(20), stage.Pause, stage.SetWeight(50), stage.Pause),
		"argoproj-labs/gatewayAPI: {httpRoute: app}", "test/appliance: {pool: app}", 1))
	app.Await("it is deployed", func(w stage.World) bool { return w.Healthy("v1") })
	goOn := `{"status": {"pauseConditions": null}}`
	at := func(step int, weights string) func(stage.World) bool {
		return func(w stage.World) bool { return w.Paused(step, 0) && lb.serves(weights) }
	}

	app.Update("v2")
	app.Await("paused at 20", at(1, "80/20"))
	crash(t, c)
	app.PatchStatus(goOn)
	app.Await("the next controller goes on from there", at(3, "50/50"))

	lb.busy(true)
	app.PatchStatus(goOn)
	app.Await("everything is asked for", func(stage.World) bool { return lb.serves("0/100") })
	first := lb.asked()
	w := app.Await("it is asked for again", func(stage.World) bool { return len(lb.asked()) > len(first) })
	assert.Equal(t, first[len(first)-1], lb.asked()[len(first)], "as the same operation")
	assert.NotEqual(t, w.Hash("v2"), w.Status().StableRS, "nothing is promoted that is not acknowledged")
	assert.Positive(t, w.Wanted("v1"), "the pods that may still be served from stay")
	lb.busy(false)
	w = app.Await("it is promoted", func(w stage.World) bool { return w.Healthy("v2") && w.Wanted("v1") == 0 && lb.serves("100/0") })
	assert.Equal(t, w.Hash("v2"), w.Selects(stage.StableService))

	app.Update("v3")
	app.Await("paused at 20 again", at(1, "80/20"))
	app.PatchStatus(`{"status": {"abort": true}}`)
	app.Await("it is given up", func(w stage.World) bool { return w.Aborted("v3", "v2") && lb.serves("100/0") })

	before, asked := still(t, c), lb.asked()
	for i := range 10 {
		app.PatchRollout(fmt.Sprintf(`{"metadata": {"annotations": {"example.com/touched": "%d"}}}`, i))
	}
	// Nothing tells that nothing will happen; so this one is a window of time.
	<-time.After(5 * time.Second)
	moved := c.Counters(t).Since(before)
	assert.Positive(t, moved.Passes["rollout"])
	assert.Empty(t, moved.Calls, "plugin calls at rest")
	assert.Equal(t, asked, lb.asked())

	app.PatchRollout(`{"spec": {"strategy": {"canary": {"trafficRouting": null, "stableService": null, "canaryService": null}}}}`)
	app.Await("the router is released", func(w stage.World) bool { return lb.serves("released 100/0") && len(w.Status().Canary.Routers) == 0 })
	assert.False(t, slices.ContainsFunc(lb.asked(), func(line string) bool { return strings.HasSuffix(line, " ") }), "each request is an operation")
	assert.Empty(t, app.Now().Reason(v1alpha1.ConditionBlocked))
	assert.Empty(t, c.Counters(t).Violations)
}
