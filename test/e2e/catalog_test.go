package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// A Rollout names a plugin that is not installed: it is Blocked and touches
// nothing. The administrator lists the plugin in the ConfigMap, beside an entry
// that is wrong: the Rollout goes on without a restart. Later the plugin is
// taken away again: what serves serves on, and follows its replicas.
func TestPluginComesAndGoes(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "catalog", Plugins: []string{"prometheus"}})
	c.Start(t)
	app := on.NewApp(t, c)
	app.Apply(stage.RolloutYAML(stage.SetWeight(50), stage.Analysis))
	w := app.Await("it is blocked", func(w stage.World) bool { return w.Blocked("PluginUnavailable") })
	assert.Contains(t, w.Message(v1alpha1.ConditionBlocked), `plugin "argoproj-labs/gatewayAPI" is not installed`)
	assert.Equal(t, v1alpha1.RolloutPhaseProgressing, w.Status().Phase)
	assert.Equal(t, "more replicas need to be updated", w.Status().Message)
	requireUntouched(t, w)

	c.ListPlugins(t, listed(t, t.TempDir())+"- {name: example.com/typo, location: 'file:///nowhere', sha256sum: abc}\n")
	w = app.Await("it is deployed", func(w stage.World) bool { return w.Healthy("v1") })
	assert.Nil(t, w.Condition(v1alpha1.ConditionBlocked))
	c.AwaitEvent(t, "trafficRouterPlugins[1] (example.com/typo) is refused")
	app.Update("v2")
	w = app.Await("v2 is rolled out", func(w stage.World) bool { return w.Healthy("v2") && w.Wanted("v1") == 0 })
	app.RequireWeights(0, 50, 100, 0)
	route := w.Route.Generation

	c.ListPlugins(t, "")
	app.Update("v3")
	w = app.Await("v3 is blocked", func(w stage.World) bool { return w.Blocked("PluginUnavailable") })
	app.PatchRollout(`{"spec": {"replicas": 6}}`)
	w = app.Await("v2 follows the replicas", func(w stage.World) bool { return w.Wanted("v2") == 6 && w.Blocked("PluginUnavailable") })
	assert.Nil(t, w.Set("v3"))
	assert.Equal(t, route, w.Route.Generation)
	assert.Equal(t, w.Hash("v2"), w.Selects(stage.CanaryService))

	c.ListPlugins(t, listed(t, t.TempDir()))
	app.Await("v3 is rolled out", func(w stage.World) bool { return w.Healthy("v3") })
}

// Without any ConfigMap entry for it, a third-party binary gets nothing: the
// refusal names what to grant.
func TestPluginWithoutGrants(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "grants", Plugins: []string{"prometheus"}})
	c.Start(t)
	entry, _, _ := strings.Cut(listed(t, t.TempDir()), "  grants:")
	c.ListPlugins(t, entry)
	app := on.NewApp(t, c)
	app.Apply(stage.RolloutYAML(stage.SetWeight(50)))
	w := app.Await("it is blocked", func(w stage.World) bool { return w.Condition(v1alpha1.ConditionBlocked) != nil })
	assert.Contains(t, w.Message(v1alpha1.ConditionBlocked), "HTTPRoute")
	requireUntouched(t, w)
	c.AwaitEvent(t, "grants:")

	c.ListPlugins(t, listed(t, t.TempDir()))
	app.Await("it is deployed", func(w stage.World) bool { return w.Healthy("v1") })
}

// An analysis needs a provider that is not installed: nothing starts that could
// not be judged.
func TestMetricProviderIsMissing(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "provider", Plugins: []string{"gatewayapi"}})
	c.Start(t)
	app := on.NewApp(t, c)
	app.Apply(stage.RolloutYAML(stage.SetWeight(50), stage.Analysis))
	w := app.Await("it is blocked", func(w stage.World) bool { return w.Blocked("PluginUnavailable") })
	assert.Contains(t, w.Message(v1alpha1.ConditionBlocked), `"prometheus" is not installed`)
	requireUntouched(t, w)

	app.PatchRollout(`{"spec": {"strategy": {"canary": {"steps": [{"setWeight": 50}]}}}}`)
	app.Await("it is deployed", func(w stage.World) bool { return w.Healthy("v1") })
}

func requireUntouched(t *testing.T, w stage.World) {
	t.Helper()
	require.Empty(t, w.Sets)
	require.EqualValues(t, 1, w.Route.Generation)
	for name := range w.Services {
		require.Empty(t, w.Selects(name), name)
		require.NotContains(t, w.Services[name].Annotations, v1alpha1.AnnotationManagedBy)
	}
}

// listed is the entry of a copy of the Gateway API plugin, as an administrator
// would install it.
func listed(t *testing.T, dir string) string {
	t.Helper()
	from, err := os.Open(on.PluginBinary("gatewayapi"))
	require.NoError(t, err)
	defer func() { _ = from.Close() }()
	path := filepath.Join(dir, "gatewayapi-copy")
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	digest := sha256.New()
	_, err = io.Copy(io.MultiWriter(to, digest), from)
	require.NoError(t, err)
	require.NoError(t, to.Close())
	return fmt.Sprintf(`
- name: argoproj-labs/gatewayAPI
  location: file://%s
  sha256: %x
  grants:
    - {group: gateway.networking.k8s.io, kind: HTTPRoute, verbs: [read, update]}
`, path, digest.Sum(nil))
}
