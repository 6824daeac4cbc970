package quiet

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const metrics = `# TYPE sluice_plugin_calls_total counter
sluice_plugin_calls_total{plugin="gatewayapi",method="Observe",code="OK"} 7
sluice_plugin_calls_total{plugin="gatewayapi",method="Observe",code="Unavailable"} 1
sluice_plugin_calls_total{plugin="prometheus",method="Measure",code="OK"} 3
# TYPE sluice_plugin_health_checks_total counter
sluice_plugin_health_checks_total{plugin="gatewayapi"} 12
# TYPE sluice_api_requests_total counter
sluice_api_requests_total{verb="GET",resource="rollouts",code="200"} 5
sluice_api_requests_total{verb="PATCH",resource="rollouts",code="200"} 4
sluice_api_requests_total{verb="patch",resource="httproutes",code="409"} 1
sluice_api_requests_total{verb="PUT",resource="leases",code="200"} 30
`

func TestReadController(t *testing.T) {
	got, err := ReadController(strings.NewReader(metrics))
	require.NoError(t, err)
	assert.Equal(t, Controller{
		Calls:        Counts{"gatewayapi Observe": 8, "prometheus Measure": 3},
		HealthChecks: Counts{"gatewayapi": 12},
		Writes:       Counts{"PATCH rollouts": 4, "patch httproutes": 1},
		Leases:       Counts{"PUT leases": 30},
	}, got)
}

func TestAMissingCounterIsNotZero(t *testing.T) {
	for _, name := range []string{callsCounter, healthCounter, requestCounter} {
		_, err := ReadController(strings.NewReader(strings.ReplaceAll(metrics, name, "other_total")))
		require.ErrorContains(t, err, name)
	}
	_, err := ReadController(strings.NewReader("not metrics at all\n"))
	require.Error(t, err)
}

func TestSinceShowsOnlyWhatWasAdded(t *testing.T) {
	before, err := ReadController(strings.NewReader(metrics))
	require.NoError(t, err)
	more := strings.NewReplacer(`leases",code="200"} 30`, `leases",code="200"} 36`, `Measure",code="OK"} 3`, `Measure",code="OK"} 4`)
	after, err := ReadController(strings.NewReader(more.Replace(metrics)))
	require.NoError(t, err)
	added := after.Since(before)
	assert.Equal(t, "6 PUT leases", added.Leases.String())
	assert.Equal(t, "1 prometheus Measure", added.Calls.String())
	assert.Equal(t, 1, added.Calls.Total())
	assert.Equal(t, "none", added.Writes.String())
	assert.Zero(t, added.Writes.Total())
}

func TestReadAudit(t *testing.T) {
	log := `{"verb":"patch","user":{"username":"controller"},"objectRef":{"resource":"rollouts","subresource":"status"}}
{"verb":"update","user":{"username":"controller"},"objectRef":{"resource":"leases"}}
{"verb":"patch","user":{"username":"controller"},"objectRef":{"resource":"rollouts","subresource":"status"}}
{"verb":"create","user":{"username":"kubelet"},"objectRef":{"resource":"tokenreviews"}}
{"verb":"delete","user":{"username":"kubelet"},"objectRef":{"resource":"pods"}}
`
	got, err := ReadAudit(strings.NewReader(log))
	require.NoError(t, err)
	assert.Equal(t, map[string]Counts{"controller": {"patch rollouts/status": 2}, "kubelet": {"delete pods": 1}}, got)

	_, err = ReadAudit(strings.NewReader("{half a line\n"))
	require.Error(t, err)
}
