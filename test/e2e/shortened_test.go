package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// The rules of one ApisixRoute are cut down to one while it carries weight: the
// other goes back to stable, once, and the one that stays is not touched.
func shortened(t *testing.T, c *stage.Controller) {
	app := on.NewApp(t, c)
	app.Apply(`
apiVersion: apisix.apache.org/v2
kind: ApisixRoute
metadata: {name: web}
spec:
  http:
    - name: main
      match: {paths: [/*]}
      backends: [{serviceName: app-stable, servicePort: 80, weight: 100}, {serviceName: app-canary, servicePort: 80, weight: 0}]
    - name: api
      match: {paths: [/api/*]}
      backends: [{serviceName: app-stable, servicePort: 80, weight: 100}, {serviceName: app-canary, servicePort: 80, weight: 0}]
`)
	app.Apply(strings.Replace(stage.RolloutYAML(stage.SetWeight(20), stage.Pause, stage.SetWeight(60)),
		"{plugins: {argoproj-labs/gatewayAPI: {httpRoute: app}}}", "{plugins: {apisix: {route: {name: web, rules: [main, api]}, drainSeconds: 0}}}", 1))
	app.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
	canary := func() (weights []string, generation int64) {
		o := app.Read("ApisixRoute", "web")
		for _, rule := range o["spec"].(map[string]any)["http"].([]any) {
			weights = append(weights, fmt.Sprint(rule.(map[string]any)["backends"].([]any)[1].(map[string]any)["weight"]))
		}
		return weights, o["metadata"].(map[string]any)["generation"].(int64)
	}
	app.Update("v2")
	app.Await("v2 at 20", func(w stage.World) bool { return w.Step() == 1 && len(w.Status().PauseConditions) > 0 })
	weights, before := canary()
	assert.Equal(t, []string{"20", "20"}, weights)

	app.PatchRollout(`{"spec": {"strategy": {"canary": {"trafficRouting": {"plugins": {"apisix": {"route": {"name": "web", "rules": ["main"]}, "drainSeconds": 0}}}}}}}`)
	app.Await("the rule that is left out has been given back", func(w stage.World) bool {
		routers := w.Status().Canary.Routers
		return w.Observed() && len(routers) == 1 && len(routers[0].Holds) == 2
	})
	weights, after := canary()
	assert.Equal(t, []string{"20", "0"}, weights)
	assert.Equal(t, before+1, after, "written once")

	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("v2 is promoted", func(w stage.World) bool {
		weights := w.Status().Canary.Weights
		return w.Healthy("v2") && weights != nil && weights.Canary.Weight == 0
	})
	weights, _ = canary()
	assert.Equal(t, []string{"0", "0"}, weights)
}
