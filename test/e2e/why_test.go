package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/preview"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// stall is one cause, and how `why` has to name it.
type stall struct {
	name string
	// cause brings it about.
	cause func(*stage.App)
	// gate blocks, and one of its sentences, reasons or inputs holds every text.
	gate  string
	texts []string
}

// edited creates the Rollout with an edited canary.
func edited(steps []string, edit func(spec, canary map[string]any)) func(*stage.App) {
	return func(app *stage.App) {
		app.Apply(stage.EditYAML(stage.RolloutYAML(steps...), func(spec map[string]any) {
			edit(spec, spec["strategy"].(map[string]any)["canary"].(map[string]any))
		}))
	}
}

func field(name string, value any) func(*stage.App) {
	return edited([]string{stage.SetWeight(50)}, func(_, canary map[string]any) { canary[name] = value })
}

func routing(value map[string]any) func(*stage.App) { return field("trafficRouting", value) }

// updating is v1 at rest with the steps, and v2 asked for after a preparation.
func updating(prepare func(*stage.App), steps ...string) func(*stage.App) {
	return func(app *stage.App) {
		app.Deploy(steps...)
		if prepare != nil {
			prepare(app)
		}
		app.Update("v2")
	}
}

// measuredBy replaces the metric of the template that Analysis names.
func measuredBy(metric string, steps ...string) func(*stage.App) {
	return func(app *stage.App) {
		app.Apply("{apiVersion: argoproj.io/v1alpha1, kind: AnalysisTemplate, metadata: {name: errors}, spec: {args: [{name: token, valueFrom: {secretKeyRef: {name: nowhere, key: token}}}], metrics: [" + metric + "]}}")
		updating(nil, append([]string{stage.SetWeight(20), stage.Analysis}, steps...)...)(app)
	}
}

// specStalls are seen in the spec and in what it refers to.
func specStalls() []stall {
	return []stall{
		{"weight out of range", edited([]string{stage.SetWeight(120)}, func(_, _ map[string]any) {}), "spec", []string{"steps[0].setWeight", "120 is not between 0 and 100"}},
		{"Service missing", field("canaryService", "nowhere"), "spec", []string{`Service "nowhere" does not exist`, "create it"}},
		{"Service of other pods", func(app *stage.App) {
			app.Patch("Service", stage.CanaryService, `{"spec": {"selector": {"app": "other"}}}`)
			app.Apply(stage.RolloutYAML(stage.SetWeight(50)))
		}, "spec", []string{`Service "app-canary" selects app=other`}},
		{"Service of another Rollout", func(app *stage.App) {
			app.Deploy(stage.SetWeight(50))
			app.Apply(strings.Replace(stage.RolloutYAML(stage.SetWeight(50)), "metadata: {name: app}", "metadata: {name: second}", 1))
		}, "spec", []string{`is managed by Rollout "app"`}},
		{"route missing", routing(map[string]any{"plugins": map[string]any{"argoproj-labs/gatewayAPI": map[string]any{"httpRoute": "nowhere"}}}), "spec", []string{`nowhere" not found`}},
		{"ReferenceGrant missing", routing(map[string]any{"plugins": map[string]any{"argoproj-labs/gatewayAPI": map[string]any{"httpRoute": "app", "namespace": "kube-public"}}}), "plugins", []string{"ReferenceGrant", "kube-public"}},
		{"template missing", func(app *stage.App) {
			app.Delete("AnalysisTemplate", stage.TemplateName)
			app.Apply(stage.RolloutYAML(stage.SetWeight(50), stage.Analysis))
		}, "spec", []string{`AnalysisTemplate "errors" not found`}},
		{"workload missing", edited(nil, func(spec, _ map[string]any) {
			delete(spec, "template")
			spec["workloadRef"] = map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "nowhere"}
		}), "spec", []string{`Deployment "nowhere" does not exist`}},
		{"quantity malformed", edited([]string{stage.SetWeight(50)}, func(spec, _ map[string]any) {
			c := spec["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
			c["resources"] = map[string]any{"limits": map[string]any{"cpu": "one"}}
		}), "spec", []string{"containers[0].resources.limits"}},
		{"unserved match in a step", edited([]string{`{setHeaderRoute: {name: beta, match: [{headerName: x, headerValue: {exact: a}}]}}`}, func(_, _ map[string]any) {}), "spec", []string{`"beta" is not in`, "managedRoutes"}},
		{"router without a plugin", routing(map[string]any{"plugins": map[string]any{"acme/router": map[string]any{}}}), "plugins", []string{"PluginUnavailable", `"acme/router" is not installed`}},
		{"provider without a plugin", measuredFirst(`{name: m, provider: {plugin: {acme/metrics: {}}}}`), "plugins", []string{"PluginUnavailable", `"acme/metrics" is not installed`}},
		{"step without a plugin", edited([]string{stage.SetWeight(20), `{plugin: {name: acme/approval}}`}, func(_, _ map[string]any) {}), "plugins", []string{"PluginUnavailable", `"acme/approval" is not installed`}},
		{"no controller for the instance id", func(app *stage.App) {
			app.Apply(strings.Replace(stage.RolloutYAML(stage.SetWeight(50)), "metadata: {name: app}", "metadata: {name: app, labels: {argo-rollouts.argoproj.io/controller-instance-id: nobody}}", 1))
		}, "controller", []string{`no controller has the instance id "nobody"`}},
		{"lease held by another controller", func(app *stage.App) {
			app.Apply(`{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: argo-rollouts-controller-lock-` + app.Namespace + `}, spec: {holderIdentity: argo-rollouts-7d9f_1, leaseDurationSeconds: 15, renewTime: "` + time.Now().UTC().Format("2006-01-02T15:04:05.000000Z") + `"}}`)
			app.Apply(strings.Replace(stage.RolloutYAML(stage.SetWeight(50)), "metadata: {name: app}", "metadata: {name: app, labels: {argo-rollouts.argoproj.io/controller-instance-id: "+app.Namespace+"}}", 1))
		}, "controller", []string{"argo-rollouts-7d9f_1", "has not looked at the Rollout"}},
	}
}

func measuredFirst(metric string) func(*stage.App) {
	return func(app *stage.App) {
		app.Apply("{apiVersion: argoproj.io/v1alpha1, kind: AnalysisTemplate, metadata: {name: errors}, spec: {metrics: [" + metric + "]}}")
		app.Apply(stage.RolloutYAML(stage.SetWeight(50), stage.Analysis))
	}
}

const podsNeverReady = `{"spec": {"template": {"metadata": {"annotations": {"devcluster.sluice.dev/never-ready": "true"}}}}}`

// updateStalls are met on the way.
func updateStalls() []stall {
	return []stall{
		{"pause without end", updating(nil, stage.SetWeight(20), stage.Pause), "step", []string{"pauses until it is resumed", "promote"}},
		{"pause with an end", updating(nil, stage.SetWeight(20), "{pause: {duration: 1h}}"), "step", []string{"pauses", "the clock"}},
		{"stopped by a person", updating(func(a *stage.App) { a.PatchRollout(`{"spec": {"paused": true}}`) }, stage.SetWeight(20)), "stopped", []string{"spec.paused is set"}},
		{"aborted by a person", func(app *stage.App) {
			updating(nil, stage.SetWeight(20), stage.Pause)(app)
			app.Await("paused", func(w stage.World) bool { return w.Paused(1, 20) })
			app.PatchStatus(`{"status": {"abort": true}}`)
		}, "stopped", []string{"the update is aborted", "retry rollout"}},
		{"analysis running", measuredBy(`{name: m, count: 1000, interval: 1h, successCondition: "true", provider: {job: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "example.com/c", command: [sleep, "0"]}]}}}}}}`), "step", []string{"AnalysisRun app-", "metric m"}},
		{"Job stuck", measuredBy(`{name: m, provider: {job: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "example.com/c", command: [sleep, "9000"]}]}}}}}}`), "step", []string{"metric m: Running", "job-name"}},
		{"provider without an answer", measuredBy(`{name: m, consecutiveErrorLimit: 1000, interval: 1s, count: 3, successCondition: "true", provider: {prometheus: {address: "http://prometheus.nowhere.example:1", query: up}}}`), "step", []string{"metric m", "prometheus.nowhere.example"}},
		{"Secret missing", measuredBy(`{name: m, consecutiveErrorLimit: 1000, interval: 1s, count: 3, successCondition: "true", provider: {prometheus: {address: "http://prometheus.nowhere.example:1", query: "{{args.token}}"}}}`), "", []string{"nowhere"}},
		{"analysis failed", func(app *stage.App) {
			app.Metric(1)
			updating(nil, stage.SetWeight(20), stage.Analysis)(app)
		}, "stopped", []string{"the update is aborted", "metric error-ratio: Failed"}},
		{"analysis inconclusive", func(app *stage.App) {
			app.PatchJSON("AnalysisTemplate", stage.TemplateName, `[{"op": "add", "path": "/spec/metrics/0/failureCondition", "value": "result[0] > 0.5"}]`)
			app.Metric(0.2)
			updating(nil, stage.SetWeight(20), stage.Analysis)(app)
		}, "stopped", []string{"could not tell", "AnalysisRun app-"}},
		{"pods never ready", updating(func(a *stage.App) { a.PatchRollout(podsNeverReady) }, stage.SetWeight(20)), "pods", []string{"WaitingForPods", "pod app-", "ContainersNotReady"}},
		{"no node for the pods", updating(func(a *stage.App) {
			a.PatchRollout(`{"spec": {"template": {"spec": {"nodeSelector": {"disk": "none"}}}}}`)
		}, stage.SetWeight(20)), "pods", []string{"Unschedulable"}},
		{"quota used up", updating(func(a *stage.App) {
			a.Apply(`{apiVersion: v1, kind: ResourceQuota, metadata: {name: small}, spec: {hard: {pods: "4"}}}`)
			countQuota(a)
		}, stage.SetWeight(20)), "pods", []string{"exceeded quota: small"}},
		{"deadline missed", updating(func(a *stage.App) {
			a.PatchRollout(`{"spec": {"progressDeadlineSeconds": 1}}`)
			a.PatchRollout(podsNeverReady)
		}, stage.SetWeight(20)), "pods", []string{"ProgressDeadlineExceeded", "progressDeadlineSeconds (1)"}},
		{"budget forbids the restart", func(app *stage.App) {
			app.Deploy(stage.SetWeight(20))
			app.Apply(`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: all}, spec: {minAvailable: 4, selector: {matchLabels: {app: app}}}}`)
			app.PatchRollout(`{"spec": {"restartAt": "` + time.Now().UTC().Format(time.RFC3339) + `"}}`)
		}, "pods", []string{"PodDisruptionBudget all"}},
		{"restart at a later time", func(app *stage.App) {
			app.Deploy(stage.SetWeight(20))
			app.PatchRollout(`{"spec": {"restartAt": "` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}}`)
		}, "pods", []string{"spec.restartAt", "the clock"}},
		{"experiment without pods", updating(nil, stage.SetWeight(20), `{experiment: {duration: 1h, templates: [{name: baseline, specRef: stable}]}}`), "step", []string{"Experiment app-"}},
		{"gateway refuses the route", func(app *stage.App) {
			app.Deploy(stage.SetWeight(20))
			on.Gateway.Refuse(app.Namespace, "the listener has no such host")
			app.Update("v2")
		}, "traffic", []string{"the listener has no such host"}},
		{"gateway says nothing", func(app *stage.App) {
			app.Deploy(stage.SetWeight(20))
			on.Gateway.Pause(app.Namespace)
			app.Update("v2")
		}, "traffic", []string{"WaitingForTraffic"}},
		{"old pods drain", func(app *stage.App) {
			app.Apply(stage.EditYAML(stage.RolloutYAML(stage.SetWeight(20)), func(spec map[string]any) {
				spec["strategy"].(map[string]any)["canary"].(map[string]any)["scaleDownDelaySeconds"] = 3600
			}))
			app.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
			app.Update("v2")
		}, "clean-up", []string{"keeps its 4 pods until"}},
	}
}

// countQuota does the work of the quota controller, which this cluster does not
// run.
func countQuota(a *stage.App) {
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "small"}}
	err := on.Client.Status().Patch(a.Context(), quota, client.RawPatch(types.MergePatchType, []byte(`{"status": {"hard": {"pods": "4"}, "used": {"pods": "4"}}}`)))
	a.Require(err == nil, "the quota counts: %v", err)
}

// Whatever a Rollout waits for, `why` names it.
func TestWhyNamesEveryStall(t *testing.T) {
	t.Parallel()
	for _, s := range append(specStalls(), updateStalls()...) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			app := on.NewApp(t, shared)
			s.cause(app)
			requireNamed(t, app, s)
		})
	}
}

// requireNamed asks until the gate is the one that blocks.
func requireNamed(t *testing.T, app *stage.App, s stall) {
	t.Helper()
	name, last := "app", ""
	if s.name == "Service of another Rollout" {
		name = "second"
	}
	app.Eventually("why names it; it says "+last, func() bool {
		last = sluice(t, app, "why", name, "-o", "json")
		var e preview.Explanation
		require.NoError(t, json.Unmarshal([]byte(last), &e))
		g, blocked := e.Blocking()
		if !blocked || s.gate != "" && g.Name != s.gate {
			t.Log(last)
			return false
		}
		raw, err := json.Marshal(g)
		require.NoError(t, err)
		said := strings.ReplaceAll(string(raw), `\"`, `"`)
		for _, text := range s.texts {
			if !strings.Contains(said, text) {
				t.Log(said)
				return false
			}
		}
		return true
	})
}

// Plugins that are there and cannot be used: the digest is another one, the
// process ends at once, it hangs, it speaks a protocol of the future, it was not
// granted what it needs. And two Rollouts that want the same route.
func TestWhyNamesEveryPluginStall(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "why"})
	c.Start(t)
	dir := t.TempDir()
	ungranted, _, _ := strings.Cut(strings.Replace(listed(t, dir), "argoproj-labs/gatewayAPI", "acme/ungranted", 1), "  grants:")
	c.ListPlugins(t, ungranted+script(t, dir, "acme/crashing", "exit 1", "")+script(t, dir, "acme/hanging", "sleep 600", "")+
		script(t, dir, "acme/future", `echo "1|99|unix|/tmp/none|grpc"; sleep 600`, "")+script(t, dir, "acme/changed", "exit 0", strings.Repeat("0", 64)))
	for _, s := range []stall{
		{"digest differs", nil, "plugins", []string{"PluginUnavailable", "acme/changed", "sha256"}},
		{"crashes", nil, "plugins", []string{"PluginUnavailable", "acme/crashing"}},
		{"hangs", nil, "plugins", []string{"PluginUnavailable", "acme/hanging"}},
		{"too new", nil, "plugins", []string{"PluginUnavailable", "acme/future"}},
		{"acme/ungranted: not granted", nil, "plugins", []string{"grant does not cover HTTPRoute"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			app := on.NewApp(t, c)
			plugin := ""
			for _, text := range append(s.texts, strings.Split(s.name, ":")...) {
				if strings.HasPrefix(text, "acme/") {
					plugin = text
				}
			}
			routing(map[string]any{"plugins": map[string]any{plugin: map[string]any{"httpRoute": "app"}}})(app)
			requireNamed(t, app, s)
		})
	}
}

// script is the entry of a plugin that is a shell script.
func script(t *testing.T, dir, name, body, digest string) string {
	t.Helper()
	path := filepath.Join(dir, filepath.Base(name))
	text := "#!/bin/sh\n" + body + "\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
	if digest == "" {
		digest = fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	}
	return fmt.Sprintf("\n- name: %s\n  location: file://%s\n  sha256: %q\n  protocol: grpc\n", name, path, digest)
}
