package conformance_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/internal/sample"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	metricv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

func routerFixture() conformance.RouterFixture {
	return conformance.RouterFixture{
		Config: `{"route":"web"}`,
		Objects: []string{`{"apiVersion":"sample.sluice.dev/v1","kind":"Route","metadata":{"name":"web","namespace":"shop"},
			"spec":{"rules":[{"name":"of-others","timeout":1.50,"backends":[{"service":"x","weight":3}]},
			{"name":"main","backends":[{"service":"web-stable","weight":100,"zone":"a"},{"service":"web-canary","weight":0,"big":9007199254740993}]}]}}`},
		Converge: func(object *objects.Object) {
			generation, _ := object.Value("metadata", "generation")
			object.Set(generation, "status", "observedGeneration")
		},
	}
}

func providerFixture() conformance.ProviderFixture {
	return conformance.ProviderFixture{
		Config:  `{"from":"numbers"}`,
		Objects: []string{`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"numbers","namespace":"shop"},"data":{"value":"0.95"}}`},
		Check: func(answer *metricv1.MeasureResponse) error {
			if got := answer.GetValue().GetVector().GetValues(); len(got) != 1 || got[0] != 0.95 {
				return assert.AnError
			}

			return nil
		},
		Failing: `{"fail":"HTTP 500"}`,
		Hanging: `{"hang":true}`,
		Missing: `{"from":"nothing"}`,
	}
}

func inProcess(fault sample.Fault) conformance.Launcher {
	return func(ctx context.Context) (*conformance.Connection, error) {
		return conformance.InProcess(sample.Info(),
			trafficrouter.Service(&sample.Router{Fault: fault}),
			metricprovider.Service(sample.Provider{}))(ctx)
	}
}

// binaries is where the sample plugin is built to, once for all tests that run it.
var binaries string // a test's TempDir would be gone before the next test

var buildSample = sync.OnceValues(func() (string, error) { // built once
	path := filepath.Join(binaries, "sample-plugin")
	out, err := exec.Command("go", "build", "-o", path, "../internal/sample/sample-plugin").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}

	return path, nil
})

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sluice-sample-")
	if err != nil {
		panic(err)
	}
	binaries = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func binary(t *testing.T, args ...string) conformance.Launcher {
	t.Helper()
	path, err := buildSample()
	require.NoError(t, err)

	return conformance.Binary(path, args...)
}

func TestSampleRouterInProcess(t *testing.T) {
	t.Parallel()
	conformance.TestTrafficRouter(t, inProcess(sample.None), routerFixture())
}

func TestSampleRouterAsBinary(t *testing.T) {
	t.Parallel()
	conformance.TestTrafficRouter(t, binary(t), routerFixture())
}

func TestSampleProviderInProcess(t *testing.T) {
	t.Parallel()
	conformance.TestMetricProvider(t, inProcess(sample.None), providerFixture())
}

func TestSampleProviderAsBinary(t *testing.T) {
	t.Parallel()
	conformance.TestMetricProvider(t, binary(t), providerFixture())
}

func TestPendingMeasurementsAreFollowed(t *testing.T) {
	t.Parallel()
	conformance.TestMetricProvider(t, inProcess(sample.None), conformance.ProviderFixture{Config: `{"pending":3}`})
}

// Every fault of the sample is found, by the case that is about it.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()

	for fault, want := range map[sample.Fault]string{
		sample.DropsForeign:     "every pair of states is reached",
		sample.NeverDone:        "a state that is reached is not written again",
		sample.LeavesRoutes:     "a release leaves nothing",
		sample.LenientConfig:    "an unknown field of the configuration is refused with its path",
		sample.IgnoresMissing:   "a reference to nothing is refused as such",
		sample.RemembersWeights: "an observation says what is there, not what was asked for",
		sample.WritesTwice:      "every pair of states is reached",
		sample.TouchesStatus:    "every pair of states is reached",
		sample.Panics:           "what the fixture has is valid",
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			report, err := conformance.TrafficRouter(t.Context(), inProcess(fault), routerFixture())
			require.NoError(t, err)
			failed := map[string]string{}
			for _, result := range report.Failures() {
				failed[result.Case] = result.Detail
			}
			require.Contains(t, failed, want)
			t.Log(failed[want])
		})
	}
}

func TestAFaultIsFoundInABinaryToo(t *testing.T) {
	t.Parallel()
	report, err := conformance.TrafficRouter(t.Context(), binary(t, string(sample.LeavesRoutes)), routerFixture())
	require.NoError(t, err)
	assert.NotEmpty(t, report.Failures())
}

func TestWhatIsNoPluginIsAnError(t *testing.T) {
	t.Parallel()

	_, err := conformance.TrafficRouter(t.Context(), conformance.Binary("/bin/true"), routerFixture())
	require.ErrorContains(t, err, "/bin/true")
	_, err = conformance.TrafficRouter(t.Context(), conformance.InProcess(sample.Info(), metricprovider.Service(sample.Provider{})), routerFixture())
	require.ErrorContains(t, err, "does not offer sluice.plugin.trafficrouter.v1.TrafficRouter")
	_, err = conformance.TrafficRouter(t.Context(), conformance.InProcess(plugin.Info{Name: "x"}), routerFixture())
	require.ErrorContains(t, err, "semantic version")
}

func TestReportIsYAML(t *testing.T) {
	t.Parallel()

	report, err := conformance.MetricProvider(t.Context(), inProcess(sample.None), conformance.ProviderFixture{Config: `{"value":1}`})
	require.NoError(t, err)
	raw, err := report.YAML()
	require.NoError(t, err)
	for _, line := range []string{
		"plugin: sample", "version: 0.1.0", "service: sluice.plugin.metricprovider.v1.MetricProvider",
		"- CAPABILITY_PENDING", "- case: health is answered", "status: passed",
		"status: skipped", "detail: the fixture has no Failing",
	} {
		assert.Contains(t, string(raw), line)
	}
}
