package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
)

// sample is the SDK's sample plugin, built once.
var sample string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "plugin-conformance-")
	if err != nil {
		panic(err)
	}
	sample = filepath.Join(dir, "sample")
	if out, err := exec.Command("go", "build", "-o", sample, "../../sdk/internal/sample/sample-plugin").CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = run(t.Context(), args, &out, &errs)

	return code, out.String(), errs.String()
}

// With a fixture, everything there is to check is checked.
func TestAFixtureLeavesNothingOut(t *testing.T) {
	code, out, errs := command(t, "--fixture", "testdata/sample.yaml", sample)
	assert.Equal(t, passed, code, out+errs)
	assert.Contains(t, out, "ok    every pair of states is reached\n")
	assert.Contains(t, out, "ok    a system that hangs holds up nobody else\n")
	assert.Contains(t, out, "ok    a step that fails says so\n")
	assert.Contains(t, out, " 0 failed,")
	assert.NotContains(t, out, "Without a fixture")
}

func TestAFailureIsShownWithItsCure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fixture.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`metricProvider: {config: {value: 1}, expect: "2"}`), 0o600))
	code, out, _ := command(t, "--fixture", path, sample)
	assert.Equal(t, failed, code)
	assert.Contains(t, out, "FAIL  a measurement has an outcome\n          found: measured 1, expected 2\n          cure:  When every need is answered")
}

func TestNoFixture(t *testing.T) {
	code, out, _ := command(t, sample)
	assert.Equal(t, passed, code, out)
	assert.Contains(t, out, "skipped: this case needs a block that the plugin accepts, and it refuses {}: route: is required")
	assert.Contains(t, out, "--print-fixture "+sample+" > fixture.yaml is a start")

	code, out, _ = command(t, "--print-fixture", sample)
	assert.Equal(t, passed, code)
	for _, part := range []string{"trafficRouter:\n", "metricProvider:\n", "step:\n", "apiVersion: sample.sluice.dev/…\n      kind: Route\n"} {
		assert.Contains(t, out, part)
	}
}

func TestTheReportCanBeRead(t *testing.T) {
	var reports conformance.Reports
	code, out, _ := command(t, "-o", "json", sample)
	assert.Equal(t, passed, code)
	require.NoError(t, json.Unmarshal([]byte(out), &reports))
	require.Len(t, reports, 4)
	assert.Equal(t, "sample", reports[0].Plugin)

	code, out, _ = command(t, "-o", "yaml", sample)
	assert.Equal(t, passed, code)
	var again conformance.Reports
	require.NoError(t, yaml.Unmarshal([]byte(out), &again))
	assert.Len(t, again, 4)
}

// Wrong input is an error that names what is wrong, and exit status 2.
func TestWrongInput(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "fixture.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))

		return path
	}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"nothing":          {nil, "name the plugin's executable"},
		"unknown flag":     {[]string{"--fixtures", "x", sample}, "flag provided but not defined: -fixtures"},
		"unknown format":   {[]string{"-o", "xml", sample}, "want text, yaml or json"},
		"no such binary":   {[]string{"./nothing"}, "./nothing: there is no such file"},
		"no plugin":        {[]string{"/bin/true"}, "is it a plugin?"},
		"no such fixture":  {[]string{"--fixture", "/nothing.yaml", sample}, "reading the fixture: open /nothing.yaml"},
		"unknown field":    {[]string{"--fixture", write("trafficRouter: {confg: {}}"), sample}, `unknown field "confg"`},
		"empty fixture":    {[]string{"--fixture", write(""), sample}, "it has none of"},
		"no config":        {[]string{"--fixture", write("step: {}"), sample}, "step.config: is required"},
		"config is a list": {[]string{"--fixture", write("step: {config: []}"), sample}, "step.config: want a mapping"},
		"no such server":   {[]string{"--fixture", write("step: {config: {url: '${good}'}}"), sample}, "step.config: ${good} is not one of servers"},
		"no object":        {[]string{"--fixture", write("step: {config: {}, objects: [{kind: X}]}"), sample}, "step.objects[0]: object has"},
		"converges to nil": {[]string{"--fixture", write("step: {config: {}, converge: [{kind: X}]}"), sample}, "step.converge[0].set: is required"},
		"bad process":      {[]string{"--fixture", write("{process: {a: 1}, step: {config: {}}}"), sample}, "takes no configuration; correct `process` in the fixture"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := command(t, test.args...)
			assert.Equal(t, unusable, code)
			assert.Contains(t, errs, test.want)
		})
	}
}
