package plugins

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

var (
	someDigest   = strings.Repeat("ab", 32)
	someFile     = "location: 'file:///opt/x', sha256: " + someDigest
	bundledFiles = map[string]string{"gatewayapi": "/plugins/gatewayapi", "prometheus": "/plugins/prometheus"}
)

func TestEntries(t *testing.T) {
	for _, c := range []struct {
		name, item, refused string
	}{
		{"ours", "{name: acme/x, " + someFile + ", timeout: 20s, config: {a: 1}, grants: [{group: '', kind: Service, verbs: [read]}]}", ""},
		{"relative location", "{name: acme/x, location: 'file://plugin-bin/x', sha256: " + someDigest + "}", ""},
		{"settings of a bundled one", "{name: prometheus, config: {address: http://p}, env: [{name: A, value: b}]}", ""},
		{"disabled needs nothing else", "{name: acme/x, disabled: true}", ""},
		{"no name", "{location: x}", `name "" must look like namespace/name`},
		{"bad name", "{name: a/b/c, " + someFile + "}", `name "a/b/c" must look like`},
		{"unknown field", "{name: acme/x, sha265: x}", `unknown field "sha265"`},
		{"wrong type", "{name: acme/x, args: 7}", "args"},
		{"no map", "hello", "cannot unmarshal"},
		{"no location", "{name: acme/x}", "location: missing, and no bundled plugin has this name"},
		{"http", "{name: acme/x, location: 'https://e.com/x', sha256: " + someDigest + ", headersFrom: [{secretRef: {name: x}}]}", ""},
		{"http without digest", "{name: acme/x, location: 'http://e.com/x'}", "can be changed underway"},
		{"headers of a file", "{name: acme/x, location: 'file:///x', headersFrom: [{secretRef: {name: x}}]}", "headersFrom: is for https:// locations"},
		{"headers from nowhere", "{name: acme/x, location: 'https://e.com/x', headersFrom: [{}]}", "headersFrom[0].secretRef.name: missing"},
		{"no digest", "{name: acme/x, location: 'file:///x', protocol: grpc}", "sha256: missing"},
		{"short digest", "{name: acme/x, location: 'file:///x', sha256: abcd}", "sha256: must be 64 hexadecimal digits"},
		{"odd scheme", "{name: acme/x, location: 'ftp://x', sha256: " + someDigest + "}", "is none of file://, https://, http://"},
		{"Argo's own", "{name: acme/x, location: 'file:///x', args: [a]}", ""},
		{"netrpc", "{name: acme/x, " + someFile + ", protocol: netrpc}", ""},
		{"netrpc with grants", "{name: acme/x, location: 'file:///x', protocol: netrpc, grants: []}", "grants, allowNamespaces and config are for plugins that speak gRPC"},
		{"protocol", "{name: acme/x, " + someFile + ", protocol: http}", `protocol: "http" is not one of`},
		{"credentials", "{name: acme/x, " + someFile + ", credentials: all}", `credentials: "all" is neither`},
		{"timeout", "{name: acme/x, " + someFile + ", timeout: 1h}", `timeout: "1h" is not a duration from 1s to 5m0s`},
		{"config", "{name: acme/x, " + someFile + ", config: [1]}", "config: must be a map"},
		{"env", "{name: acme/x, " + someFile + ", env: [{name: 'A=B'}]}", `env: "A=B" is not the name`},
		{"secrets", "{name: acme/x, " + someFile + ", grants: [{group: '', kind: Secret, verbs: [get]}]}", "grants[0]: Secret is never given to plugins"},
		{"rbac", "{name: acme/x, " + someFile + ", grants: [{group: rbac.authorization.k8s.io, kind: Role, verbs: [get]}]}", "is never given to plugins"},
		{"exec", "{name: acme/x, " + someFile + ", grants: [{group: '', kind: pods/exec, verbs: [create]}]}", "is never given to plugins"},
		{"verbs", "{name: acme/x, " + someFile + ", grants: [{group: '', kind: Service, verbs: [patch]}]}", `grants[0]: verb "patch" is not one of`},
	} {
		t.Run(c.name, func(t *testing.T) {
			good := "{name: acme/good, " + someFile + "}"
			cat := buildCatalog(list(c.item, good), bundledFiles, nil, policy{})
			_, problem := cat.lookup(KindTrafficRouter, "acme/good")
			require.Nil(t, problem, "its neighbour works in any case")
			if c.refused == "" {
				assert.Empty(t, cat.complaints)
				return
			}
			require.Len(t, cat.complaints, 1)
			for where, complaint := range cat.complaints {
				assert.True(t, strings.HasPrefix(where, "trafficRouterPlugins[0]"), where)
				assert.Contains(t, complaint, c.refused)
			}
		})
	}
}

func TestCatalogOfBundledPlugins(t *testing.T) {
	c := buildCatalog(nil, bundledFiles, nil, policy{})
	for _, name := range []string{"gatewayapi", "argoproj-labs/gatewayAPI"} {
		e, problem := c.lookup(KindTrafficRouter, name)
		require.Nil(t, problem)
		assert.True(t, e.bundled)
		assert.Equal(t, "gatewayapi", e.id)
	}
	_, problem := c.lookup(KindTrafficRouter, "istio")
	require.NotNil(t, problem)
}

// The ConfigMap's entry wins, by name or alias, and is the same plugin to its
// supervisor: a hot reload, not another process.
func TestEntryWinsOverBundled(t *testing.T) {
	c := buildCatalog(list("{name: argoproj-labs/gatewayAPI, "+someFile+", timeout: 7s}"), bundledFiles, nil, policy{})
	for _, name := range []string{"gatewayapi", "argoproj-labs/gatewayAPI"} {
		e, problem := c.lookup(KindTrafficRouter, name)
		require.Nil(t, problem)
		assert.Equal(t, "/opt/x", e.path)
		assert.Equal(t, 7*time.Second, e.timeout)
		assert.False(t, e.bundled)
		assert.Equal(t, "gatewayapi", e.id)
	}
	e, problem := c.lookup(KindMetricProvider, "gatewayapi")
	require.Nil(t, problem)
	assert.Equal(t, "gatewayapi (bundled)", e.id, "for other kinds the bundled one still answers")
}

func TestSettingsOfBundledPlugin(t *testing.T) {
	c := buildCatalog(map[string]string{"metricProviderPlugins": "- {name: prometheus, config: {a: 1}}"}, bundledFiles, nil, policy{})
	e, problem := c.lookup(KindMetricProvider, "prometheus")
	require.Nil(t, problem)
	assert.True(t, e.bundled)
	assert.Equal(t, "/plugins/prometheus", e.path)
	assert.JSONEq(t, `{"a":1}`, string(e.config))
}

// One name under several keys is one process if the entries agree.
func TestOneNameSeveralKinds(t *testing.T) {
	one := "- {name: acme/x, " + someFile + "}"
	c := buildCatalog(map[string]string{"trafficRouterPlugins": one, "metricProviderPlugins": one, "stepPlugins": "- {name: acme/x, " + someFile + ", args: [step]}"}, nil, nil, policy{})
	router, _ := c.lookup(KindTrafficRouter, "acme/x")
	provider, _ := c.lookup(KindMetricProvider, "acme/x")
	step, _ := c.lookup(KindStep, "acme/x")
	assert.Same(t, router, provider)
	assert.Equal(t, []Kind{KindTrafficRouter, KindMetricProvider}, router.kinds)
	assert.Equal(t, "acme/x (step)", step.id)
	assert.Equal(t, "acme/x", step.name)
	assert.Len(t, c.processes(), 2)
}

// What was good before stays in force when its successor is refused.
func TestRefusedEntriesKeepTheOldOnes(t *testing.T) {
	old := buildCatalog(map[string]string{
		"trafficRouterPlugins":  "- {name: acme/x, " + someFile + "}\n- {name: gatewayapi, args: [a]}",
		"metricProviderPlugins": "- {name: acme/m, " + someFile + "}\n- {name: prometheus, disabled: true}",
	}, bundledFiles, nil, policy{})
	require.Empty(t, old.complaints)

	c := buildCatalog(map[string]string{
		"trafficRouterPlugins":  "- {name: acme/x, loction: y}\n- {name: gatewayapi, args: 7}\n- {name: acme/y, loction: y}",
		"metricProviderPlugins": "]]] this is no YAML",
	}, bundledFiles, old, policy{})
	assert.Len(t, c.complaints, 4)
	e, problem := c.lookup(KindTrafficRouter, "acme/x")
	require.Nil(t, problem)
	assert.Equal(t, "/opt/x", e.path)
	e, problem = c.lookup(KindTrafficRouter, "gatewayapi")
	require.Nil(t, problem)
	assert.Equal(t, []string{"a"}, e.args)
	_, problem = c.lookup(KindTrafficRouter, "acme/y")
	require.NotNil(t, problem)
	assert.Contains(t, problem.Message, `cannot be used: trafficRouterPlugins[2] (acme/y) is refused: unknown field "loction"`)
	_, problem = c.lookup(KindMetricProvider, "acme/m")
	require.Nil(t, problem)
	_, problem = c.lookup(KindMetricProvider, "prometheus")
	require.NotNil(t, problem, "disabled stays disabled")

	// Twice the same nonsense is one complaint's worth of news, see rebuild.
	again := buildCatalog(map[string]string{"trafficRouterPlugins": "- {name: acme/x, " + someFile + "}"}, bundledFiles, c, policy{})
	assert.Empty(t, again.complaints)
	_, problem = again.lookup(KindMetricProvider, "acme/m")
	require.NotNil(t, problem, "an entry that was taken out is gone")
}

func TestScanBundled(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, mode))
	}
	write("gatewayapi", 0o755)
	write("README.md", 0o644)
	write(".hidden", 0o755)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	require.NoError(t, os.Symlink("gatewayapi", filepath.Join(dir, "linked")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	files, err := scanBundled(dir)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"gatewayapi": filepath.Join(dir, "gatewayapi"), "linked": filepath.Join(dir, "linked")}, files)
	files, err = scanBundled(filepath.Join(dir, "absent"))
	require.NoError(t, err)
	assert.Empty(t, files)
}

// The entries that the plugins to start from come with are entries.
func TestEntriesOfThePluginExamples(t *testing.T) {
	root := filepath.Join("..", "..", "..", "examples")
	for file, want := range map[string]map[Kind]string{
		"plugin-template/trafficrouter":  {KindTrafficRouter: "example/mesh-router"},
		"plugin-template/metricprovider": {KindMetricProvider: "example/json-metrics"},
		"plugin-template/step":           {KindStep: "example/approval"},
		"plugin-nodejs":                  {KindTrafficRouter: "example/edge-router", KindMetricProvider: "example/json-metrics"},
	} {
		raw, err := os.ReadFile(filepath.Join(root, file, "config.yaml"))
		require.NoError(t, err)
		manifest, _, _ := strings.Cut(string(raw), "---\n")
		var config struct {
			Data map[string]string `json:"data"`
		}
		require.NoError(t, yaml.Unmarshal([]byte(manifest), &config))
		cat := buildCatalog(config.Data, nil, nil, policy{})
		assert.Empty(t, cat.complaints, file)
		for kind, name := range want {
			e, problem := cat.lookup(kind, name)
			require.Nil(t, problem, "%s: %v", file, problem)
			assert.Empty(t, e.argo, "it speaks gRPC")
		}
	}
}
