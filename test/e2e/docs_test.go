package e2e

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

var manifestBlock = regexp.MustCompile("(?ms)^```yaml\n(apiVersion: argoproj.io/.*?)^```$")

// The manifests of the documentation are accepted by the API server, without a
// field it does not know, and by the controller.
func TestManifestsOfTheDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/analysis.md")
	require.NoError(t, err)
	blocks := manifestBlock.FindAllStringSubmatch(string(text), -1)
	require.Len(t, blocks, 2)
	app := on.NewApp(t, shared)
	for _, block := range blocks {
		app.ApplyStrictly(block[1])
	}
	w := app.Await("the experiment runs", func(w stage.World) bool { return phase(w, "Running") })
	require.Equal(t, 2, pods(w, "compare-canary"))
	app.Await("its analysis has begun", func(w stage.World) bool { return w.Runs["compare-errors"] != nil })
	app.Patch("Experiment", "compare", `{"spec": {"terminate": true, "scaleDownDelaySeconds": 0}}`)
}
