package e2e

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// afterFaults are metrics that exist once something has gone wrong.
var afterFaults = []string{"rollout_reconcile_error", "sluice_plugin_restarts_total"}

var metricName = regexp.MustCompile(`\b(?:rollout|sluice|analysis_run|experiment|controller|argo_rollouts|leader_election|workqueue|process)_[a-z0-9_]+`)

// Every metric that the dashboard and the alerts look at is one that a
// controller has which has made an update.
func TestTheDashboardShowsMetricsThatExist(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "metrics", Lease: true})
	c.Start(t)
	app := on.NewApp(t, c)
	app.Deploy(stage.SetWeight(10), stage.Analysis)
	app.Update("v2")
	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") })
	app.Apply(experimentYAML("duration: 1m"))
	app.PatchRollout(`{"spec": {"strategy": {"canary": {"trafficRouting": {"plugins": {"nobody/knows": {}}}}}}}`)
	app.Update("v3")
	app.Await("v3 is blocked", func(w stage.World) bool { return w.Blocked("PluginUnavailable") })
	has := map[string]bool{}
	for name, family := range c.Families(t) {
		has[name] = true
		if family.GetType() == dto.MetricType_HISTOGRAM {
			has[name+"_bucket"], has[name+"_count"], has[name+"_sum"] = true, true, true
		}
	}
	for _, file := range []string{"dashboard.json", "alerts.yaml"} {
		raw, err := os.ReadFile("../../deploy/monitoring/" + file)
		require.NoError(t, err)
		var shown []string
		for _, line := range strings.Split(string(raw), "\n") {
			if strings.Contains(line, "expr") || strings.Contains(line, "rate(") {
				shown = append(shown, metricName.FindAllString(line, -1)...)
			}
		}
		require.Greater(t, len(shown), 10, file)
		for _, name := range shown {
			assert.True(t, has[name] || slices.Contains(afterFaults, name), "%s: the controller has no metric %s", file, name)
		}
	}
}
