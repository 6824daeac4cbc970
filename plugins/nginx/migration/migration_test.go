package migration

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/test/devcluster"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var options = Options{
	GatewayName: "gateway", GatewayNamespace: "infra", Listener: "https", RedirectListener: "http",
	StableService: "web-stable", CanaryService: "web-canary",
	Port: func(service, name string) (int32, bool) { return 8080, name == "http" },
}

func ingress(t *testing.T, file string) *networkingv1.Ingress {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	i := &networkingv1.Ingress{}
	require.NoError(t, yaml.UnmarshalStrict(raw, i))

	return i
}

// cases are the Ingresses in testdata; each has the routes it becomes beside it.
func cases(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)

	return files
}

// printed is what a user is shown: the warnings as comments, then the routes.
func printed(t *testing.T, r Result) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, w := range r.Warnings {
		fmt.Fprintf(&out, "# %s\n", w)
	}
	for _, route := range r.Routes {
		raw, err := yaml.Marshal(route)
		require.NoError(t, err)
		fmt.Fprintf(&out, "---\n%s", strings.ReplaceAll(string(raw), "status:\n  parents: null\n", ""))
	}

	return out.Bytes()
}

func TestIngressesBecomeRoutes(t *testing.T) {
	for _, file := range cases(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			result, err := Translate(ingress(t, file), options)
			require.NoError(t, err)
			golden := strings.TrimSuffix(file, ".yaml") + ".routes"
			if *update {
				require.NoError(t, os.WriteFile(golden, printed(t, result), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(printed(t, result)))
		})
	}
}

// What is printed is what the API server takes: both the Ingresses and the routes.
func TestTheAPIServerTakesTheRoutes(t *testing.T) {
	if testing.Short() {
		t.Skip("needs an API server")
	}
	cluster, err := devcluster.Start(t.Context(), devcluster.Options{APIServerOnly: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Stop()) })
	require.NoError(t, cluster.ApplyGatewayAPI(t.Context()))
	require.NoError(t, cluster.Apply(t.Context(), `{apiVersion: v1, kind: Namespace, metadata: {name: shop}}`))
	for _, file := range cases(t) {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, cluster.Apply(t.Context(), string(raw)), file)
		result, err := Translate(ingress(t, file), options)
		require.NoError(t, err)
		require.NotEmpty(t, result.Routes, file)
		require.NoError(t, cluster.Apply(t.Context(), string(printed(t, result))), file)
	}
}

func TestWhatCannotBeTranslated(t *testing.T) {
	rule := func(backend networkingv1.IngressBackend) networkingv1.IngressSpec {
		return networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{Host: "a.example.com", IngressRuleValue: networkingv1.IngressRuleValue{
			HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{Path: "/", Backend: backend}}},
		}}}}
	}
	service := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Name: "grpc"}}}
	for name, tc := range map[string]struct {
		annotations map[string]string
		spec        networkingv1.IngressSpec
		options     Options
		want        string
	}{
		"no Gateway":       {nil, rule(service), Options{}, "no Gateway is named"},
		"a named port":     {nil, rule(service), options, `spec.rules[0].http.paths[0].backend.service.port.name of Ingress "shop/web" is "grpc", and an HTTPRoute takes numbers only`},
		"a canary":         {map[string]string{"example.com/canary": "true"}, rule(service), Options{GatewayName: "g", AnnotationPrefix: "example.com"}, "is a canary Ingress (annotation example.com/canary)"},
		"nothing to route": {nil, networkingv1.IngressSpec{}, options, "there is nothing to route"},
		"no Service":       {nil, rule(networkingv1.IngressBackend{}), options, "names no Service"},
	} {
		t.Run(name, func(t *testing.T) {
			i := &networkingv1.Ingress{Spec: tc.spec}
			i.Name, i.Namespace, i.Annotations = "web", "shop", tc.annotations
			_, err := Translate(i, tc.options)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

// The path a client asks for and the one the backend sees, by hand from nginx's rules.
func TestRewritesOfPrefixes(t *testing.T) {
	for _, tc := range []struct{ path, target, prefix, becomes string }{
		{"/shop(/|$)(.*)", "/$2", "/shop", "/"},
		{"/shop(/|$)(.*)", "$1$2", "/shop", "/"},
		{"/shop(/|$)(.*)", "/new/$2", "/shop", "/new"},
		{"/shop(/|$)(.*)", "/shop/$2", "/shop", ""},
		{"/a/b/(.*)", "/$1", "/a/b", "/"},
		{"/(.*)", "/$1", "", ""},
		{"/(.*)", "/inner/$1", "", "/inner"},
		{"/shop(/.*)?", "/new$1", "/shop", "/new"},
		{"/shop(.*)", "$1", "/shop", "/"},
	} {
		prefix, rest, slashed, ok := prefixOf(tc.path)
		require.True(t, ok, tc.path)
		assert.Equal(t, tc.prefix, prefix, tc.path)
		change, ok := rewriteOf(tc.target, prefix, rest, slashed)
		require.True(t, ok, "%s to %s", tc.path, tc.target)
		if tc.becomes == "" {
			assert.Nil(t, change, "%s to %s", tc.path, tc.target)
		} else {
			require.NotNil(t, change, "%s to %s", tc.path, tc.target)
			assert.Equal(t, tc.becomes, *change.ReplacePrefixMatch, "%s to %s", tc.path, tc.target)
		}
	}
	for _, tc := range []struct{ path, target string }{
		{"/shop(/|$)(.*)", "/$1"}, {"/shop(/|$)(.*)", "/new$2"}, {"/shop(.*)", "/$1"}, {"/shop/(.*)", "/$1/x"},
	} {
		prefix, rest, slashed, ok := prefixOf(tc.path)
		require.True(t, ok)
		_, ok = rewriteOf(tc.target, prefix, rest, slashed)
		assert.False(t, ok, "%s to %s", tc.path, tc.target)
	}
}
