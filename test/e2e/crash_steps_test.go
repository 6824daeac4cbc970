package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/crashing"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// crashesOfSteps are the stories for TestCrashes about experiments as steps,
// routes, routers and workloads.
var crashesOfSteps = []crashing.Scenario{
	{Name: "experiment as a step",
		Deploy: deployed(compareStep, stage.SetWeight(50), stage.ShortPause),
		Play:   func(a *stage.App) { a.Update("v2") },
		Ended:  done("v2", "v1")},
	{Name: "header and mirror routes",
		Deploy: func(a *stage.App) {
			a.Apply(canaryEdited(stage.RolloutYAML(stage.SetWeight(20),
				"{setHeaderRoute: {name: beta, match: [{headerName: x-version, headerValue: {exact: beta}}]}}",
				"{setMirrorRoute: {name: shadow, percentage: 50, match: [{method: {exact: GET}}]}}",
				stage.ShortPause, "{setHeaderRoute: {name: beta}}", stage.SetWeight(50)), func(canary map[string]any) {
				canary["trafficRouting"].(map[string]any)["managedRoutes"] = []any{map[string]any{"name": "beta"}, map[string]any{"name": "shadow"}}
			}))
			a.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
		},
		Play:  func(a *stage.App) { a.Update("v2") },
		Ended: done("v2", "v1")},
	{Name: "ping-pong",
		Deploy: func(a *stage.App) {
			a.Apply(canaryEdited(stage.RolloutYAML(stage.SetWeight(50), stage.ShortPause), func(canary map[string]any) {
				delete(canary, "stableService")
				delete(canary, "canaryService")
				canary["pingPong"] = map[string]any{"pingService": stage.StableService, "pongService": stage.CanaryService}
			}))
			a.Await("ping serves v1", turned("v1", 0))
		},
		Play: func(a *stage.App) {
			a.Update("v2")
			a.Await("pong serves v2", turned("v2", 100))
			a.Update("v3")
		},
		Ended: func(w stage.World) bool { return turned("v3", 0)(w) && w.Wanted("v1") == 0 && w.Wanted("v2") == 0 }},
	{Name: "two routers",
		Deploy: func(a *stage.App) {
			a.Apply(ingressYAML, canaryEdited(stage.RolloutYAML(stage.SetWeight(50)), func(canary map[string]any) {
				canary["trafficRouting"].(map[string]any)["nginx"] = map[string]any{"stableIngress": "app"}
			}))
			a.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") && len(w.Status().Canary.Routers) == 2 })
		},
		Play:  func(a *stage.App) { a.Update("v2") },
		Ended: done("v2", "v1")},
	{Name: "rollback within the window",
		Deploy: func(a *stage.App) {
			a.Apply(stage.EditYAML(stage.RolloutYAML(stage.SetWeight(20), stage.Pause), func(spec map[string]any) {
				spec["rollbackWindow"] = map[string]any{"revisions": 2}
			}))
			a.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
			at20(a)
			a.PatchStatus(`{"status": {"promoteFull": true}}`)
			a.Await("v2 is healthy", done("v2", "v1"))
		},
		Play:  func(a *stage.App) { a.Update("v1") },
		Ended: done("v1", "v2")},
	{Name: "a Deployment taken over progressively",
		Play: func(a *stage.App) {
			a.Apply(deploymentYAML, referringYAML(v1alpha1.ScaleDownProgressively, stage.SetWeight(50), stage.ShortPause))
			a.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
			a.Eventually("the Deployment is at 0", func() bool { return a.Number("Deployment", "web", "spec", "replicas") == 0 })
			a.Patch("Deployment", "web", `{"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "example.com/app:v2"}]}}}}`)
		},
		Ended: done("v2", "v1")},
	{Name: "a step of a plugin",
		Deploy: deployed(stage.SetWeight(20), bundledTask, stage.SetWeight(50), stage.ShortPause),
		Play: func(a *stage.App) {
			a.Update("v2")
			a.Await("the step runs", atPhase(1, opRun, v1alpha1.StepPluginPhaseRunning))
			reported(a, "done", "done")
			a.Await("v2 is healthy", done("v2", "v1"))
			a.Require(len(tasks(a)) == 1, "begun %d times", len(tasks(a)))
		},
		Ended: done("v2", "v1")},
	{Name: "a step of a plugin taken back",
		Deploy: deployed(stage.SetWeight(20), bundledTask, stage.SetWeight(50)),
		Play: func(a *stage.App) {
			a.Update("v2")
			a.Await("the step runs", atPhase(1, opRun, v1alpha1.StepPluginPhaseRunning))
			a.PatchStatus(`{"status": {"abort": true}}`)
			a.Await("the step is being undone", atPhase(1, opAbort, v1alpha1.StepPluginPhaseRunning))
			reported(a, "undone", "undone")
		},
		Ended: func(w stage.World) bool {
			return w.Aborted("v2", "v1") && atPhase(1, opAbort, v1alpha1.StepPluginPhaseSuccessful)(w)
		}},
}

// bundledTask is taskStep where the plugin comes with the controller.
const bundledTask = "{plugin: {name: taskstep, config: {task: migrate}}}"

// reported waits until a Task is wanted so, and writes how it has gone.
func reported(a *stage.App, want, phase string) {
	a.Eventually("a task is to be "+want, func() bool { return wanted(a) == want })
	report(a, want, phase, "")
}

// canaryEdited changes the canary of a Rollout's manifest.
func canaryEdited(manifest string, edit func(canary map[string]any)) string {
	return stage.EditYAML(manifest, func(spec map[string]any) {
		edit(spec["strategy"].(map[string]any)["canary"].(map[string]any))
	})
}

// turned: the version is stable behind ping (canary weight 0) or pong (100).
func turned(version string, weight int) func(stage.World) bool {
	return func(w stage.World) bool {
		st, hash := w.Status(), w.Hash(version)
		return w.Observed() && hash != "" && st.Phase == v1alpha1.RolloutPhaseHealthy && st.StableRS == hash && st.CurrentPodHash == hash &&
			w.Weight() == weight && w.Selects(stage.StableService) == hash && w.Selects(stage.CanaryService) == hash
	}
}

const ingressYAML = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: app}
spec:
  ingressClassName: nginx
  rules:
    - host: app.example.com
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app-stable, port: {number: 80}}}}]}
`

// buildForCrashes builds what only these stories need.
func buildForCrashes(t *testing.T) {
	for name, pkg := range map[string]string{"nginx": "../../plugins/nginx", "taskstep": "./taskstep"} {
		out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", filepath.Join(on.PluginDir(), name), pkg).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	require.NoError(t, on.Cluster.Apply(t.Context(), strings.Split(taskKind, "---\n")...))
}
