package plugins

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/core/preview"
)

// The command line speaks of plugins without a controller to ask: it has to know the
// names that this package gives to bundled ones, and those that nothing serves.
func TestTheCommandLineKnowsTheBundledPlugins(t *testing.T) {
	assert.Equal(t, aliases, preview.Aliases)
	assert.ElementsMatch(t, slices.Collect(maps.Keys(retired)), preview.Retired)
	for alias, name := range aliases {
		assert.Contains(t, preview.Bundled(), alias)
		assert.Contains(t, preview.Bundled(), name)
	}
}
