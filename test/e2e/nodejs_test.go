package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/test/e2e/stage"
	"github.com/sluice-rollouts/sluice/test/nodejs"
)

// A rollout whose router and whose metrics are in JavaScript, with the manifests
// of the example: it goes on while the metric is good, and is aborted when it is
// not. What others have in the Ingress stays.
func TestNodejsPluginsInARollout(t *testing.T) {
	t.Parallel()
	router, provider := nodejs.Plugin(t, "trafficrouter"), nodejs.Plugin(t, "metricprovider")
	var bad atomic.Bool
	stats := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		body := `{"data":{"errorRatio":0.01}}`
		if bad.Load() {
			body = `{"data":{"errorRatio":0.5}}`
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(stats.Close)
	manifests := nodejsConfig(t, map[string]string{
		"file:///plugins/edge-router": "file://" + router, "file:///plugins/json-metrics": "file://" + provider,
		"http://stats.shop": stats.URL, "interval: 30s": "interval: 1s", "count: 5": "count: 2", "failureLimit: 1": "failureLimit: 0",
	}, router, provider)

	c := on.NewController(t, stage.ControllerOptions{Instance: "nodejs", Plugins: []string{}})
	c.Start(t)
	role, err := os.ReadFile("../../examples/plugin-nodejs/cluster.yaml")
	require.NoError(t, err)
	require.NoError(t, on.Cluster.Apply(t.Context(), string(role)))
	var config struct {
		Data map[string]any `json:"data"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(manifests[0]), &config))
	c.ListEverything(t, config.Data)

	app := on.NewApp(t, c)
	for _, role := range []string{"stable", "canary"} {
		app.Apply(`{apiVersion: v1, kind: Service, metadata: {name: web-` + role + `}, spec: {selector: {app: web}, ports: [{port: 80}]}}`)
	}
	app.Apply(`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web, annotations: {edge.example.com/timeout: "30"}},
		spec: {rules: [{host: shop.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web-stable, port: {number: 80}}}}]}}]}}`)
	app.Apply(manifests[2], manifests[1])
	app.Await("v1 is deployed", func(w stage.World) bool { return w.Others["web"] != nil && w.Others["web"].Status.Phase == "Healthy" })

	update := func(version string) {
		t.Helper()
		o := &unstructured.Unstructured{}
		o.SetAPIVersion("argoproj.io/v1alpha1")
		o.SetKind("Rollout")
		o.SetNamespace(app.Namespace)
		o.SetName("web")
		raw := `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"example.com/web:` + version + `"}]}}}}`
		require.NoError(t, on.Client.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(raw))))
	}
	const weight = "edge.example.com/canary-weight"
	ingress := func() map[string]string {
		t.Helper()
		o := &unstructured.Unstructured{}
		o.SetAPIVersion("networking.k8s.io/v1")
		o.SetKind("Ingress")
		require.NoError(t, on.Client.Get(t.Context(), types.NamespacedName{Namespace: app.Namespace, Name: "web"}, o))
		return o.GetAnnotations()
	}
	update("2")
	app.Eventually("it has passed its analysis and pauses at 50", func() bool { return ingress()[weight] == "50" && step(app.Now()) == 3 })
	assert.Equal(t, "web-canary", ingress()["edge.example.com/canary-service"])

	bad.Store(true)
	update("3")
	app.Eventually("its analysis aborts it", func() bool {
		w := app.Now()
		return w.Others["web"].Status.Abort && ingress()[weight] == ""
	})
	assert.Equal(t, "30", ingress()["edge.example.com/timeout"], "what others have written stays")
	assert.NotContains(t, ingress(), "edge.example.com/canary-service")
}

// nodejsConfig returns the manifests of the example with what only a test knows
// in them.
func nodejsConfig(t *testing.T, replaced map[string]string, binaries ...string) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "examples", "plugin-nodejs", "config.yaml"))
	require.NoError(t, err)
	text := string(raw)
	for old, by := range replaced {
		require.Contains(t, text, old)
		text = strings.ReplaceAll(text, old, by)
	}
	for _, binary := range binaries {
		raw, err := os.ReadFile(binary)
		require.NoError(t, err)
		sum := sha256.Sum256(raw)
		text = strings.Replace(text, strings.Repeat("0", 64), hex.EncodeToString(sum[:]), 1)
	}
	manifests := strings.Split(text, "---\n")
	require.Len(t, manifests, 3)
	return manifests
}
