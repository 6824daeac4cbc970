package plugins

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEgressRulesReachEveryEntry: what an administrator allows is part of each
// process's configuration; what cannot be read is told, and allows nothing.
func TestEgressRulesReachEveryEntry(t *testing.T) {
	data := map[string]string{
		"metricProviderPlugins": "- {name: acme/metrics, " + someFile + "}",
		keyEgressAllow:          "10.0.0.0/8, prometheus.monitoring:9090 # ours\nhttp://",
		keyEgressRefuse:         "192.0.2.1",
	}
	c := buildCatalog(data, bundledFiles, nil, policy{})
	c.obeyEgress(data, []string{"203.0.113.1:6443"})

	want := egressRules{allow: []string{"10.0.0.0/8", "prometheus.monitoring:9090"}, refuse: []string{"192.0.2.1", "203.0.113.1:6443"}}
	for name, e := range c.bundled {
		assert.Equal(t, want, e.egress, name)
	}
	listed, found := c.find(KindMetricProvider, "acme/metrics")
	require.True(t, found)
	assert.Equal(t, want, listed.entry.egress)
	assert.Contains(t, c.complaints[keyEgressAllow], `"http://"`)
	assert.Contains(t, c.complaints[keyEgressAllow], "the other entries hold")

	again := buildCatalog(data, bundledFiles, c, policy{})
	again.obeyEgress(data, []string{"203.0.113.1:6443"})
	other, _ := again.find(KindMetricProvider, "acme/metrics")
	assert.True(t, listed.entry.same(other.entry), "the same rules do not start a process anew")
}
