package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/internal/analysis"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	"github.com/sluice-rollouts/sluice/test/nodejs"
)

// A router in JavaScript through the whole of the host: a verified copy in
// another folder, an environment of its own, limits, and no credentials.
func TestARouterInNodejs(t *testing.T) {
	path := nodejs.Plugin(t, "trafficrouter")
	w := newWorld(t, nil)
	w.SetConfig(list(fmt.Sprintf("{name: example/edge-router, location: 'file://%s', sha256: %s,"+
		" grants: [{group: networking.k8s.io, kind: Ingress, verbs: [read, update]}]}", path, digest(t, path))))
	r := w.router("example/edge-router")
	req := request("")
	req.Config = json.RawMessage(`{"ingress":"web"}`)
	answer, problem := r.Observe(context.Background(), req)
	require.Nil(t, problem, "%v", problem)
	require.Len(t, answer.Needs, 1)
	assert.Equal(t, "Ingress", answer.Needs[0].Kind)
	assert.Equal(t, []rollout.GrantRule{{Group: "networking.k8s.io", Kind: "Ingress", Verbs: []string{"get", "list", "update", "watch"}}}, r.Grant().Rules)

	inputs := []rollout.NeedResult{{
		Need: answer.Needs[0], State: rollout.NeedSynced, APIVersion: "networking.k8s.io/v1",
		Objects: []rollout.Object{{APIVersion: "networking.k8s.io/v1", ResourceVersion: "7", JSON: []byte(
			`{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"web","namespace":"shop","resourceVersion":"7"},"spec":{"big":9007199254740993}}`)}},
	}}
	stage, problem := r.Route(context.Background(), rollout.RouteRequest{
		Target: req.Target, Config: req.Config, Desired: argoTraffic(10), Inputs: inputs, OperationID: "op",
	})
	require.Nil(t, problem, "%v", problem)
	require.Len(t, stage.Writes, 1)
	assert.Contains(t, string(stage.Writes[0].JSON), `"edge.example.com/canary-weight":"10"`)
	assert.Contains(t, string(stage.Writes[0].JSON), `"big":9007199254740993`)

	_, problem = r.Observe(context.Background(), rollout.ObserveRequest{Target: req.Target, Config: json.RawMessage(`{"ingres":"web"}`), TotalWeight: 100})
	require.NotNil(t, problem)
	assert.Equal(t, rollout.ProblemInvalid, problem.Class)
	assert.Contains(t, problem.Message, "ingres: unknown field")

	// V8 reserves far more than it uses. Only what it may write counts against
	// RLIMIT_DATA, so the bound every plugin has is wide enough.
	limits, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(w.pid("example/edge-router")), "limits"))
	require.NoError(t, err)
	assert.Regexp(t, `Max data size +1073741824 +1073741824 +bytes`, string(limits))
	used := memory(t, w.pid("example/edge-router"), "VmData")
	t.Logf("VmData %d MiB, VmRSS %d MiB, VmSize %d MiB", used, memory(t, w.pid("example/edge-router"), "VmRSS"), memory(t, w.pid("example/edge-router"), "VmSize"))
	assert.Less(t, used, 512, "MiB of the 1024 it may have, at rest")

	// It dies, and is back; it is killed with the host, and leaves nothing.
	pid := w.pid("example/edge-router")
	kill(t, pid, 9)
	w.eventually("its return", func() bool {
		answer, problem := r.Observe(context.Background(), req)
		return problem == nil && len(answer.Needs) == 1 && w.pid("example/edge-router") != pid
	})
	pid = w.pid("example/edge-router")
	w.stop()
	assert.False(t, alive(pid))
}

func memory(t *testing.T, pid int, field string) int {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	require.NoError(t, err)
	found := regexp.MustCompile(field + `:\s+(\d+) kB`).FindStringSubmatch(string(status))
	require.NotNil(t, found)
	kib, err := strconv.Atoi(found[1])
	require.NoError(t, err)
	return kib >> 10
}

func TestAMetricProviderInNodejs(t *testing.T) {
	path := nodejs.Plugin(t, "metricprovider")
	stats := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"ratio":0.25}`))
	}))
	t.Cleanup(stats.Close)
	w := newWorld(t, nil)
	entry := "- {name: example/json-metrics, location: 'file://%s', sha256: %s, config: {address: '%s'}}"
	w.SetConfig(map[string]string{"metricProviderPlugins": fmt.Sprintf(entry, path, digest(t, path), stats.URL)})
	p, problem := w.Provider("example/json-metrics")
	require.Nil(t, problem)
	answer, err := p.Measure(context.Background(), analysis.Request{MeasurementID: "m", Config: json.RawMessage(`{"path":"/","field":"ratio"}`)})
	require.NoError(t, err)
	require.NotNil(t, answer.Value)
	require.NotNil(t, answer.Value.Scalar)
	assert.Equal(t, 0.25, *answer.Value.Scalar)

	// A configuration it refuses does not take the place of the one it has.
	w.SetConfig(map[string]string{"metricProviderPlugins": fmt.Sprintf(entry, path, digest(t, path), "nowhere")})
	e := w.waitEvent(EventUpdateRefused, "address")
	assert.True(t, strings.Contains(e.Message, "must match pattern"), e.Message)
	_, err = p.Measure(context.Background(), analysis.Request{MeasurementID: "m2", Config: json.RawMessage(`{"path":"/","field":"ratio"}`)})
	require.NoError(t, err)
}
