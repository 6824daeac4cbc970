package plugins

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

func digest(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func copyEvil(t *testing.T, to string) {
	t.Helper()
	data, err := os.ReadFile(evil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to+".new", data, 0o700))
	require.NoError(t, os.Rename(to+".new", to))
}

// A host with nothing at all, or with nonsense, is up and says what is missing.
func TestHostWithoutPlugins(t *testing.T) {
	w := newWorld(t, nil)
	_, problem := w.Router("gatewayapi")
	require.NotNil(t, problem)
	assert.Equal(t, rollout.ProblemUnavailable, problem.Class)
	assert.Equal(t, "PluginUnavailable", problem.Reason)
	assert.Contains(t, problem.Message, `traffic router plugin "gatewayapi" is not installed`)
	for _, name := range []string{"ambassador", "appMesh"} { // blocks of Argo's that nobody answers to
		_, problem := w.Router(name)
		require.NotNil(t, problem)
		assert.Contains(t, problem.Message, "argoproj-labs/gatewayAPI", "what to use instead")
	}

	w.SetConfig(map[string]string{"trafficRouterPlugins": "{{{", "metricProviderPlugins": "[]"})
	w.waitEvent(EventConfigRefused, "trafficRouterPlugins is not a YAML list")

	// It appears, and the rollouts that wait for it are told.
	w.bundle("gatewayapi")
	w.eventually("change of gatewayapi", func() bool {
		found := false
		w.note(func() { found = len(w.changes) > 0 && w.changes[0] == "gatewayapi" })
		return found
	})
	require.Nil(t, w.Installed("argoproj-labs/gatewayAPI", KindTrafficRouter))
	mustObserve(w, "argoproj-labs/gatewayAPI")
}

// Two controllers in one process share the registry, and the metrics.
func TestTwoHostsOneRegistry(t *testing.T) {
	into := prometheus.NewRegistry()
	a, err := New(Options{Registerer: into})
	require.NoError(t, err)
	b, err := New(Options{Registerer: into})
	require.NoError(t, err)
	assert.Same(t, a.metrics.calls, b.metrics.calls)
}

func TestPluginStartsWhenFirstNeeded(t *testing.T) {
	w := newWorld(t, nil, "good")
	require.Nil(t, w.Installed("good", KindTrafficRouter))
	assert.Equal(t, StateStopped, w.State("good"), "nobody needs it yet")

	r := w.router("good")
	capabilities, problem := r.Capabilities(context.Background())
	require.Nil(t, problem)
	assert.Equal(t, rollout.Capabilities{Observe: true, MaxWeight: true}, capabilities)
	assert.Equal(t, StateReady, w.State("good"))
	assert.Regexp(t, `^good@1\.2\.3#\d+$`, r.Generation())
	assert.Zero(t, w.count("calls", "good", "TrafficRouter/Observe", "OK"))

	answer := mustObserve(w, "good")
	assert.Contains(t, answer.Observation.Message, fmt.Sprintf("pid %d ", w.pid("good")))
	assert.Equal(t, 1.0, w.count("calls", "good", "TrafficRouter/Observe", "OK"))
	w.eventually("health checks, counted apart", func() bool { return w.count("health", "good", "OK") > 0 })
	assert.Equal(t, 1.0, w.count("calls", "good", "TrafficRouter/Observe", "OK"))

	pid := w.pid("good")
	w.stop()
	assert.False(t, alive(pid))
	assert.Equal(t, StateStopped, w.State("good"))
	_, problem = r.Observe(context.Background(), request(""))
	require.NotNil(t, problem)
	assert.Equal(t, rollout.ProblemUnavailable, problem.Class)
}

// A plugin sees nothing of the controller that it was not given.
func TestPluginEnvironment(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hush")
	t.Setenv("HTTPS_PROXY", "http://proxy:3128")
	w := newWorld(t, nil, "evil")
	said := mustObserve(w, "evil").Observation.Message
	assert.NotContains(t, said, "KUBERNETES")
	assert.NotContains(t, said, "AWS")
	assert.NotContains(t, said, "PROXY")

	w.SetConfig(list(`{name: evil, credentials: inherit, env: [{name: COLOUR, value: red}, {name: AWS_SECRET_ACCESS_KEY}], args: [one, two]}`))
	w.eventually("the new settings", func() bool {
		return strings.Contains(mustObserve(w, "evil").Observation.Message, "args one,two ")
	})
	said = mustObserve(w, "evil").Observation.Message
	for _, name := range []string{"COLOUR", "AWS_SECRET_ACCESS_KEY", "KUBERNETES_SERVICE_HOST", "HTTPS_PROXY"} {
		assert.Contains(t, said, name)
	}
}

// The ConfigMap brings a plugin; its digest is checked at every start.
func TestListedPlugin(t *testing.T) {
	w := newWorld(t, nil)
	path := filepath.Join(t.TempDir(), "router")
	copyEvil(t, path)
	entry := fmt.Sprintf("{name: acme/router, location: 'file://%s', sha256: %s}", path, digest(t, path))
	w.SetConfig(list(entry, "{name: acme/typo, loction: x}"))

	mustObserve(w, "acme/router")
	assert.Empty(t, w.router("acme/router").Grant().Rules, "nothing is granted without grants")
	e := w.waitEvent(EventNoGrants, "acme/router")
	assert.Contains(t, e.Message, `grants:
- {group: "gateway.networking.k8s.io", kind: HTTPRoute, verbs: [get, list, update, watch]}
- {group: "", kind: Pod, verbs: [get, list, watch]}`)
	assert.NotContains(t, e.Message, "Secret")

	w.waitEvent(EventConfigRefused, `trafficRouterPlugins[1] (acme/typo) is refused: unknown field "loction"`)
	_, problem := w.Router("acme/typo")
	require.NotNil(t, problem)
	assert.Contains(t, problem.Message, "loction")

	// Somebody replaces the file: it is not run again, and says why.
	require.NoError(t, os.WriteFile(path+".new", []byte("#!/bin/sh\nexit 0\n"), 0o700))
	require.NoError(t, os.Rename(path+".new", path))
	kill(t, w.pid("acme/router"), 9)
	_ = w.problemOf("acme/router", "its sha256 is not the one in the plugin ConfigMap; it was not run")
	copyEvil(t, path)
	w.eventually("repair without a restart", func() bool { return w.State("acme/router") == StateReady })
}

func TestGrants(t *testing.T) {
	w := newWorld(t, nil, "evil")
	mustObserve(w, "evil")
	read := []string{"get", "list", "watch"}
	route := rollout.GrantRule{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Verbs: []string{"get", "list", "update", "watch"}}
	pods := rollout.GrantRule{Kind: "Pod", Verbs: read}
	assert.Equal(t, []rollout.GrantRule{route, pods}, w.router("evil").Grant().Rules,
		"a bundled plugin gets what it asks for, but never Secrets or Rollouts")
	assert.Equal(t, map[string]string{"managed-by": "evil"}, w.router("evil").Wants("", "Pod").MatchLabels)
	assert.Nil(t, w.router("evil").Wants("", "Service"))

	w.SetConfig(list(`{name: evil, grants: [{group: gateway.networking.k8s.io, kind: HTTPRoute, verbs: [read, delete]}], allowNamespaces: [infra]}`))
	want := rollout.Grant{
		Rules:           []rollout.GrantRule{{Group: route.Group, Kind: route.Kind, Verbs: read}},
		AllowNamespaces: []string{"infra"},
	}
	w.eventually("the narrower grant", func() bool { return assert.ObjectsAreEqual(want, w.router("evil").Grant()) })
}

// A change of an entry replaces the process without dropping a call.
func TestHotReload(t *testing.T) {
	w := newWorld(t, nil, "evil")
	mustObserve(w, "evil")
	old, oldGeneration := w.pid("evil"), w.router("evil").Generation()

	gate := filepath.Join(t.TempDir(), "go")
	answered := make(chan *rollout.Problem)
	go func() {
		_, problem := observe(w, "evil", "wait", gate)
		answered <- problem
	}()
	w.eventually("a call in flight", func() bool {
		i := w.current("evil")
		i.mu.Lock()
		defer i.mu.Unlock()
		return i.calls == 1
	})
	w.SetConfig(list("{name: evil, args: [two]}"))
	w.eventually("the new process", func() bool { return w.pid("evil") != old })
	assert.Contains(t, mustObserve(w, "evil").Observation.Message, "args two ")
	assert.NotEqual(t, oldGeneration, w.router("evil").Generation())
	assert.True(t, alive(old), "it still has a call to answer")
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	require.Nil(t, <-answered)
	w.eventually("the end of the old process", func() bool { return !alive(old) })
}

func (w *world) current(name string) *instance {
	w.Host.mu.Lock()
	s := w.supervisors[name]
	w.Host.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// A bad change is refused: the old process answers all along.
func TestHotReloadRefused(t *testing.T) {
	for name, item := range map[string]string{
		"it does not start":       "{name: evil, args: [exit]}",
		"its config is refused":   "{name: evil, config: {do: refuse}}",
		"it breaks the contract":  "{name: evil, args: [bad-version]}",
		"the entry is malformed":  "{name: evil, timeout: soon}",
		"it offers nothing known": "{name: evil, args: [no-services]}",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil, "evil")
			mustObserve(w, "evil")
			old := w.pid("evil")
			w.SetConfig(list(item))
			var first Event
			w.eventually("a refusal", func() bool {
				found := false
				w.note(func() {
					if found = len(w.events) > 0; found {
						first = w.events[0]
					}
				})
				return found
			})
			assert.True(t, first.Warning)
			assert.Contains(t, []string{EventUpdateRefused, EventConfigRefused}, first.Reason)
			assert.Equal(t, old, w.pid("evil"))
			mustObserve(w, "evil")

			w.SetConfig(list("{name: evil, args: [good]}"))
			w.eventually("the repair", func() bool { return w.pid("evil") != old && w.State("evil") == StateReady })
		})
	}
}

// What was refused does not take the place of what ran when that ends.
func TestRefusedEntryIsNotAdopted(t *testing.T) {
	w := newWorld(t, nil, "evil")
	w.SetConfig(list("{name: evil, args: [good]}"))
	mustObserve(w, "evil")
	w.SetConfig(list("{name: evil, args: [exit]}"))
	w.waitEvent(EventUpdateRefused, "exit status 3")
	for range 3 {
		pid := w.pid("evil")
		kill(t, pid, 9)
		w.eventually("its return", func() bool {
			now := w.pid("evil")
			return now != 0 && now != pid
		})
		assert.Contains(t, mustObserve(w, "evil").Observation.Message, "args good ")
	}
	before := w.count("restarts", "evil")
	w.eventually("the refused one tried beside it", func() bool { return w.count("restarts", "evil") > before })

	w.SetConfig(list("{name: evil, args: [three]}"))
	w.eventually("a later entry", func() bool {
		return strings.Contains(mustObserve(w, "evil").Observation.Message, "args three ")
	})
}

// The file of the refused entry arrives, which ends the one that ran for good.
func TestRefusedEntryIsTriedWhenNothingElseStarts(t *testing.T) {
	// The pause leaves the time to end the process before the entry is tried
	// again beside it.
	w := newWorld(t, func(t *timing) { t.backoffMin, t.backoffMax = time.Second, time.Second })
	dir := t.TempDir()
	path, update := filepath.Join(dir, "router"), filepath.Join(dir, "update")
	copyEvil(t, path)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(update, append(data, 0), 0o700))
	item := "{name: acme/router, location: 'file://%s', sha256: %s, args: [%s]}"
	w.SetConfig(list(fmt.Sprintf(item, path, digest(t, path), "one")))
	mustObserve(w, "acme/router")

	w.SetConfig(list(fmt.Sprintf(item, path, digest(t, update), "two")))
	w.waitEvent(EventUpdateRefused, "its sha256 is not the one")
	pid := w.pid("acme/router")
	require.NoError(t, os.Rename(update, path))
	kill(t, pid, 9)
	w.eventually("the new version", func() bool {
		answer, problem := observe(w, "acme/router", "")
		return problem == nil && strings.Contains(answer.Observation.Message, "args two ")
	})
}

func TestHotReloadTakenBack(t *testing.T) {
	w := newWorld(t, nil, "evil")
	mustObserve(w, "evil")
	old := w.pid("evil")
	w.SetConfig(list("{name: evil, args: [silent]}"))
	w.SetConfig(nil)
	w.SetConfig(list("{name: evil, args: [three]}"))
	w.eventually("the last configuration", func() bool {
		return strings.Contains(mustObserve(w, "evil").Observation.Message, "args three ")
	})
	assert.False(t, alive(old) && w.pid("evil") == old)
}

func TestPluginRemoved(t *testing.T) {
	w := newWorld(t, nil, "evil", "other")
	mustObserve(w, "evil")
	mustObserve(w, "other")
	r, pid, other := w.router("evil"), w.pid("evil"), w.pid("other")
	w.SetConfig(list("{name: evil, disabled: true}"))
	w.eventually("the end of the process", func() bool { return !alive(pid) })
	_, problem := r.Observe(context.Background(), request(""))
	require.NotNil(t, problem)
	_, problem = w.Router("evil")
	require.NotNil(t, problem)
	assert.Contains(t, problem.Message, "disabled")
	w.eventually("its metrics gone", func() bool {
		families, err := w.registry.Gather()
		require.NoError(t, err)
		return !strings.Contains(fmt.Sprint(families), `value:"evil"`)
	})
	assert.Equal(t, other, w.pid("other"), "nobody else noticed")

	w.SetConfig(nil)
	mustObserve(w, "evil")
}

// The controller stops while a plugin hangs in a call and in Close.
func TestShutdownWithHungPlugin(t *testing.T) {
	w := newWorld(t, func(t *timing) { t.shutdown, t.closing = 50*time.Millisecond, 50*time.Millisecond }, "evil")
	w.SetConfig(list("{name: evil, args: [close-hang]}"))
	mustObserve(w, "evil")
	pid := w.pid("evil")
	answered := make(chan *rollout.Problem)
	go func() {
		_, problem := observe(w, "evil", "hang")
		answered <- problem
	}()
	i := w.current("evil")
	w.eventually("a call in flight", func() bool {
		i.mu.Lock()
		defer i.mu.Unlock()
		return i.calls == 1
	})
	w.stop()
	require.NotNil(t, <-answered)
	assert.False(t, alive(pid))
}

func TestATooLongTemporaryFolderIsSaidAtOnce(t *testing.T) {
	_, err := New(Options{RunDir: "/tmp/" + strings.Repeat("x", maxRunDir)})
	require.ErrorContains(t, err, "set TMPDIR to a shorter path")
}
