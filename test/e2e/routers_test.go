package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// routed is an App behind one of the small routers.
type routed struct {
	// block is the router's, as a YAML flow value of trafficRouting.plugins: the
	// same as Argo's, and without the time a data plane takes, as there is none.
	plugin, block string
	// object is what users write; empty for a router that makes its own.
	object string
	kind   string
	// weights are those of canary and stable in the object's spec and
	// annotations, rendered as the object has them.
	weights func(canary int) []string
	// header is the sign of the header route in the objects, by kind and name;
	// empty: the router has none.
	header, headerKind, headerName string
}

var routers = map[string]routed{
	"alb": {
		plugin: "alb", block: `{ingress: web, servicePort: 80, rootService: root, drainSeconds: 0}`, kind: "Ingress",
		object: `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  annotations: {alb.ingress.kubernetes.io/scheme: internal, alb.ingress.kubernetes.io/actions.old: '{"Type": "redirect"}'}
spec:
  ingressClassName: alb
  rules:
    - http:
        paths:
          - {path: /old, pathType: Exact, backend: {service: {name: old, port: {name: use-annotation}}}}
          - {path: /, pathType: Prefix, backend: {service: {name: root, port: {name: use-annotation}}}}
`,
		weights: func(canary int) []string {
			return []string{fmt.Sprintf(`"serviceName":"app-canary","servicePort":"80","weight":%d`, canary),
				fmt.Sprintf(`"serviceName":"app-stable","servicePort":"80","weight":%d`, 100-canary)}
		},
		header: `"httpHeaderName":"x-test"`, headerKind: "Ingress", headerName: "web",
	},
	"apisix": {
		plugin: "apisix", block: `{route: {name: web, rules: [main]}, drainSeconds: 0}`, kind: "ApisixRoute",
		object: `
apiVersion: apisix.apache.org/v2
kind: ApisixRoute
metadata: {name: web}
spec:
  http:
    - {name: docs, match: {paths: [/docs]}, backends: [{serviceName: docs, servicePort: 80}]}
    - name: main
      match: {hosts: [app.example.com], paths: [/*]}
      plugins: [{name: cors, enable: true}]
      backends: [{serviceName: app-stable, servicePort: 80}, {serviceName: app-canary, servicePort: 80}]
`,
		weights: func(canary int) []string {
			return []string{fmt.Sprintf("map[serviceName:app-stable servicePort:80 weight:%d] map[serviceName:app-canary servicePort:80 weight:%d]", 100-canary, canary)}
		},
		header: "name:x-test scope:Header", headerKind: "ApisixRoute", headerName: "testers",
	},
	"smi": {
		plugin: "smi", block: `{rootService: app-root, trafficSplitName: web, drainSeconds: 0}`, kind: "TrafficSplit",
		weights: func(canary int) []string {
			return []string{"service:app-root", fmt.Sprintf("service:app-canary weight:%d", canary), fmt.Sprintf("service:app-stable weight:%d", 100-canary)}
		},
	},
	"traefik": {
		plugin: "traefik", block: `{weightedTraefikServiceName: web, drainSeconds: 0}`, kind: "TraefikService",
		object: `
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: web}
spec:
  weighted:
    services: [{name: app-stable, port: 80, scheme: h2c, weight: 100}, {name: legacy, port: 80, weight: 3}, {name: app-canary, port: 80, weight: 0}]
    sticky: {cookie: {name: who}}
`,
		weights: func(canary int) []string {
			return []string{fmt.Sprintf("map[name:app-stable port:80 scheme:h2c weight:%d] map[name:legacy port:80 weight:3] map[name:app-canary port:80 weight:%d]",
				100-canary, canary)}
		},
	},
}

// Each of the small routers through the whole life of a Rollout: weights, the
// header route, an abort, a promotion; and when the Rollout moves to another
// router in the middle of an update, nothing of it is left.
func TestSmallRouters(t *testing.T) {
	t.Parallel()
	require.NoError(t, on.BuildPlugins(t.Context(), "alb", "apisix", "smi", "traefik"))
	require.NoError(t, on.Cluster.ApplyFiles(t.Context(), "testdata/routers.yaml"))
	c := on.NewController(t, stage.ControllerOptions{Instance: "routers", Plugins: []string{"gatewayapi", "alb", "apisix", "smi", "traefik"}})
	c.Start(t)
	t.Run("", func(t *testing.T) { // returns when all of them have ended, before the controller is stopped
		for name, r := range routers {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				storyOf(t, c, r)
			})
		}
		t.Run("shortened", func(t *testing.T) {
			t.Parallel()
			shortened(t, c)
		})
		t.Run("ambassador", func(t *testing.T) {
			t.Parallel()
			app := on.NewApp(t, c)
			app.Apply(strings.Replace(stage.RolloutYAML(), "{plugins: {argoproj-labs/gatewayAPI: {httpRoute: app}}}", "{ambassador: {mappings: [web]}}", 1))
			w := app.Await("it is blocked", func(w stage.World) bool { return w.Blocked("PluginUnavailable") })
			assert.Contains(t, w.Message(v1alpha1.ConditionBlocked), "Gateway API")
		})
	})
}

func storyOf(t *testing.T, c *stage.Controller, r routed) {
	app := on.NewApp(t, c)
	app.Apply(`{apiVersion: v1, kind: Service, metadata: {name: app-root}, spec: {selector: {app: app}, ports: [{port: 80}]}}`)
	var before any
	if r.object != "" {
		app.Apply(r.object)
		before = app.Read(r.kind, "web")["spec"]
	}
	routing := fmt.Sprintf("{plugins: {%s: %s}}", r.plugin, r.block)
	first := "{setWeight: 0}"
	if r.header != "" {
		routing = fmt.Sprintf("{managedRoutes: [{name: testers}], plugins: {%s: %s}}", r.plugin, r.block)
		first = `{setHeaderRoute: {name: testers, match: [{headerName: x-test, headerValue: {exact: "yes"}}]}, setCanaryScale: {replicas: 1}}`
	}
	app.Apply(strings.Replace(stage.RolloutYAML(first, stage.Pause, stage.SetWeight(20), stage.Pause, stage.SetWeight(60), stage.Pause),
		"{plugins: {argoproj-labs/gatewayAPI: {httpRoute: app}}}", routing, 1))
	app.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
	says := func(canary int) {
		t.Helper()
		o := app.Read(r.kind, "web")
		text := fmt.Sprint(o["spec"], o["metadata"])
		for _, part := range r.weights(canary) {
			assert.Contains(t, text, part)
		}
	}
	at := func(step, weight int) func(stage.World) bool {
		return func(w stage.World) bool {
			weights := w.Status().Canary.Weights
			return w.Observed() && w.Step() == step && weights != nil && int(weights.Canary.Weight) == weight && len(w.Status().PauseConditions) > 0
		}
	}
	resume := func() { app.PatchStatus(`{"status": {"pauseConditions": null}}`) }

	app.Update("v2")
	app.Await("the first pause of v2", at(1, 0))
	if r.header != "" {
		assert.Contains(t, fmt.Sprint(app.Read(r.headerKind, r.headerName)), r.header)
	}
	resume()
	app.Await("v2 at 20", at(3, 20))
	says(20)
	app.PatchStatus(`{"status": {"abort": true}}`)
	app.Await("v2 is aborted", func(w stage.World) bool { return w.Aborted("v2", "v1") && w.Status().Canary.Weights.Canary.Weight == 0 })
	says(0)
	if r.header != "" {
		assert.NotContains(t, fmt.Sprint(app.Read(r.kind, "web")), r.header, "testers are back as well")
	}

	app.Update("v3")
	app.Await("the first pause of v3", at(1, 0))
	resume()
	app.Await("v3 at 20", at(3, 20))
	resume()
	app.Await("v3 at 60", at(5, 60))
	says(60)
	resume()
	app.Await("v3 is promoted, and the weight is back", func(w stage.World) bool {
		weights := w.Status().Canary.Weights
		return w.Healthy("v3") && weights != nil && weights.Canary.Weight == 0
	})
	says(0)

	app.Update("v4")
	app.Await("the first pause of v4", at(1, 0))
	resume()
	app.Await("v4 at 20", at(3, 20))
	app.PatchRollout(fmt.Sprintf(`{"spec": {"strategy": {"canary": {"trafficRouting": {"plugins": {%q: null, "argoproj-labs/gatewayAPI": {"httpRoute": "app"}}}}}}}`, r.plugin))
	app.Await("another router has taken over, and this one has left", func(w stage.World) bool {
		routers, weights := w.Status().Canary.Routers, w.Status().Canary.Weights
		return weights != nil && weights.Canary.Weight == 20 && len(routers) == 1 && routers[0].Plugin == "argoproj-labs/gatewayAPI"
	})
	left(t, app, r, before)
}

// left checks that nothing of the router is there any more.
func left(t *testing.T, app *stage.App, r routed, before any) {
	t.Helper()
	if r.object == "" {
		assert.True(t, app.Gone(r.kind, "web"), "its object goes with it")
		return
	}
	o := app.Read(r.kind, "web")
	text := fmt.Sprint(o["spec"], o["metadata"])
	for _, part := range r.weights(0) {
		assert.Contains(t, text, part)
	}
	assert.NotContains(t, fmt.Sprint(o["metadata"].(map[string]any)["annotations"]), "sluice.dev/owned")
	if r.headerKind == "ApisixRoute" {
		assert.True(t, app.Gone(r.headerKind, r.headerName))
		return // its backends had no weights before
	}
	assert.Equal(t, before, o["spec"], "as its author wrote it")
}
