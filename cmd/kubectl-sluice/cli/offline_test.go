package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/cmd/kubectl-sluice/cli"
)

// typed is a command line that needs no cluster, with stdin.
func typed(t *testing.T, stdin string, args ...string) (out, errs string, code int) {
	t.Helper()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	var o, e bytes.Buffer
	code = cli.Run(t.Context(), args, cli.Streams{In: strings.NewReader(stdin), Out: &o, Err: &e})
	return o.String(), e.String(), code
}

func canary(steps string) string {
	return `
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "example.com/web:v2"}]}
  strategy:
    canary:
      stableService: web-stable
      canaryService: web-canary
      trafficRouting: {nginx: {stableIngress: web}}
      steps: [` + steps + `]
---
apiVersion: v1
kind: Service
metadata: {name: web-stable}
spec: {selector: {app: web}}
---
apiVersion: v1
kind: Service
metadata: {name: web-canary}
spec: {selector: {app: web}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{host: web.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web-stable, port: {number: 80}}}}]}}]}
`
}

// Lint finds what a controller would refuse, and what no API server knows.
func TestLint(t *testing.T) {
	good := canary("{setWeight: 20}, {pause: {}}")
	for name, c := range map[string]struct {
		manifest string
		says     []string
		code     int
	}{
		"nothing wrong":       {good, []string{"4 documents, nothing wrong"}, 0},
		"weight out of range": {canary("{setWeight: 200}"), []string{"steps[0].setWeight", "200 is not between 0 and 100"}, 1},
		"field misspelt":      {strings.Replace(good, "stableIngress: web", "stableIngres: web", 1), []string{"stableIngres: is no field", "set exactly one of stableIngress"}, 1},
		"foreign Service":     {strings.Replace(good, "metadata: {name: web-canary}\nspec: {selector: {app: web}}", "metadata: {name: web-canary}\nspec: {selector: {app: other}}", 1), []string{`Service "web-canary" selects app=other`}, 1},
		"Ingress elsewhere":   {strings.Replace(good, "service: {name: web-stable", "service: {name: other", 1), []string{`Ingress "web" has no rule whose backend is the stableService`}, 1},
		"not in the file":     {strings.SplitN(good, "---", 2)[0], []string{"Service web-stable is not among the manifests", "1 documents, nothing wrong"}, 0},
		"key twice":           {strings.Replace(good, "replicas: 4", "replicas: 4\n  replicas: 5", 1), []string{`key "replicas" already set in map`}, 1},
		"router cannot":       {canary(`{setHeaderRoute: {name: beta, match: [{headerName: x, headerValue: {exact: a}}]}}`), []string{"spec.strategy.canary"}, 1},
		"template": {`{apiVersion: argoproj.io/v1alpha1, kind: AnalysisTemplate, metadata: {name: t}, spec: {metrics: [{name: m, successCondition: "result >", provider: {web: {url: "http://x"}}}]}}`,
			[]string{"AnalysisTemplate t", "metrics[0]"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			out, errs, code := typed(t, c.manifest, "lint", "-f", "-")
			assert.Equal(t, c.code, code, "%s%s", out, errs)
			for _, text := range c.says {
				assert.Contains(t, out+errs, text)
			}
		})
	}
}

// A plan of a file tells weights, pods and the pause of a person, in order.
func TestPlanOfAFile(t *testing.T) {
	out, errs, code := typed(t, canary("{setWeight: 25}, {pause: {}}, {setWeight: 50}, {pause: {duration: 1h}}"), "plan", "-f", "-")
	require.Zero(t, code, errs)
	at := 0
	for _, text := range []string{
		"1 wanted (was 0)", "web-canary: selects", "web-canary 25 / web-stable 75", "somebody promotes (CanaryPauseStep)", "2 wanted (was 1)", "web-canary 50 / web-stable 50",
		"4 wanted (was 2)", "web-canary 100 / web-stable 0", "web-stable: selects", "web-canary 0 / web-stable 100", "0 wanted (was 4)", "ends     Healthy", "at most  8 pods at once",
	} {
		next := strings.Index(out[at:], text)
		require.GreaterOrEqual(t, next, 0, "%q is missing, or too early, in\n%s", text, out)
		at += next
	}
	assert.Contains(t, out, "1h", "the pause counts")

	out, _, code = typed(t, canary("{setWeight: 25}"), "plan", "-f", "-", "--without-plugin", "nginx")
	assert.Equal(t, cli.ExitFailed, code)
	assert.Contains(t, out, `problem  router plugin "nginx" is not installed`)
	_, errs, code = typed(t, canary("{setWeight: 200}"), "plan", "-f", "-")
	assert.Equal(t, cli.ExitFailed, code)
	assert.Contains(t, errs, "200 is not between 0 and 100")
}

// A folder stands for the manifests in it, as with kubectl.
func TestFolders(t *testing.T) {
	dir := t.TempDir()
	_, errs, code := typed(t, "", "lint", "-f", dir)
	assert.Equal(t, cli.ExitFailed, code)
	assert.Contains(t, errs, dir+": no file in this folder ends in .yaml, .yml or .json")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "README.md"), []byte("no manifest: {"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "web.yaml"), []byte(canary("{setWeight: 25}")), 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "more.yaml"), 0o700))
	for _, line := range []string{"lint -f ", "plan -f "} {
		_, errs, code = typed(t, "", strings.Fields(line+dir)...)
		assert.Zero(t, code, errs)
	}
}

// Who is to be steered has to be said.
func TestNamesThatAreMissing(t *testing.T) {
	for line, want := range map[string]string{
		"why":                  "give the name of one rollout",
		"why a b":              "2 were given",
		"abort":                "give the name of a rollout",
		"get experiment":       "give the name of one experiment",
		"terminate experiment": "give the name of one experiment",
		"set image web":        "give the name of a rollout and CONTAINER=IMAGE",
	} {
		_, errs, code := typed(t, "", strings.Fields(line)...)
		assert.Equal(t, cli.ExitUsage, code, line)
		assert.Contains(t, errs, want, line)
	}
}

// An Ingress becomes an HTTPRoute that a Rollout can split.
func TestMigrateIngress(t *testing.T) {
	out, errs, code := typed(t, canary(""), "migrate", "ingress", "-f", "-", "--gateway", "edge", "--stable-service", "web-stable", "--canary-service", "web-canary")
	require.Zero(t, code, errs)
	for _, text := range []string{"kind: HTTPRoute", "name: edge", "web.example.com", "name: web-stable", "name: web-canary", "weight: 100"} {
		assert.Contains(t, out, text)
	}
	assert.NotContains(t, out, "status:")
}

// Without a kubeconfig, every command that needs a cluster says what to do.
func TestNoCluster(t *testing.T) {
	for _, line := range []string{"get rollout web", "why web", "abort web", "list rollouts", "migrate", "plugins"} {
		_, errs, code := typed(t, "", strings.Fields(line)...)
		assert.Equal(t, cli.ExitFailed, code, line)
		assert.Contains(t, errs, "no cluster to talk to", line)
		assert.Contains(t, errs, "KUBECONFIG", line)
	}
}

// Every command explains itself, and nothing is coloured where nobody looks.
func TestHelp(t *testing.T) {
	for _, line := range []string{"", "why", "plan", "lint", "migrate", "migrate ingress", "plugins", "plugins test", "promote", "status", "create analysisrun", "completion bash"} {
		out, errs, code := typed(t, "", append(strings.Fields(line), "--help")...)
		require.Zero(t, code, "%s: %s", line, errs)
		assert.Contains(t, out, "kubectl sluice", line)
		assert.NotContains(t, out, "\x1b", line)
	}
	_, errs, code := typed(t, "", "plugins", "test", os.DevNull)
	assert.Equal(t, cli.ExitFailed, code)
	assert.Contains(t, errs, os.DevNull)
}
