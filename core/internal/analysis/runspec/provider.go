package runspec

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

var (
	errNoProvider    = errors.New("no provider specified")
	errManyProviders = errors.New("multiple providers specified")
)

// Provider maps a provider block to the plugin that serves it and the block to
// send: the key of the plugin map for "plugin", otherwise the name of the block
// itself ("prometheus", "job", "web", …). It errors unless exactly one provider
// is set; entries of the plugin map count one each.
func Provider(provider v1alpha1.MetricProvider) (plugin string, config json.RawMessage, err error) {
	raw, err := json.Marshal(provider)
	if err != nil {
		return "", nil, fmt.Errorf("encode provider: %w", err)
	}
	var blocks map[string]json.RawMessage
	if err := json.Unmarshal(raw, &blocks); err != nil {
		return "", nil, fmt.Errorf("decode provider: %w", err)
	}
	delete(blocks, "plugin")
	if len(blocks)+len(provider.Plugin) > 1 {
		return "", nil, errManyProviders
	}
	for name, block := range blocks {
		return name, block, nil
	}
	for name, block := range provider.Plugin {
		return name, block, nil
	}
	return "", nil, errNoProvider
}
