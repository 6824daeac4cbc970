package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Names of an App's objects. The Rollout and its HTTPRoute share one.
const (
	AppName       = "app"
	StableService = "app-stable"
	CanaryService = "app-canary"
	TemplateName  = "errors"
)

// App is a namespace with a Rollout and what it needs: two Services, an
// HTTPRoute, an AnalysisTemplate.
type App struct {
	Namespace  string
	Controller *Controller

	stage *Stage
	t     testing.TB
	ctx   context.Context
	feed  *feed
}

var apps atomic.Int32

// NewApp makes the namespace with everything but the Rollout. The controller is
// the one that serves it.
func (s *Stage) NewApp(t testing.TB, c *Controller) *App {
	t.Helper()
	a := &App{Namespace: fmt.Sprintf("story-%d", apps.Add(1)), Controller: c, stage: s, t: t, ctx: context.WithoutCancel(t.Context())}
	require.NoError(t, s.Client.Create(a.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: a.Namespace}}))
	a.feed = s.newFeed(t, a.Namespace)
	a.Metric(0)
	a.ApplyAll()
	return a
}

// ApplyAll applies everything but the Rollout as it was in the beginning.
func (a *App) ApplyAll() {
	a.t.Helper()
	a.Apply(serviceYAML(StableService), serviceYAML(CanaryService), RouteYAML, a.TemplateYAML())
}

func serviceYAML(name string) string {
	return `{apiVersion: v1, kind: Service, metadata: {name: ` + name + `}, spec: {selector: {app: app}, ports: [{name: http, port: 80, targetPort: 8080}]}}`
}

// RouteYAML is the HTTPRoute, with things in it that are none of our business.
const RouteYAML = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: app
  labels: {team: checkout}
  annotations: {example.com/note: keep me}
spec:
  parentRefs: [{name: gateway, namespace: gateways}]
  hostnames: [app.example.com]
  rules:
    - matches: [{path: {type: PathPrefix, value: /}}]
      filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-team, value: checkout}]}}]
      backendRefs:
        - {name: app-stable, port: 80, weight: 100}
        - {name: app-canary, port: 80, weight: 0}
    - matches: [{path: {type: PathPrefix, value: /docs}}]
      backendRefs: [{name: docs, port: 80, weight: 7}]
`

// TemplateYAML is the AnalysisTemplate: two looks at a query of the stand-in,
// named like the namespace; values from 0.05 fail.
func (a *App) TemplateYAML() string {
	return fmt.Sprintf(`
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: errors}
spec:
  metrics:
    - name: error-ratio
      interval: 1s
      count: 2
      failureLimit: 0
      successCondition: len(result) == 1 && result[0] < 0.05
      provider: {prometheus: {address: %q, query: %q}}
`, a.stage.Metrics.URL(), a.Namespace)
}

// Metric sets the share of errors that the analysis sees.
func (a *App) Metric(errors float64) { a.stage.Metrics.Set(a.Namespace, errors) }

// Steps of a canary, as YAML flow values.
const (
	Pause      = "{pause: {}}"
	ShortPause = "{pause: {duration: 1s}}"
	Analysis   = "{analysis: {templates: [{templateName: errors}]}}"
)

// SetWeight is a setWeight step.
func SetWeight(weight int) string { return fmt.Sprintf("{setWeight: %d}", weight) }

// RolloutYAML is the Rollout at v1, with the steps.
func RolloutYAML(steps ...string) string {
	return `
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: app}
spec:
  replicas: 4
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: "example.com/app:v1", ports: [{containerPort: 8080}]}]}
  strategy:
    canary:
      stableService: app-stable
      canaryService: app-canary
      scaleDownDelaySeconds: 1
      abortScaleDownDelaySeconds: 1
      trafficRouting: {plugins: {argoproj-labs/gatewayAPI: {httpRoute: app}}}
      steps: [` + strings.Join(steps, ", ") + `]
`
}

// Context ends with the test.
func (a *App) Context() context.Context { return a.ctx }

// Apply applies manifests in the namespace, for the controller of the App.
func (a *App) Apply(manifests ...string) {
	a.t.Helper()
	var objects []*unstructured.Unstructured
	for _, m := range manifests {
		o := parse(a.t, m)
		o.SetNamespace(a.Namespace)
		if id := a.Controller.Instance; id != "" && o.GroupVersionKind().Group == v1alpha1.GroupVersion.Group {
			labels := o.GetLabels()
			if labels == nil {
				labels = map[string]string{}
			}
			labels[v1alpha1.LabelInstanceID] = id
			o.SetLabels(labels)
		}
		objects = append(objects, o)
	}
	require.NoError(a.t, a.stage.Cluster.ApplyObjects(a.ctx, objects...))
}

// ApplyIn applies a manifest in another namespace, as it is.
func (a *App) ApplyIn(namespace, manifest string) {
	a.t.Helper()
	o := parse(a.t, manifest)
	o.SetNamespace(namespace)
	require.NoError(a.t, a.stage.Cluster.ApplyObjects(a.ctx, o))
}

// Deploy applies the Rollout with the steps and waits until v1 is healthy.
func (a *App) Deploy(steps ...string) World {
	a.t.Helper()
	a.Apply(RolloutYAML(steps...))
	return a.Await("v1 is healthy", func(w World) bool { return w.Healthy("v1") })
}

// Update asks for another version.
func (a *App) Update(version string) {
	a.t.Helper()
	a.PatchRollout(`{"spec": {"template": {"spec": {"containers": [
		{"name": "app", "image": "example.com/app:` + version + `", "ports": [{"containerPort": 8080}]}]}}}}`)
}

// PatchRollout is a JSON merge patch of the Rollout.
func (a *App) PatchRollout(patch string) { a.t.Helper(); a.Patch("Rollout", AppName, patch) }

// PatchStatus is a JSON merge patch of the Rollout's status subresource: how
// Argo's CLI asks for things.
func (a *App) PatchStatus(patch string) {
	a.t.Helper()
	o := a.object("Rollout", AppName)
	require.NoError(a.t, a.stage.Client.Status().Patch(a.ctx, o, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// Patch is a JSON merge patch of any object of the App, by a person.
func (a *App) Patch(kind, name, patch string) {
	a.t.Helper()
	o := a.object(kind, name)
	require.NoError(a.t, a.stage.Client.Patch(a.ctx, o, client.RawPatch(types.MergePatchType, []byte(patch))), "%s %s", kind, name)
}

// PatchSubresource is a JSON merge patch of a subresource, e.g. status as the
// program writes it whose object it is.
func (a *App) PatchSubresource(kind, name, subresource, patch string) {
	a.t.Helper()
	o := a.object(kind, name)
	require.NoError(a.t, a.stage.Client.SubResource(subresource).Patch(a.ctx, o, client.RawPatch(types.MergePatchType, []byte(patch))), "%s %s", kind, name)
}

// PatchJSON is a JSON patch (RFC 6902) of any object of the App.
func (a *App) PatchJSON(kind, name, patch string) {
	a.t.Helper()
	o := a.object(kind, name)
	require.NoError(a.t, a.stage.Client.Patch(a.ctx, o, client.RawPatch(types.JSONPatchType, []byte(patch))), "%s %s", kind, name)
}

// Delete deletes an object of the App.
func (a *App) Delete(kind, name string) {
	a.t.Helper()
	require.NoError(a.t, a.stage.Client.Delete(a.ctx, a.object(kind, name)), "%s %s", kind, name)
}

// Read is an object as it is stored, undecoded.
func (a *App) Read(kind, name string) map[string]any {
	a.t.Helper()
	o := a.object(kind, name)
	require.NoError(a.t, a.stage.Client.Get(a.ctx, client.ObjectKeyFromObject(o), o), "%s %s", kind, name)
	return o.Object
}

var groups = map[string]string{
	"Rollout": "argoproj.io/v1alpha1", "AnalysisRun": "argoproj.io/v1alpha1", "AnalysisTemplate": "argoproj.io/v1alpha1",
	"Experiment": "argoproj.io/v1alpha1", "Secret": "v1",
	"HTTPRoute": "gateway.networking.k8s.io/v1", "ReplicaSet": "apps/v1", "Service": "v1", "Pod": "v1",
	"Ingress": "networking.k8s.io/v1", "TraefikService": "traefik.io/v1alpha1", "TrafficSplit": "split.smi-spec.io/v1alpha2",
	"ApisixRoute": "apisix.apache.org/v2",
	"Task":        "steps.example.com/v1",
	"Deployment":  "apps/v1", "PodTemplate": "v1", "PodDisruptionBudget": "policy/v1",
}

func (a *App) object(kind, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(groups[kind])
	o.SetKind(kind)
	o.SetNamespace(a.Namespace)
	o.SetName(name)
	return o
}

func parse(t testing.TB, manifest string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	raw, err := yamlToJSON(manifest)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &o.Object))
	return o
}

// Gone reports that an object does not exist.
func (a *App) Gone(kind, name string) bool {
	a.t.Helper()
	o := a.object(kind, name)
	err := a.stage.Client.Get(a.ctx, client.ObjectKeyFromObject(o), o)
	require.NoError(a.t, client.IgnoreNotFound(err))
	return err != nil
}
