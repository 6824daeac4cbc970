package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/preview"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// stall is one cause, and how `why` has to name it.
type stall struct {
	name string
	// cause brings it about.
	cause func(*stage.App)
	// met says that the controller, or what else acts, has met the cause and stored
	// that: from then on `why` has to name it. Nil means that a condition of the Rollout
	// holds the first text; without a controller nothing is waited for.
	met func(*stage.App) bool
	// gate blocks, and its sentence, reason, inputs and end hold every text.
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

// toldBy: the controller has looked at the Rollout as it is, and says the text in a
// condition about what is wrong.
func toldBy(ro *v1alpha1.Rollout, text string) bool {
	w := stage.World{Rollout: *ro}
	return w.Observed() && slices.ContainsFunc(ro.Status.Conditions, func(c v1alpha1.RolloutCondition) bool {
		wrong := c.Type == v1alpha1.ConditionBlocked || c.Type == v1alpha1.ConditionInvalidSpec
		return wrong && c.Status == corev1.ConditionTrue && strings.Contains(c.Reason+" "+c.Message, text)
	})
}

// specStalls are seen in the spec and in what it refers to.
func specStalls() []stall {
	return []stall{
		{"weight out of range", edited([]string{stage.SetWeight(120)}, func(_, _ map[string]any) {}), nil, "spec", []string{"steps[0].setWeight", "120 is not between 0 and 100"}},
		{"Service missing", field("canaryService", "nowhere"), nil, "spec", []string{`Service "nowhere" does not exist`, "create it"}},
		{"Service of other pods", func(app *stage.App) {
			app.Patch("Service", stage.CanaryService, `{"spec": {"selector": {"app": "other"}}}`)
			app.Apply(stage.RolloutYAML(stage.SetWeight(50)))
		}, nil, "spec", []string{`Service "app-canary" selects app=other`}},
		{"Service of another Rollout", func(app *stage.App) {
			app.Deploy(stage.SetWeight(50))
			app.Apply(strings.Replace(stage.RolloutYAML(stage.SetWeight(50)), "metadata: {name: app}", "metadata: {name: second}", 1))
		}, nil, "spec", []string{`is managed by Rollout "app"`}},
		{"route missing", routing(map[string]any{"plugins": map[string]any{"argoproj-labs/gatewayAPI": map[string]any{"httpRoute": "nowhere"}}}), nil, "spec", []string{`nowhere" not found`}},
		{"ReferenceGrant missing", routing(map[string]any{"plugins": map[string]any{"argoproj-labs/gatewayAPI": map[string]any{"httpRoute": "app", "namespace": "kube-public"}}}), nil, "plugins", []string{"ReferenceGrant", "kube-public"}},
		{"template missing", func(app *stage.App) {
			app.Delete("AnalysisTemplate", stage.TemplateName)
			app.Apply(stage.RolloutYAML(stage.SetWeight(50), stage.Analysis))
		}, nil, "spec", []string{`AnalysisTemplate "errors" not found`}},
		{"workload missing", edited(nil, func(spec, _ map[string]any) {
			delete(spec, "template")
			spec["workloadRef"] = map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "nowhere"}
		}), nil, "spec", []string{`Deployment "nowhere" does not exist`}},
		{"quantity malformed", edited([]string{stage.SetWeight(50)}, func(spec, _ map[string]any) {
			c := spec["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
			c["resources"] = map[string]any{"limits": map[string]any{"cpu": "one"}}
		}), nil, "spec", []string{"containers[0].resources.limits"}},
		{"managed route unknown", edited([]string{`{setHeaderRoute: {name: beta, match: [{headerName: x, headerValue: {exact: a}}]}}`}, func(_, _ map[string]any) {}), nil, "spec", []string{`"beta" is not in`, "managedRoutes"}},
		{"router without a plugin", routing(map[string]any{"plugins": map[string]any{"acme/router": map[string]any{}}}), nil, "plugins", []string{"PluginUnavailable", `"acme/router" is not installed`}},
		{"provider without a plugin", func(app *stage.App) {
			app.Apply("{apiVersion: argoproj.io/v1alpha1, kind: AnalysisTemplate, metadata: {name: errors}, spec: {metrics: [{name: m, provider: {plugin: {acme/metrics: {}}}}]}}")
			app.Apply(stage.RolloutYAML(stage.SetWeight(50), stage.Analysis))
		}, nil, "plugins", []string{"PluginUnavailable", `"acme/metrics" is not installed`}},
		{"step without a plugin", edited([]string{stage.SetWeight(20), `{plugin: {name: acme/approval}}`}, func(_, _ map[string]any) {}), nil, "plugins", []string{"PluginUnavailable", `"acme/approval" is not installed`}},
		{"no controller for the instance id", func(app *stage.App) {
			app.Apply(strings.Replace(stage.RolloutYAML(stage.SetWeight(50)), "metadata: {name: app}", "metadata: {name: app, labels: {argo-rollouts.argoproj.io/controller-instance-id: nobody}}", 1))
		}, nil, "controller", []string{`no controller has the instance id "nobody"`}},
		{"lease held by another controller", func(app *stage.App) {
			app.Apply(`{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: argo-rollouts-controller-lock-` + app.Namespace + `}, spec: {holderIdentity: argo-rollouts-7d9f_1, leaseDurationSeconds: 15, renewTime: "` + time.Now().UTC().Format("2006-01-02T15:04:05.000000Z") + `"}}`)
			app.Apply(strings.Replace(stage.RolloutYAML(stage.SetWeight(50)), "metadata: {name: app}", "metadata: {name: app, labels: {argo-rollouts.argoproj.io/controller-instance-id: "+app.Namespace+"}}", 1))
		}, nil, "controller", []string{"argo-rollouts-7d9f_1", "has not looked at the Rollout"}},
	}
}

// Whatever a Rollout waits for, `why` names it, from the first status on that knows
// of it.
func TestWhyNamesEveryStall(t *testing.T) {
	t.Parallel()
	for _, s := range slices.Concat(specStalls(), podStalls(), updateStalls()) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			app := on.NewApp(t, shared)
			s.cause(app)
			requireNamed(t, app, s)
		})
	}
}

// requireNamed waits until the cause is met, asks once, and wants to hear what is
// in the way, its inputs, since when, and what ends it.
func requireNamed(t *testing.T, app *stage.App, s stall) {
	t.Helper()
	name := stage.AppName
	app.Eventually(s.name+" is met", func() bool {
		w := app.Now()
		ro := &w.Rollout
		if other := w.Others["second"]; other != nil {
			ro, name = other, other.Name
		}
		if s.gate == preview.GateController {
			return true
		}
		// Watches may show the Rollout from before the last change.
		newest := app.Number("Rollout", name, "metadata", "generation") == ro.Generation && stage.World{Rollout: *ro}.Observed()
		return newest && (s.met != nil && s.met(app) || s.met == nil && toldBy(ro, s.texts[0]))
	})
	said := sluice(t, app, "why", name, "-o", "json")
	var e preview.Explanation
	require.NoError(t, json.Unmarshal([]byte(said), &e))
	g, found := e.Blocking()
	app.Require(found, "why %s names nothing: %s", name, said)
	if s.gate != "" {
		assert.Equal(t, s.gate, g.Name, said)
	}
	raw, err := json.Marshal(g)
	require.NoError(t, err)
	for _, text := range s.texts {
		assert.Contains(t, strings.ReplaceAll(string(raw), `\"`, `"`), text)
	}
	assert.NotEmpty(t, g.EndedBy, said)
	// Nobody stores since when there is no controller, and a wait for the clock has an end.
	assert.True(t, !g.Since.IsZero() || !g.Until.IsZero() || g.Name == preview.GateController, "since when? %s", said)
}

// Plugins that are there and cannot be used: the digest is another one, the
// process ends at once, it hangs, it speaks a protocol of the future, it was not
// granted what it needs.
func TestWhyNamesEveryPluginStall(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "why"})
	c.Start(t)
	dir := t.TempDir()
	ungranted, _, _ := strings.Cut(strings.Replace(listed(t, dir), "argoproj-labs/gatewayAPI", "acme/ungranted", 1), "  grants:")
	c.ListPlugins(t, ungranted+script(t, dir, "acme/crashing", "exit 1", "")+script(t, dir, "acme/hanging", "sleep 600", "")+
		script(t, dir, "acme/future", `echo "1|99|unix|/tmp/none|grpc"; sleep 600`, "")+script(t, dir, "acme/changed", "exit 0", strings.Repeat("0", 64)))
	for plugin, texts := range map[string][]string{
		"acme/changed":   {"PluginUnavailable", "acme/changed", "sha256"},
		"acme/crashing":  {"PluginUnavailable", "acme/crashing"},
		"acme/hanging":   {"PluginUnavailable", "acme/hanging"},
		"acme/future":    {"PluginUnavailable", "acme/future"},
		"acme/ungranted": {"grant does not cover HTTPRoute"},
	} {
		t.Run(plugin, func(t *testing.T) {
			t.Parallel()
			app := on.NewApp(t, c)
			routing(map[string]any{"plugins": map[string]any{plugin: map[string]any{"httpRoute": "app"}}})(app)
			requireNamed(t, app, stall{name: plugin, gate: preview.GatePlugins, texts: texts})
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
