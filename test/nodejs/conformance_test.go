package nodejs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/conformance/fixture"
)

// The same suites that plugins in Go pass, AutoMTLS and the silence of standard output included.
func TestPluginsInNodejsConform(t *testing.T) {
	for _, name := range []string{"trafficrouter", "metricprovider"} {
		t.Run(name, func(t *testing.T) {
			binary := Plugin(t, name)
			fixtures, closeAll, err := fixture.Load(Fixture(name))
			t.Cleanup(closeAll)
			require.NoError(t, err)
			conformance.TestPlugin(t, conformance.Binary(binary), fixtures)
		})
	}
}

// Run by hand it says what it is; and an installation is the same everywhere, whichever registry is near.
func TestNodejsPluginsAreOrdinaryPrograms(t *testing.T) {
	binary := Plugin(t, "trafficrouter")
	_, err := conformance.Introduce(t.Context(), conformance.Binary("/usr/bin/env", "-u", "SLUICE_PLUGIN", binary))
	require.ErrorContains(t, err, "This is a plugin of Sluice. It is started by the controller, or by plugin-conformance.")
}

func TestNodejsLockFileNamesNoOtherRegistry(t *testing.T) {
	lock, err := os.ReadFile(filepath.Join(example(), "package-lock.json"))
	require.NoError(t, err)
	for line := range strings.Lines(string(lock)) {
		if strings.Contains(line, `"resolved":`) {
			assert.Contains(t, line, `"https://registry.npmjs.org/`)
		}
	}
	assert.Contains(t, string(lock), `"integrity": "sha512-`)
}
