package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

var (
	yamlBlock = regexp.MustCompile("(?ms)^ *```ya?ml\n(.*?)^ *```$")
	separator = regexp.MustCompile(`(?m)^---$`)
)

// pages are what a reader copies manifests from.
func pages(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"../../README.md", "../../docs/*.md", "../../plugins/*/README.md", "../../examples/*/README.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		out = append(out, found...)
	}
	require.Greater(t, len(out), 15)
	return out
}

// documents are the complete manifests of a page; blocks that show a part of
// one have no apiVersion.
func documents(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	var out []string
	for _, block := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
		for _, document := range separator.Split(block[1], -1) {
			var whole any
			require.NoError(t, yaml.Unmarshal([]byte(document), &whole), "%s: a block that is not YAML:\n%s", page, document)
			var head struct {
				APIVersion string `json:"apiVersion"`
				Kind       string `json:"kind"`
				Metadata   struct {
					Name string `json:"name"`
				} `json:"metadata"`
			}
			if _, ok := whole.(map[string]any); !ok {
				continue // part of a list
			}
			require.NoError(t, yaml.Unmarshal([]byte(document), &head), "%s:\n%s", page, document)
			if head.APIVersion != "" && head.Kind != "" && head.Metadata.Name != "" {
				out = append(out, document)
			}
		}
	}
	return out
}

// Every manifest of every page is accepted by the API server, without a field
// it does not know. Kinds of other products are tried where their definitions
// are installed; the rest is counted.
func TestManifestsOfTheDocumentationAreAccepted(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, on.Elsewhere("nobody", ""))
	tried, elsewhere := 0, map[string]int{}
	for _, page := range pages(t) {
		for _, document := range documents(t, page) {
			switch kind, err := app.TryStrictly(document); {
			case kind != "":
				elsewhere[kind]++
			default:
				tried++
				assert.NoError(t, err, "%s:\n%s", page, document)
			}
		}
	}
	assert.Greater(t, tried, 15)
	t.Logf("%d manifests were accepted; of kinds that are not installed here: %v", tried, elsewhere)
	for kind := range elsewhere {
		assert.NotContains(t, kind, "argoproj.io", "a kind of ours is missing")
	}
}

// The manifests of the page about analyses do what the page says.
func TestManifestsOfTheAnalysisPage(t *testing.T) {
	t.Parallel()
	blocks := slices.DeleteFunc(documents(t, "../../docs/analysis.md"), func(d string) bool { return !strings.Contains(d, "argoproj.io") })
	require.Len(t, blocks, 2)
	app := on.NewApp(t, shared)
	for _, block := range blocks {
		app.ApplyStrictly(block)
	}
	app.Await("the experiment runs with both pods", func(w stage.World) bool { return phase(w, "Running") && pods(w, "compare-canary") == 2 })
	app.Await("its analysis has begun", func(w stage.World) bool { return w.Runs["compare-errors"] != nil })
	app.Patch("Experiment", "compare", `{"spec": {"terminate": true, "scaleDownDelaySeconds": 0}}`)
}

// The table of what routers can do says what their conformance reports say.
func TestTheTableOfRouters(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/routers.md")
	require.NoError(t, err)
	reports, err := filepath.Glob("../../plugins/*/conformance.yaml")
	require.NoError(t, err)
	for _, path := range reports {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		var report struct {
			Plugin       string   `json:"plugin"`
			Service      string   `json:"service"`
			Capabilities []string `json:"capabilities"`
		}
		require.NoError(t, yaml.Unmarshal(raw, &report))
		if !strings.Contains(report.Service, "trafficrouter") {
			continue
		}
		name := filepath.Base(filepath.Dir(path))
		row := fmt.Sprintf("| [`%[1]s`](../plugins/%[1]s/README.md)", name)
		for _, capability := range []string{"HEADER_ROUTES", "MIRROR_ROUTES", "EXPERIMENTS", "MAX_WEIGHT"} {
			row += map[bool]string{true: " | yes", false: " | no"}[slices.Contains(report.Capabilities, "CAPABILITY_"+capability)]
		}
		assert.Contains(t, string(text), row+" |\n")
	}
}

// The manifests of examples/ that users copy are accepted, and their Rollouts
// become healthy as they are.
func TestManifestsOfTheExamples(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"canary", "bluegreen", "workloadref", "analysis", "experiment"} {
		file := filepath.Join("..", "..", "examples", name, "rollout.yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			app := on.NewApp(t, shared)
			rollout := ""
			for _, manifest := range separator.Split(string(raw), -1) {
				app.ApplyStrictly(manifest)
				var head struct {
					Metadata struct {
						Name string `json:"name"`
					} `json:"metadata"`
				}
				require.NoError(t, yaml.Unmarshal([]byte(manifest), &head))
				rollout = head.Metadata.Name // the Rollout comes last
			}
			app.Await("its Rollout is healthy", func(w stage.World) bool {
				ro := w.Others[rollout]
				return ro != nil && ro.Status.Phase == v1alpha1.RolloutPhaseHealthy && ro.Status.StableRS != ""
			})
		})
	}
}
