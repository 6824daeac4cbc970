package admission_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/devcluster"
)

const deploy = "../../../deploy/"

var (
	rolloutsOf = v1alpha1.GroupVersion.WithResource("rollouts")
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	bindings   = admissionv1.SchemeGroupVersion.WithResource("validatingadmissionpolicybindings")
	// tried is a dry run: nothing is stored.
	tried = metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
)

// server is an API server with the definitions, roles and policies of deploy/, and
// the identities of people.
type server struct {
	t       *testing.T
	cluster *devcluster.Cluster
}

func newServer(t *testing.T) *server {
	t.Helper()
	cluster, err := devcluster.Start(t.Context(), devcluster.Options{APIServerOnly: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cluster.Stop()) })
	s := &server{t, cluster}
	s.apply(deploy+"crds", deploy+"roles", deploy+"namespace")
	require.NoError(t, cluster.Apply(t.Context(), peopleYAML))
	return s
}

func (s *server) apply(paths ...string) {
	s.t.Helper()
	require.NoError(s.t, s.cluster.ApplyFiles(s.t.Context(), paths...))
}

// as is a client of somebody, and what it is warned of; "" is an administrator.
func (s *server) as(who string) (*dynamic.DynamicClient, *warnings) {
	s.t.Helper()
	config := s.cluster.Config()
	if who != "" {
		var err error
		config, err = s.cluster.ConfigFor(who)
		require.NoError(s.t, err)
	}
	heard := &warnings{}
	config.WarningHandler = heard
	client, err := dynamic.NewForConfig(config)
	require.NoError(s.t, err)
	return client, heard
}

// deny applies the patch of components/deny to every binding, and waits until it is
// in force for each.
func (s *server) deny() {
	s.t.Helper()
	raw, err := os.ReadFile(deploy + "components/deny/kustomization.yaml")
	require.NoError(s.t, err)
	var component struct {
		Patches []struct {
			Target struct{ Kind string }
			Patch  string
		}
	}
	require.NoError(s.t, yaml.Unmarshal(raw, &component))
	require.Len(s.t, component.Patches, 1)
	require.Equal(s.t, "ValidatingAdmissionPolicyBinding", component.Patches[0].Target.Kind)
	patch, err := yaml.YAMLToJSON([]byte(component.Patches[0].Patch))
	require.NoError(s.t, err)
	admin, _ := s.as("")
	all, err := admin.Resource(bindings).List(s.t.Context(), metav1.ListOptions{})
	require.NoError(s.t, err)
	require.Len(s.t, all.Items, 3)
	for _, b := range all.Items {
		_, err := admin.Resource(bindings).Patch(s.t.Context(), b.GetName(), types.JSONPatchType, patch, metav1.PatchOptions{})
		require.NoError(s.t, err)
	}
	author, _ := s.as("author")
	s.refuses(author, patched(s.t, routedYAML, "spec: {minReadySeconds: -1}"))
	s.refuses(author, patched(s.t, routedYAML, "spec: {strategy: {canary: {trafficRouting: {plugins: {argoproj-labs/gatewayAPI: {httpRoute: foreign}}}}}}"))
}

// refuses waits until the server refuses a Rollout: a policy is in force a moment
// after it was written.
func (s *server) refuses(client dynamic.Interface, manifest []byte) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		_, err := client.Resource(rolloutsOf).Namespace("default").Create(s.t.Context(), objectOf(s.t, manifest), tried)
		return err != nil
	}, time.Minute, 50*time.Millisecond)
}

func objectOf(t *testing.T, manifest []byte) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	require.NoError(t, json.Unmarshal(manifest, &o.Object))
	return o
}

// People of the tests: an author of Rollouts who may update some routes and, as
// admins of a namespace may, its ConfigMaps; and one who may also configure plugins.
const peopleYAML = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: authors}
rules:
  - {apiGroups: [argoproj.io], resources: [rollouts, rollouts/scale, rollouts/status], verbs: ["*"]}
  - {apiGroups: [""], resources: [configmaps], verbs: ["*"]}
  - {apiGroups: [gateway.networking.k8s.io], resources: [httproutes, grpcroutes, tcproutes, tlsroutes], resourceNames: [web], verbs: [update]}
  - {apiGroups: [networking.istio.io], resources: [virtualservices, destinationrules], resourceNames: [web], verbs: [update]}
  - {apiGroups: [networking.k8s.io], resources: [ingresses], resourceNames: [web], verbs: [update]}
  - {apiGroups: [traefik.io], resources: [traefikservices], resourceNames: [web], verbs: [update]}
  - {apiGroups: [apisix.apache.org], resources: [apisixroutes], resourceNames: [web], verbs: [update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: authors, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: authors}
subjects: [{kind: User, name: author}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: authors, namespace: sluice}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: authors}
subjects: [{kind: User, name: author}, {kind: User, name: configurer}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: plugin-admins, namespace: sluice}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: sluice-plugin-admin}
subjects: [{kind: User, name: configurer}]
`

// routeRows are blocks of trafficRouting that name an object, with that name left
// out, and the policy's word for it.
var routeRows = []struct{ routing, says string }{
	{"plugins: {argoproj-labs/gatewayAPI: {httpRoute: NAME}}", "an HTTPRoute"},
	{"plugins: {gatewayapi: {httpRoutes: [{name: web}, {name: NAME}]}}", "an HTTPRoute"},
	{"plugins: {argoproj-labs/gatewayAPI: {httpRoute: web, namespace: kube-public}}", "an HTTPRoute"},
	{"plugins: {argoproj-labs/gatewayAPI: {grpcRoute: NAME}}", "a GRPCRoute"},
	{"plugins: {argoproj-labs/gatewayAPI: {grpcRoutes: [{name: NAME}]}}", "a GRPCRoute"},
	{"plugins: {argoproj-labs/gatewayAPI: {tcpRoute: NAME}}", "a TCPRoute"},
	{"plugins: {argoproj-labs/gatewayAPI: {tcpRoutes: [{name: NAME}]}}", "a TCPRoute"},
	{"plugins: {argoproj-labs/gatewayAPI: {tlsRoute: NAME}}", "a TLSRoute"},
	{"plugins: {argoproj-labs/gatewayAPI: {tlsRoutes: [{name: NAME}]}}", "a TLSRoute"},
	{"istio: {virtualService: {name: NAME}}", "a VirtualService"},
	{"istio: {virtualServices: [{name: web}, {name: NAME}]}", "a VirtualService"},
	{"istio: {virtualService: {name: web.kube-public}}", "a VirtualService"},
	{"istio: {virtualService: {name: web.default.svc.cluster.local}, destinationRule: {name: NAME, canarySubsetName: canary, stableSubsetName: stable}}", "a DestinationRule"},
	{"nginx: {stableIngress: NAME}", "an Ingress"},
	{"nginx: {stableIngresses: [web, NAME]}", "an Ingress"},
	{"alb: {ingress: NAME, servicePort: 80}", "an Ingress"},
	{"alb: {ingresses: [NAME], servicePort: 80}", "an Ingress"},
	{"traefik: {weightedTraefikServiceName: NAME}", "a TraefikService"},
	{"apisix: {route: {name: NAME}}", "an ApisixRoute"},
}

// routed is the routed canary with another block.
func routed(t *testing.T, routing, name string) []byte {
	t.Helper()
	bare := patched(t, routedYAML, "spec: {strategy: {canary: {trafficRouting: {plugins: null}}}}")
	return patched(t, string(bare), "spec: {strategy: {canary: {trafficRouting: {"+strings.ReplaceAll(routing, "NAME", name)+"}}}}")
}

// The policies of deploy/ on a real API server: first they warn, then
// components/deny makes them refuse.
func TestPoliciesWarnAndThenRefuse(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	admin, _ := s.as("")
	_, err := admin.Resource(rolloutsOf).Namespace("default").Create(t.Context(), objectOf(t, patched(t, routedYAML, "{metadata: {name: stored}, spec: {minReadySeconds: -1}}")), metav1.CreateOptions{})
	require.NoError(t, err, "there is no policy yet")
	s.apply(deploy+"policies/rollouts.yaml", deploy+"policies/routes.yaml", deploy+"policies/plugins.yaml")

	t.Run("routes that the author may not update are told", s.routesAreTold)
	t.Run("plugins are for those who may configure them", s.pluginsAreGuarded)
	s.deny()
	t.Run("every rule refuses", s.everyRuleRefuses)
	t.Run("routes that the author may not update are refused", s.routesAreRefused)
	t.Run("what is stored stays usable", s.storedStaysUsable)
}

func (s *server) routesAreTold(t *testing.T) {
	author, heard := s.as("author")
	create := func(manifest []byte) []string {
		heard.take()
		_, err := author.Resource(rolloutsOf).Namespace("default").Create(t.Context(), objectOf(t, manifest), tried)
		require.NoError(t, err, "a policy that warns stores everything")
		return heard.take()
	}
	foreign := routed(t, routeRows[0].routing, "foreign")
	require.Eventually(t, func() bool { return len(create(foreign)) > 0 }, time.Minute, 50*time.Millisecond)
	for _, row := range routeRows {
		told := create(routed(t, row.routing, "foreign"))
		if assert.Len(t, told, 1, row.routing) {
			assert.Contains(t, told[0], "names "+row.says+" that you may not update", row.routing)
		}
		if strings.Contains(row.routing, "NAME") {
			assert.Empty(t, create(routed(t, row.routing, "web")), row.routing)
		}
	}
	assert.Empty(t, create(patched(t, basicYAML, "{}")), "there is no route")
}

func (s *server) routesAreRefused(t *testing.T) {
	author, heard := s.as("author")
	rollouts := author.Resource(rolloutsOf).Namespace("default")
	for _, row := range routeRows {
		_, err := rollouts.Create(t.Context(), objectOf(t, routed(t, row.routing, "foreign")), tried)
		require.True(t, apierrors.IsForbidden(err), "%s: %v", row.routing, err)
		assert.ErrorContains(t, err, "names "+row.says+" that you may not update")
		if strings.Contains(row.routing, "NAME") {
			_, err = rollouts.Create(t.Context(), objectOf(t, routed(t, row.routing, "web")), tried)
			assert.NoError(t, err, row.routing)
		}
	}
	assert.Empty(t, heard.take())
	// An administrator's Rollout may name it; its author may change the rest.
	admin, _ := s.as("")
	_, err := admin.Resource(rolloutsOf).Namespace("default").Create(t.Context(), objectOf(t, patched(t, string(routed(t, routeRows[0].routing, "foreign")), "metadata: {name: given}")), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = rollouts.Patch(t.Context(), "given", types.MergePatchType, []byte(`{"spec": {"replicas": 5}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	_, err = rollouts.Patch(t.Context(), "given", types.MergePatchType, []byte(`{"spec": {"strategy": {"canary": {"trafficRouting": {"plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "other"}}}}}}}`), metav1.PatchOptions{})
	assert.True(t, apierrors.IsForbidden(err), "%v", err)
}

func (s *server) pluginsAreGuarded(t *testing.T) {
	admin, _ := s.as("")
	author, _ := s.as("author")
	configurer, _ := s.as("configurer")
	list := func(name, data string) *unstructured.Unstructured {
		return objectOf(t, patched(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: "+name+", namespace: sluice}}", data))
	}
	in := func(client dynamic.Interface) dynamic.ResourceInterface {
		return client.Resource(configMaps).Namespace("sluice")
	}
	plugins := `{data: {stepPlugins: "- {name: a/b, location: 'file:///x'}"}}`
	require.Eventually(t, func() bool {
		_, err := in(author).Create(t.Context(), list("argo-rollouts-config", plugins), tried)
		return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "author may not change which plugins run; bind the ClusterRole sluice-plugin-admin in namespace sluice")
	}, time.Minute, 50*time.Millisecond)
	_, err := in(author).Create(t.Context(), list("another", plugins), tried)
	require.NoError(t, err, "other ConfigMaps are nobody's business")
	_, err = in(author).Create(t.Context(), list("argo-rollouts-config", "{}"), metav1.CreateOptions{})
	require.NoError(t, err, "no list, no plugin")

	change := func(client dynamic.Interface, patch string) error {
		_, err := in(client).Patch(t.Context(), "argo-rollouts-config", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	assert.True(t, apierrors.IsForbidden(change(author, `{"data": {"stepPlugins": "[]"}}`)))
	assert.True(t, apierrors.IsForbidden(change(author, `{"binaryData": {"stepPlugins": "W10="}}`)))
	_, err = in(author).Apply(t.Context(), "argo-rollouts-config", list("argo-rollouts-config", plugins), metav1.ApplyOptions{FieldManager: "author", Force: true})
	assert.True(t, apierrors.IsForbidden(err), "a server-side apply: %v", err)
	assert.NoError(t, change(author, `{"metadata": {"labels": {"team": "platform"}}}`))
	assert.NoError(t, change(configurer, `{"data": {"stepPlugins": "[]"}}`))
	assert.NoError(t, change(admin, `{"data": {"trafficRouterPlugins": "[]"}}`))
	assert.NoError(t, change(author, `{"metadata": {"labels": {"team": null}}}`))
	assert.True(t, apierrors.IsForbidden(change(author, `{"data": null}`)), "taking them away")
	assert.NoError(t, in(author).Delete(t.Context(), "argo-rollouts-config", metav1.DeleteOptions{}), "a namespace can be deleted")
}

func (s *server) everyRuleRefuses(t *testing.T) {
	admin, heard := s.as("")
	for _, row := range admissionRows {
		_, err := admin.Resource(rolloutsOf).Namespace("default").Create(t.Context(), objectOf(t, patched(t, row.base, row.patch)), tried)
		if row.path == "" {
			assert.NoError(t, err, row.name)
			continue
		}
		require.True(t, apierrors.IsInvalid(err), "%s: %v", row.name, err)
		_, message, _ := strings.Cut(err.Error(), "denied request: ")
		path, _, _ := strings.Cut(message, ": ")
		assert.NotEmpty(t, path, row.name)
		assert.True(t, strings.HasPrefix(row.path, path), "%s: %v", row.name, err)
	}
	assert.Empty(t, heard.take())
}

// An invalid Rollout from before the policies: its status, labels and scale can be
// written, it can be corrected and deleted; only another faulty spec is refused.
func (s *server) storedStaysUsable(t *testing.T) {
	author, heard := s.as("author")
	rollouts := author.Resource(rolloutsOf).Namespace("default")
	patch := func(body string, subresources ...string) error {
		_, err := rollouts.Patch(t.Context(), "stored", types.MergePatchType, []byte(body), metav1.PatchOptions{}, subresources...)
		return err
	}
	require.NoError(t, patch(`{"status": {"phase": "Degraded", "observedGeneration": "1", "conditions": [{"type": "InvalidSpec", "status": "True",
		"reason": "InvalidSpec", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"}]}}`, "status"))
	require.NoError(t, patch(`{"metadata": {"labels": {"a": "b"}, "annotations": {"rollout.argoproj.io/revision": "1"}}}`))
	require.NoError(t, patch(`{"spec": {"replicas": 7}}`, "scale"), "an autoscaler is not held up")
	stored, err := rollouts.Get(t.Context(), "stored", metav1.GetOptions{})
	require.NoError(t, err)
	_, err = rollouts.UpdateStatus(t.Context(), stored, metav1.UpdateOptions{})
	require.NoError(t, err, "a status that is written as a whole")
	assert.True(t, apierrors.IsInvalid(patch(`{"spec": {"replicas": 4}}`)), "a change that leaves the fault")
	require.NoError(t, patch(`{"spec": {"minReadySeconds": 0}}`), "the cure")
	assert.True(t, apierrors.IsInvalid(patch(`{"spec": {"minReadySeconds": -2}}`)))
	assert.Empty(t, heard.take())
	require.NoError(t, rollouts.Delete(t.Context(), "stored", metav1.DeleteOptions{}))
}

// The policies look at Rollouts and at one ConfigMap, never at a subresource: what
// the controller reports must not depend on what it reports about.
func TestPoliciesLeaveSubresourcesAlone(t *testing.T) {
	for _, file := range []string{"rollouts", "routes", "plugins"} {
		raw, err := os.ReadFile(deploy + "policies/" + file + ".yaml")
		require.NoError(t, err)
		first, _, _ := strings.Cut(string(raw), "\n---\n")
		var policy admissionv1.ValidatingAdmissionPolicy
		require.NoError(t, yaml.UnmarshalStrict([]byte(first), &policy))
		require.NotEmpty(t, policy.Spec.MatchConstraints.ResourceRules)
		for _, rule := range policy.Spec.MatchConstraints.ResourceRules {
			for _, r := range rule.Resources {
				assert.NotContains(t, r, "/", file)
				assert.NotContains(t, r, "*", file)
			}
		}
	}
}
