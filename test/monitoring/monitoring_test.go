// Package monitoring checks the dashboard and the alert rules that come with
// the controller with Prometheus's own tool.
package monitoring

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

const folder = "../../deploy/monitoring"

// promtool is the tool's path.
func promtool(t *testing.T) string {
	t.Helper()
	if os.Getenv("SLUICE_E2E") == "" {
		t.Skip("builds promtool: SLUICE_E2E is not set (make e2e sets it)")
	}
	paths, err := foreign.Build(t.Context(), os.Stderr, foreign.Promtool)
	require.NoError(t, err)
	return paths[0]
}

// rules writes the rule file that is in the PrometheusRule.
func rules(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(folder, "alerts.yaml"))
	require.NoError(t, err)
	var object struct {
		Spec map[string]any `json:"spec"`
	}
	require.NoError(t, yaml.UnmarshalStrict(withoutHead(raw), &object))
	file, err := yaml.Marshal(object.Spec)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(path, file, 0o600))
	return path
}

// withoutHead leaves the spec alone.
func withoutHead(raw []byte) []byte { return raw[strings.Index(string(raw), "\nspec:"):] }

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}

// Each alert fires when it should, says what the operator reads, and is silent
// beside it.
func TestAlerts(t *testing.T) {
	tool, path := promtool(t), rules(t)
	run(t, tool, "check", "rules", "--lint-fatal", path)
	tests, err := os.ReadFile(filepath.Join(folder, "alerts_test.yaml"))
	require.NoError(t, err)
	beside := filepath.Join(filepath.Dir(path), "alerts_test.yaml")
	require.NoError(t, os.WriteFile(beside, tests, 0o600))
	run(t, tool, "test", "rules", beside)
}

// Every query of the dashboard is one that Prometheus understands.
func TestDashboardQueries(t *testing.T) {
	tool := promtool(t)
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	variables := strings.NewReplacer(`"$namespace"`, `".*"`, `"$rollout"`, `".*"`, `"$job"`, `".*"`)
	var all []rule
	for _, expr := range queries(t, filepath.Join(folder, "dashboard.json")) {
		all = append(all, rule{Record: "query", Expr: variables.Replace(expr)})
	}
	require.Greater(t, len(all), 20)
	file, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": all}}})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(path, file, 0o600))
	run(t, tool, "check", "rules", "--lint=none", path)
}

// queries of a dashboard.
func queries(t *testing.T, path string) []string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var board struct {
		Panels []struct {
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	require.NoError(t, json.Unmarshal(raw, &board))
	var out []string
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			out = append(out, target.Expr)
		}
	}
	return out
}
