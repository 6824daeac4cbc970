package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/sluice-rollouts/sluice/cmd/kubectl-sluice/cli"
	"github.com/sluice-rollouts/sluice/core/preview"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// controllerPod stands for the pod of a controller that runs as a process here.
const controllerPod = `
apiVersion: v1
kind: Pod
metadata: {name: sluice-controller-1, labels: {app.kubernetes.io/name: sluice, app.kubernetes.io/component: controller}}
spec: {containers: [{name: controller, image: example.com/sluice, ports: [{name: metrics, containerPort: 8090}]}]}
`

// kubelet serves the API with one difference: what the API server would forward to
// that pod goes to the process, unless it is forbidden. It returns a kubeconfig.
func kubelet(t *testing.T, c *stage.Controller, forbidden *atomic.Bool) string {
	t.Helper()
	config := on.Cluster.Config()
	transport, err := rest.TransportFor(config)
	require.NoError(t, err)
	target, err := url.Parse(config.Host)
	require.NoError(t, err)
	api := httputil.NewSingleHostReverseProxy(target)
	api.Transport = transport
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/api/v1/namespaces/"+c.Namespace+"/pods/sluice-controller-1:8090/proxy/metrics":
			api.ServeHTTP(w, r)
		case forbidden.Load():
			http.Error(w, "pods/proxy is forbidden", http.StatusForbidden)
		default:
			req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, c.MetricsURL(), nil)
			if err == nil {
				var res *http.Response
				if res, err = http.DefaultClient.Do(req); err == nil {
					_, err = io.Copy(w, res.Body)
					_ = res.Body.Close()
				}
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
			}
		}
	}))
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, `
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test}}]
clusters: [{name: test, cluster: {server: %q}}]
`, server.URL), 0o600))
	return path
}

// What `plugins` says of a plugin.
type shownPlugin struct {
	Name, Kind, State, Version, Reason, LastEvent string
	UsedBy, Blocked                               int
	Grants                                        []struct{ Kind string }
}

// `plugins` tells of each plugin what it may do, who uses it, which version runs in
// which state, and what went wrong last; without the right to ask controllers it
// tells the rest.
func TestCommandPlugins(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "plugins", Plugins: []string{"gatewayapi", "prometheus"}})
	c.Start(t)
	dir := t.TempDir()
	app := on.NewApp(t, c)
	crashing := "acme/crashing-" + app.Namespace // Rollouts of the whole cluster are counted
	c.ListPlugins(t, strings.Replace(listed(t, dir), "argoproj-labs/gatewayAPI", "acme/router", 1)+script(t, dir, crashing, "exit 1", ""))
	app.Deploy(stage.SetWeight(50))
	service := `{apiVersion: v1, kind: Service, metadata: {name: broken-NAME}, spec: {selector: {app: app}, ports: [{port: 80}]}}`
	app.Apply(strings.Replace(service, "NAME", "stable", 1), strings.Replace(service, "NAME", "canary", 1),
		strings.NewReplacer("metadata: {name: app}", "metadata: {name: broken}", "argoproj-labs/gatewayAPI", crashing,
			"app-stable", "broken-stable", "app-canary", "broken-canary").Replace(stage.RolloutYAML()))
	app.Await("it is blocked", func(w stage.World) bool {
		other := w.Others["broken"]
		return other != nil && reasonOf(other, "Blocked") == "PluginUnavailable"
	})
	app.ApplyIn(c.Namespace, controllerPod)

	var forbidden atomic.Bool
	config := kubelet(t, c, &forbidden)
	show := func() map[string]shownPlugin {
		var all []shownPlugin
		out := map[string]shownPlugin{}
		said := sluice(t, app, "plugins", "--kubeconfig", config, "--controller-namespace", c.Namespace, "-o", "json")
		require.NoError(t, json.Unmarshal([]byte(said), &all), said)
		for _, one := range all {
			out[one.Name] = one
		}
		return out
	}
	var all map[string]shownPlugin
	app.Eventually("the pod runs, and the failure is told", func() bool {
		all = show()
		return all["gatewayapi"].State != "" && all[crashing].LastEvent != ""
	})
	bundled := all["argoproj-labs/gatewayAPI"]
	assert.Equal(t, "Ready", bundled.State)
	assert.Regexp(t, `^\d+\.\d+\.\d+`, bundled.Version)
	assert.Equal(t, "bundled", bundled.Kind)
	assert.Empty(t, all["prometheus"].State+all["prometheus"].Version, "nobody has needed it")
	require.Len(t, all["acme/router"].Grants, 1)
	assert.Equal(t, "HTTPRoute", all["acme/router"].Grants[0].Kind)
	assert.Equal(t, "PluginFailed", all[crashing].Reason)
	assert.Equal(t, 1, all[crashing].Blocked)
	assert.NotEqual(t, "Ready", all[crashing].State)

	table := sluice(t, app, "plugins", "--kubeconfig", config, "--controller-namespace", c.Namespace)
	assert.Regexp(t, `gatewayapi +bundled +- +Ready +`+bundled.Version, table)
	forbidden.Store(true)
	said := command(t, app, "plugins", "--kubeconfig", config, "--controller-namespace", c.Namespace)
	assert.Zero(t, said.code)
	assert.Contains(t, said.out, crashing)
	assert.Contains(t, said.err, "states and versions are not known: asking pod "+c.Namespace+"/sluice-controller-1")
}

// argoSetup is what Argo Rollouts' controller is set up with here; nothing of it means
// the same to Sluice.
const argoSetup = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: argo-rollouts}
spec:
  replicas: 0
  selector: {matchLabels: {app: argo-rollouts}}
  template:
    metadata: {labels: {app: argo-rollouts}}
    spec:
      containers:
        - name: argo-rollouts
          image: quay.io/argoproj/argo-rollouts:v1.8.3
          args: [--self-service-notification-enabled]
          env: [{name: ARGO_ROLLOUTS_PROMETHEUS_ADDRESS, value: "http://prometheus"}]
`

// `migrate` looks at a real cluster: a fleet that means the same to both controllers
// is one line; what does not is named, with the object, the field and the cure.
func TestCommandMigrate(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, on.Elsewhere("nobody", ""))
	args := []string{"migrate", "--all-namespaces=false", "--controller-namespace", app.Namespace}
	app.Apply(stage.RolloutYAML(stage.SetWeight(20), stage.Analysis))
	assert.Contains(t, sluice(t, app, args...), "1 Rollouts, nothing would be different")

	app.Apply(argoSetup,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: argo-rollouts-notification-configmap}, data: {service.slack: "token: x"}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: argo-rollouts-config}, data: {stepPlugins: "- {name: acme/listed, location: 'file:///x'}"}}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: remote, labels: {istio.argoproj.io/primary-cluster: "true"}}, stringData: {kubeconfig: x}}`,
		`{apiVersion: argoproj.io/v1alpha1, kind: AnalysisTemplate, metadata: {name: dog}, spec: {metrics: [{name: m, provider: {datadog: {query: q}}}]}}`,
		strings.NewReplacer("metadata: {name: app}", `metadata: {name: two, annotations: {notifications.argoproj.io/subscribe.on-x.slack: c}}`,
			"plugins: {argoproj-labs/gatewayAPI: {httpRoute: app}}", "ambassador: {mappings: [web]}").Replace(stage.RolloutYAML("{plugin: {name: acme/listed}}", "{plugin: {name: acme/step}}")))
	t.Cleanup(func() { app.Delete("Secret", "remote") }) // it is looked for in all namespaces
	said := command(t, app, append(args, "-o", "json")...)
	assert.Equal(t, cli.ExitFailed, said.code, said.err)
	var concerns []preview.Concern
	require.NoError(t, json.Unmarshal([]byte(said.out), &concerns), said.out)
	found := map[string]bool{}
	for _, c := range concerns {
		found[c.Object+" "+c.Field] = c.Holds
		assert.NotEmpty(t, c.What, c)
		assert.NotEmpty(t, c.Cure, c)
		assert.NotContains(t, c.What, "acme/listed", "the ConfigMap lists it")
	}
	in := app.Namespace
	assert.Equal(t, map[string]bool{
		"Rollout " + in + "/two spec.strategy.canary.trafficRouting.ambassador":                       true,
		"Rollout " + in + "/two spec.strategy.canary.steps[].plugin":                                  true,
		"Rollout " + in + "/two metadata.annotations[notifications.argoproj.io/subscribe.on-x.slack]": false,
		"AnalysisTemplate " + in + "/dog spec.metrics[0].provider":                                    true,
		"ConfigMap " + in + "/argo-rollouts-notification-configmap data":                              false,
		"Deployment " + in + "/argo-rollouts args --self-service-notification-enabled":                false,
		"Deployment " + in + "/argo-rollouts env ARGO_ROLLOUTS_PROMETHEUS_ADDRESS":                    false,
		"Secret " + in + "/remote metadata.labels[istio.argoproj.io/primary-cluster]":                 false,
	}, found, said.out)
	assert.NotContains(t, command(t, app, append(args, "--with-plugin", "acme/step,ambassador,datadog")...).out, "no plugin serves")

	nobody, err := on.Cluster.KubeconfigFor("nobody")
	require.NoError(t, err)
	blind := command(t, app, append(args, "--kubeconfig", nobody)...)
	assert.Equal(t, cli.ExitFailed, blind.code)
	assert.Contains(t, blind.err, "not looked at, you may not list them: Rollouts")
}

// screen is written by a command that goes on, and read meanwhile.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) shows(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.buf.String(), text)
}

// `get -w` draws the tree anew with every change, until it is interrupted.
func TestCommandGetWatch(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(20), stage.Pause)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, errs := &screen{}, &screen{}
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Run(ctx, []string{"--kubeconfig", on.Cluster.KubeconfigPath(), "--namespace", app.Namespace, "get", "rollout", "app", "-w"},
			cli.Streams{In: strings.NewReader(""), Out: out, Err: errs})
	}()
	app.Eventually("it is drawn", func() bool { return out.shows("example.com/app:v1 (stable)") })
	assert.False(t, out.shows("example.com/app:v2"))
	app.Update("v2")
	app.Eventually("the pause is drawn", func() bool { return out.shows("CanaryPauseStep") && out.shows("example.com/app:v2 (canary)") })
	sluice(t, app, "promote", "app")
	app.Eventually("the end is drawn", func() bool { return out.shows("example.com/app:v2 (stable)") })
	interrupt()
	assert.Zero(t, <-ended, "an interrupt is how it ends")
	assert.Empty(t, errs.buf.String())
}
