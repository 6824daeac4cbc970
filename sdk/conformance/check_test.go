package conformance_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/internal/sample"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/step"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

func statuses(reports conformance.Reports) map[string]conformance.Status {
	all := map[string]conformance.Status{}
	for _, report := range reports {
		short := report.Service[strings.LastIndex(report.Service, ".")+1:]
		for _, result := range report.Results {
			all[short+": "+result.Case] = result.Status
		}
	}

	return all
}

// A binary with three services and no fixture: what can be said without one is said, the rest names what is missing.
func TestCheckWithoutAFixture(t *testing.T) {
	t.Parallel()

	reports, err := conformance.Check(t.Context(), binary(t), conformance.Fixtures{})
	require.NoError(t, err)
	assert.Empty(t, reports.Failures())
	got := statuses(reports)
	for name, want := range map[string]conformance.Status{
		"Lifecycle: it introduces itself as a host can use it":                           conformance.Passed,
		"Lifecycle: only its host can talk to it":                                        conformance.Passed,
		"Lifecycle: nothing but the handshake is on standard output":                     conformance.Passed,
		"TrafficRouter: health is answered":                                              conformance.Passed,
		"TrafficRouter: an unknown field of the configuration is refused with its path":  conformance.Passed,
		"TrafficRouter: wrong sums and negative weights are refused":                     conformance.Passed,
		"TrafficRouter: every pair of states is reached":                                 conformance.Skipped,
		"Step: a call that is repeated because its answer was lost is the same step":     conformance.Passed,
		"MetricProvider: an unknown field of the configuration is refused with its path": conformance.Passed,
		"MetricProvider: a measurement never started can be cancelled":                   conformance.Skipped,
	} {
		assert.Equal(t, want, got[name], name)
	}
	var text strings.Builder
	require.NoError(t, reports.Text(&text))
	assert.Contains(t, text.String(), `it refuses {}: route: is required`)
	assert.Contains(t, text.String(), "traffic router (observe, header routes)\n  ok    health is answered\n")
}

// With a fixture a fault is found, and the report says what to do about it.
func TestCheckFindsAFault(t *testing.T) {
	t.Parallel()

	fixture, other := gateFixture(), routerFixture()
	reports, err := conformance.Check(t.Context(), gateLauncher("leaves a mark"), conformance.Fixtures{Step: &fixture})
	require.NoError(t, err)
	assert.Equal(t, conformance.Failed, statuses(reports)["Step: a step that was successful is undone by an abort"])
	var text strings.Builder
	require.NoError(t, reports.Text(&text))
	assert.Contains(t, text.String(), "  FAIL  a step that was successful is undone by an abort\n          found: after the abort")
	assert.Contains(t, text.String(), "          cure:  Abort undoes what Run has done")

	_, err = conformance.Check(t.Context(), conformance.InProcess(gateInfo(), step.Service(gate{})), conformance.Fixtures{Router: &other})
	require.ErrorContains(t, err, "the fixture is for a traffic router, and the plugin offers [sluice.plugin.step.v1.Step] only")
}

func TestEveryCaseHasACure(t *testing.T) {
	t.Parallel()
	assert.Empty(t, conformance.CasesWithoutCure())
}

// What goes wrong with the introduction of a plugin in any language.
func TestFaultsOfAnyPluginAreFound(t *testing.T) {
	t.Parallel()

	lenient := sample.Info()
	lenient.Configure = func(context.Context, []byte) error { return nil }
	slow := sample.Info()
	slow.Close = func(ctx context.Context) error {
		<-ctx.Done()

		return ctx.Err()
	}
	refuses := sample.Info()
	refuses.Configure = func(context.Context, []byte) error { return plugin.InvalidConfig("url", "is required") }
	check := func(info plugin.Info) (conformance.Reports, error) {
		return conformance.Check(t.Context(), conformance.InProcess(info, metricprovider.Service(sample.Provider{})), conformance.Fixtures{})
	}

	reports, err := check(lenient)
	require.NoError(t, err)
	assert.Equal(t, conformance.Failed, statuses(reports)["Lifecycle: an unknown field of the process configuration is refused"])
	reports, err = check(slow)
	require.NoError(t, err)
	assert.Equal(t, conformance.Failed, statuses(reports)["Lifecycle: it closes in time"])
	_, err = check(refuses)
	require.EqualError(t, err, "plugin sample refuses its process-level configuration: url: is required; give the fixture a `process` that the plugin accepts")
}

// A handshake written by hand, with the mistakes one makes.
func TestStrangersAndChatterAreFound(t *testing.T) {
	t.Parallel()

	reports, err := conformance.Check(t.Context(), binary(t, "is open to strangers"), conformance.Fixtures{})
	require.NoError(t, err)
	var failed []string
	for _, result := range reports.Failures() {
		failed = append(failed, result.Case+": "+result.Detail)
	}
	assert.Equal(t, []string{
		"only its host can talk to it: a client without a certificate was answered",
		`nothing but the handshake is on standard output: it printed "Listening\n"`,
	}, failed)
}

// A plugin that does not survive a call: the case says how it ended, and the rest is not run into the void.
func TestAPluginThatEndsIsTold(t *testing.T) {
	t.Parallel()

	fixture := routerFixture()
	reports, err := conformance.Check(t.Context(), binary(t, string(sample.Ends)), conformance.Fixtures{Router: &fixture})
	require.NoError(t, err)
	failures := reports.Failures()
	require.Len(t, failures, 1)
	assert.Equal(t, "an observation has no effect and names places and claims", failures[0].Case)
	assert.Contains(t, failures[0].Detail, "the plugin ended (exit status 2); it said last: panic: goodbye")
	assert.Contains(t, failures[0].Cure, "survives every call")
	last := reports[1].Results[len(reports[1].Results)-1]
	assert.Equal(t, conformance.Skipped, last.Status)
	assert.Equal(t, `the plugin did not survive "an observation has no effect and names places and claims"`, last.Detail)
}

// What is not a plugin is told from what is one, with what it does instead.
func TestWhatIsNoPlugin(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	script := func(name, body string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(body), mode))

		return path
	}
	certificate := strings.Repeat("A", 60)
	for name, test := range map[string]struct{ path, want string }{
		"missing":        {filepath.Join(dir, "nothing"), "there is no such file"},
		"not in PATH":    {"no-such-plugin-anywhere", "neither here nor in PATH"},
		"a directory":    {dir, "this is a directory"},
		"not executable": {script("plain", "hello", 0o600), "chmod +x it"},
		"no program":     {script("text", "hello", 0o700), "neither a program for this machine nor a script"},
		"no interpreter": {script("lost", "#!/no/such/interpreter\n", 0o700), "the interpreter its first line names is not there"},
		"ends":           {script("ends", "#!/bin/sh\necho oh no >&2; exit 3\n", 0o700), "it ended (exit status 3) before it printed a handshake on its standard output; is it a plugin?; it said last: oh no"},
		"chats":          {script("chats", "#!/bin/sh\necho Starting up; sleep 100\n", 0o700), `the first line on its standard output is "Starting up", which is no handshake`},
		"no newline":     {script("bare", "#!/bin/sh\nprintf '1|1|unix|%s/s|grpc|"+certificate+"' $PLUGIN_UNIX_SOCKET_DIR\n", 0o700), "a line without an end"},
		"tcp":            {script("tcp", "#!/bin/sh\necho '1|1|tcp|127.0.0.1:1|grpc|"+certificate+"'; sleep 100\n", 0o700), "announces a tcp address: want unix"},
		"elsewhere":      {script("elsewhere", "#!/bin/sh\necho '1|1|unix|/tmp/s|grpc|"+certificate+"'; sleep 100\n", 0o700), "not in the directory PLUGIN_UNIX_SOCKET_DIR names"},
		"net/rpc":        {script("netrpc", "#!/bin/sh\necho '1|1|unix|/tmp/s|netrpc|'; sleep 100\n", 0o700), "want grpc; plugins built for Argo Rollouts"},
		"another epoch":  {script("epoch", "#!/bin/sh\necho '1|2|unix|/tmp/s|grpc|'; sleep 100\n", 0o700), `protocol version "2": want 1`},
		"no certificate": {script("plaintext", "#!/bin/sh\necho \"1|1|unix|$PLUGIN_UNIX_SOCKET_DIR/s|grpc|\"; sleep 100\n", 0o700), "no certificate in the sixth field"},
		"another cookie": {script("cookie", "#!/bin/sh\necho 'This binary is a plugin. These are not meant to be executed directly.' >&2; exit 1\n", 0o700), "it is a plugin of another host"},
		"nobody listens": {script("deaf", "#!/bin/sh\necho \"1|1|unix|$PLUGIN_UNIX_SOCKET_DIR/s|grpc|"+certificate+"\"; sleep 100\n", 0o700), "server cert"},
		"hangs":          {script("hangs", "#!/bin/sh\nsleep 1000\n", 0o700), "it runs, but did not print a handshake within 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			launch := conformance.Binary(test.path)
			if name == "hangs" {
				launch = conformance.BinaryWithin(time.Second, test.path)
			}
			_, err := conformance.Check(t.Context(), launch, conformance.Fixtures{})
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, test.path)
		})
	}
	_, err := conformance.Check(t.Context(), conformance.InProcess(plugin.Info{Name: "Upper", Version: "1.0.0"}, trafficrouter.Service(&sample.Router{})), conformance.Fixtures{})
	require.Error(t, err)
}
