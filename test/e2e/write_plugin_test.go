package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/test/docs"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// The router of docs/write-a-plugin.md, with the manifests of the page: what the
// page says about the rollout is what happens. That the page's code builds, and
// is the template's, is tested in test/docs.
func TestTheRouterOfThePage(t *testing.T) {
	t.Parallel()
	blocks, err := docs.Read("write-a-plugin.md")
	require.NoError(t, err)
	files := docs.Files(blocks)
	binary := filepath.Join(t.TempDir(), "mesh-router")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../examples/plugin-template/trafficrouter").CombinedOutput()
	require.NoError(t, err, "%s", out)

	c := on.NewController(t, stage.ControllerOptions{Instance: "page", Plugins: []string{}})
	c.Start(t)
	require.NoError(t, on.Cluster.Apply(t.Context(), strings.Split(files["cluster.yaml"], "---\n")...))
	entry, rollout, found := strings.Cut(files["config.yaml"], "---\n")
	require.True(t, found)
	c.ListPlugins(t, pageEntry(t, entry, binary))
	app := on.NewApp(t, c)
	s := &split{app: app, t: t}
	for _, role := range []string{"stable", "canary"} {
		app.Apply(`{apiVersion: v1, kind: Service, metadata: {name: web-` + role + `}, spec: {selector: {app: web}, ports: [{port: 80}]}}`)
	}
	app.Apply(files["split.yaml"], rollout)
	s.await("v1 is deployed", func(w stage.World) bool { return w.Others["web"] != nil && w.Others["web"].Status.Phase == "Healthy" })

	// Another image: 90 and 10 at once, and then it waits for the mesh.
	patch := func(subresource bool, text string) {
		t.Helper()
		o := &unstructured.Unstructured{}
		o.SetAPIVersion("argoproj.io/v1alpha1")
		o.SetKind("Rollout")
		o.SetNamespace(app.Namespace)
		o.SetName("web")
		raw := client.RawPatch(types.MergePatchType, []byte(text))
		if subresource {
			require.NoError(t, on.Client.Status().Patch(t.Context(), o, raw))
		} else {
			require.NoError(t, on.Client.Patch(t.Context(), o, raw))
		}
	}
	s.silent = true
	patch(false, `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"example.com/web:2"}]}}}}`)
	s.await("10 % are written", func(w stage.World) bool { return s.weights() == "90 10" })
	app.Await("the rollout waits for the mesh", func(w stage.World) bool {
		st := w.Others["web"].Status
		return st.Canary.Weights != nil && st.Canary.Weights.Verified != nil && !*st.Canary.Weights.Verified && step(w) == 0
	})
	s.silent = false
	s.await("it pauses", func(w stage.World) bool { return step(w) == 1 && w.Others["web"].Status.PauseConditions != nil })
	patch(true, `{"status":{"pauseConditions":null}}`)
	s.await("50 %, and the next pause", func(w stage.World) bool { return step(w) == 3 && s.weights() == "50 50" })

	// By hand; and it is put back.
	s.edit(`{"spec":{"backends":[{"service":"web-stable","weight":0,"zone":"a"},{"service":"web-canary","weight":100}]}}`)
	s.await("it is put back", func(stage.World) bool { return s.weights() == "50 50" })
	assert.Contains(t, fmt.Sprint(s.read().Object["spec"]), "zone:a", "what the plugin does not know stays")

	patch(true, `{"status":{"abort":true}}`)
	s.await("stable has everything again", func(w stage.World) bool { return s.weights() == "100 0" && w.Others["web"].Status.Abort })
}

// pageEntry is the list of routers in the page's ConfigMap, with the place and the
// digest of the binary.
func pageEntry(t *testing.T, manifest, binary string) string {
	t.Helper()
	var config struct {
		Data map[string]string `json:"data"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(manifest), &config))
	raw, err := os.ReadFile(binary)
	require.NoError(t, err)
	sum := sha256.Sum256(raw)
	text := config.Data["trafficRouterPlugins"]
	for _, replaced := range [][2]string{
		{"file:///plugins/mesh-router", "file://" + binary},
		{strings.Repeat("0", 64), hex.EncodeToString(sum[:])},
	} {
		require.Contains(t, text, replaced[0])
		text = strings.Replace(text, replaced[0], replaced[1], 1)
	}
	return text
}

func step(w stage.World) int {
	if i := w.Others["web"].Status.CurrentStepIndex; i != nil {
		return int(*i)
	}
	return -1
}

// split is the page's Split, and the mesh that takes it over.
type split struct {
	app    *stage.App
	t      *testing.T
	silent bool
}

// await plays the mesh until the world is as said.
func (s *split) await(what string, reached func(stage.World) bool) {
	s.t.Helper()
	s.app.Eventually(what, func() bool {
		if !s.silent {
			s.takeOver()
		}
		return reached(s.app.Now())
	})
}

func (s *split) read() *unstructured.Unstructured {
	s.t.Helper()
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("mesh.example.com/v1")
	o.SetKind("Split")
	require.NoError(s.t, on.Client.Get(s.t.Context(), types.NamespacedName{Namespace: s.app.Namespace, Name: "web"}, o))
	return o
}

func (s *split) weights() string {
	s.t.Helper()
	backends, _, err := unstructured.NestedSlice(s.read().Object, "spec", "backends")
	require.NoError(s.t, err)
	var weights []string
	for _, b := range backends {
		weights = append(weights, fmt.Sprint(b.(map[string]any)["weight"]))
	}
	return strings.Join(weights, " ")
}

func (s *split) takeOver() {
	s.t.Helper()
	o := s.read()
	if seen, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration"); seen == o.GetGeneration() {
		return
	}
	raw := fmt.Sprintf(`{"status":{"observedGeneration":%d}}`, o.GetGeneration())
	require.NoError(s.t, on.Client.Status().Patch(s.t.Context(), o, client.RawPatch(types.MergePatchType, []byte(raw))))
}

func (s *split) edit(patch string) {
	s.t.Helper()
	require.NoError(s.t, on.Client.Patch(s.t.Context(), s.read(), client.RawPatch(types.MergePatchType, []byte(patch))))
}
