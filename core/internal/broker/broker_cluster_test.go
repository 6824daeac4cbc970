package broker

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// stage is a running broker on the real API server, with a namespace and an
// administrator's client of its own.
type stage struct {
	*Broker
	t         *testing.T
	ctx       context.Context
	namespace string
	admin     dynamic.Interface
	told      chan string
	// writes counts the broker's own requests that are not reads.
	writes atomic.Int32
}

// counting is the broker's transport.
type counting struct {
	*stage
	next http.RoundTripper
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		c.writes.Add(1)
	}
	return c.next.RoundTrip(r)
}

// newStage runs a broker until the test ends. A nil config means that of the
// administrator.
func newStage(t *testing.T, namespace string, config *rest.Config, change func(*Options)) *stage {
	t.Helper()
	cluster := apiServer(t)
	ctx, cancel := context.WithCancel(context.Background())
	s := &stage{t: t, ctx: ctx, namespace: namespace, admin: dynamic.NewForConfigOrDie(cluster.Config()), told: make(chan string, 1000)}
	if config == nil {
		config = cluster.Config()
	}
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counting{s, next} })
	options := Options{
		Client:    dynamic.NewForConfigOrDie(config),
		Discovery: discovery.NewDiscoveryClientForConfigOrDie(config),
		Notify:    func(subscriber string) { s.told <- subscriber },
	}
	if change != nil {
		change(&options)
	}
	s.Broker = New(options)
	done := make(chan struct{})
	go func() {
		defer close(done)
		assert.NoError(t, s.Run(ctx))
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	s.apply("v1", "Namespace", "", namespace, nil)
	return s
}

// apply creates or changes an object as somebody else would.
func (s *stage) apply(apiVersion, kind, namespace, name string, content map[string]any) *unstructured.Unstructured {
	s.t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
	for k, v := range content {
		u.Object[k] = v
	}
	u.SetNamespace(namespace)
	u.SetName(name)
	after, err := s.resource(apiVersion, kind, namespace).Apply(s.ctx, name, u, metav1.ApplyOptions{FieldManager: "somebody", Force: true})
	require.NoError(s.t, err)
	return after
}

func (s *stage) resource(apiVersion, kind, namespace string) dynamic.ResourceInterface {
	gv, err := schema.ParseGroupVersion(apiVersion)
	require.NoError(s.t, err)
	plural := map[string]string{
		"ConfigMap": "configmaps", "Namespace": "namespaces", "Route": "routes", "ReferenceGrant": "referencegrants",
		"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "CustomResourceDefinition": "customresourcedefinitions",
	}[kind]
	require.NotEmpty(s.t, plural, kind)
	resource := s.admin.Resource(gv.WithResource(plural))
	if namespace == "" {
		return resource
	}
	return resource.Namespace(namespace)
}

func (s *stage) delete(apiVersion, kind, namespace, name string) {
	s.t.Helper()
	require.NoError(s.t, s.resource(apiVersion, kind, namespace).Delete(s.ctx, name, metav1.DeleteOptions{}))
}

// see resolves one need of the caller in the stage's namespace until it is in
// the state, and waits for the broker's notification in between: nobody polls.
func (s *stage) see(grant rollout.Grant, need rollout.Need, want func(rollout.NeedResult) bool) rollout.NeedResult {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		got := s.Resolve(caller(s.namespace), "me", grant, []rollout.Need{need})[0]
		if want(got) {
			return got
		}
		select {
		case <-s.told:
		case <-timeout:
			require.Failf(s.t, "not seen", "last answer: %s %s %d objects", got.State, got.Message, len(got.Objects))
		}
	}
}

func in(state rollout.NeedState, objects int) func(rollout.NeedResult) bool {
	return func(r rollout.NeedResult) bool { return r.State == state && len(r.Objects) == objects }
}

func crd(group, kind, plural string) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, a test"}},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced",
			"names": map[string]any{"kind": kind, "plural": plural},
			"versions": []any{map[string]any{
				"name": "v1beta1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	}
}

func TestAnObjectIsShownFollowedAndSeenToGo(t *testing.T) {
	s := newStage(t, "shown", nil, nil)
	grant, need := all("", "ConfigMap"), named("", "ConfigMap", "v1", "shown", "web")

	first := s.Resolve(caller("shown"), "me", grant, []rollout.Need{need})[0]
	assert.Equal(t, rollout.NeedSyncing, first.State, "Resolve does not wait")
	assert.NotEmpty(t, first.Message)

	none := s.see(grant, need, in(rollout.NeedSynced, 0))
	assert.Equal(t, "v1", none.APIVersion)
	assert.Equal(t, need, none.Need)

	made := s.apply("v1", "ConfigMap", "shown", "web", map[string]any{"data": map[string]any{"k": "1"}})
	one := s.see(grant, need, in(rollout.NeedSynced, 1))
	assert.Equal(t, made.GetResourceVersion(), one.Objects[0].ResourceVersion)
	assert.Contains(t, string(one.Objects[0].JSON), `"data":{"k":"1"}`)
	assert.NotContains(t, string(one.Objects[0].JSON), "managedFields")

	s.apply("v1", "ConfigMap", "shown", "web", map[string]any{"data": map[string]any{"k": "2"}})
	s.see(grant, need, func(r rollout.NeedResult) bool {
		return len(r.Objects) == 1 && r.Objects[0].ResourceVersion != made.GetResourceVersion()
	})

	s.delete("v1", "ConfigMap", "shown", "web")
	s.see(grant, need, in(rollout.NeedSynced, 0))
}

func TestASelectorShowsWhatMatchesInOrder(t *testing.T) {
	s := newStage(t, "selected", nil, nil)
	labelled := map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "shop"}}}
	for _, name := range []string{"b", "c", "a"} {
		s.apply("v1", "ConfigMap", "selected", name, labelled)
	}
	s.apply("v1", "ConfigMap", "selected", "foreign", nil)
	grant, need := all("", "ConfigMap"), selecting(named("", "ConfigMap", "v1", "selected", ""), map[string]string{"app": "shop"})

	names := func(r rollout.NeedResult) (out []string) {
		for _, o := range r.Objects {
			u, err := decode(o.JSON)
			require.NoError(t, err)
			out = append(out, u.GetName())
		}
		return out
	}
	assert.Equal(t, []string{"a", "b", "c"}, names(s.see(grant, need, in(rollout.NeedSynced, 3))))
	s.apply("v1", "ConfigMap", "selected", "b", nil)
	assert.Equal(t, []string{"a", "c"}, names(s.see(grant, need, in(rollout.NeedSynced, 2))), "b lost its label")
}

func TestAKindAppearsAndGoes(t *testing.T) {
	s := newStage(t, "crds", nil, nil)
	grant := all("late.sluice.dev", "Route")
	need := rollout.Need{Group: "late.sluice.dev", Kind: "Route", Versions: []string{"v1", "v1beta1"}, Namespace: "crds", Name: "web"}

	missing := s.see(grant, need, in(rollout.NeedNotServed, 0))
	assert.Contains(t, missing.Message, "does not serve Route.late.sluice.dev in version v1 or v1beta1; install the CRD")

	s.apply("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "routes.late.sluice.dev", crd("late.sluice.dev", "Route", "routes"))
	served := s.see(grant, need, in(rollout.NeedSynced, 0))
	assert.Equal(t, "late.sluice.dev/v1beta1", served.APIVersion, "the first version there is")

	s.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "routes.late.sluice.dev")
	s.see(grant, need, in(rollout.NeedNotServed, 0))
}

func TestAControllerWithoutPermissionSaysWhichOne(t *testing.T) {
	// A user of its own for each run: permissions outlive the test.
	account := fmt.Sprint("controller-", time.Now().UnixNano())
	config, err := apiServer(t).ConfigFor("system:serviceaccount:sluice:" + account)
	require.NoError(t, err)
	s := newStage(t, "rbac", config, nil)
	grant, need := all("", "ConfigMap"), named("", "ConfigMap", "v1", "rbac", "web")

	forbidden := s.see(grant, need, in(rollout.NeedForbidden, 0))
	assert.Contains(t, forbidden.Message, `User "system:serviceaccount:sluice:`+account+`" cannot list resource "configmaps"`)
	assert.Contains(t, forbidden.Message, `ClusterRole bound to the controller's ServiceAccount: {apiGroups: [""], resources: [configmaps], verbs: [get, list, watch, create, patch, delete]}`)

	role := func(verbs ...any) {
		s.apply("rbac.authorization.k8s.io/v1", "ClusterRole", "", "read-configmaps", map[string]any{
			"rules": []any{map[string]any{"apiGroups": []any{""}, "resources": []any{"configmaps"}, "verbs": verbs}}})
	}
	role("get", "list", "watch")
	s.apply("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "", "read-configmaps", map[string]any{
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "read-configmaps"},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": account, "namespace": "sluice"}}})
	s.apply("v1", "ConfigMap", "rbac", "web", map[string]any{"data": map[string]any{"k": "1"}})
	shown := s.see(grant, need, in(rollout.NeedSynced, 1))

	write := rollout.Write{Verb: rollout.WriteUpdate, JSON: edit(t, shown.Objects[0], func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"a": "b"}) })}
	err = s.Apply(s.ctx, caller("rbac"), grant, []rollout.NeedResult{shown}, []rollout.Write{write})
	var problem *rollout.Problem
	require.ErrorAs(t, err, &problem)
	assert.Equal(t, rollout.ProblemRefused, problem.Class)
	assert.Contains(t, problem.Message, "cannot patch resource")
	assert.Contains(t, problem.Message, "ClusterRole")
}

func TestAnotherNamespaceHasToAgree(t *testing.T) {
	s := newStage(t, "guest", nil, nil)
	s.apply("v1", "Namespace", "", "host", nil)
	s.apply("v1", "ConfigMap", "host", "web", map[string]any{"data": map[string]any{"k": "1"}})
	s.apply("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "referencegrants.gateway.networking.k8s.io",
		crd("gateway.networking.k8s.io", "ReferenceGrant", "referencegrants"))
	grant, need := all("", "ConfigMap"), named("", "ConfigMap", "v1", "host", "web")

	denied := s.see(grant, need, in(rollout.NeedDenied, 0))
	assert.Contains(t, denied.Message, "create a ReferenceGrant in host")

	eventually(t, "the CRD is served", func() bool {
		_, err := s.resource("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "host").List(s.ctx, metav1.ListOptions{})
		return err == nil
	})
	s.apply("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "host", "guests", map[string]any{"spec": map[string]any{
		"from": []any{map[string]any{"group": "argoproj.io", "kind": "Rollout", "namespace": "guest"}},
		"to":   []any{map[string]any{"group": "", "kind": "ConfigMap", "name": "web"}}}})
	shown := s.see(grant, need, in(rollout.NeedSynced, 1))

	s.delete("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "host", "guests")
	s.see(grant, need, in(rollout.NeedDenied, 0))
	write := rollout.Write{Verb: rollout.WriteUpdate, JSON: edit(t, shown.Objects[0], func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"a": "b"}) })}
	assert.ErrorContains(t, s.Apply(s.ctx, caller("guest"), grant, []rollout.NeedResult{shown}, []rollout.Write{write}),
		"does not let", "what was shown before counts for nothing")

	grant.AllowNamespaces = []string{"host"}
	s.see(grant, need, in(rollout.NeedSynced, 1))
}

func TestWhatNobodyNeedsIsNotWatched(t *testing.T) {
	s := newStage(t, "idle", nil, func(o *Options) { o.Idle = 100 * time.Millisecond })
	watched := func() (names []string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for key := range s.watches {
			names = append(names, key.name)
		}
		slices.Sort(names)
		return names
	}
	grant, a, b := all("", "ConfigMap"), named("", "ConfigMap", "v1", "idle", "a"), named("", "ConfigMap", "v1", "idle", "b")
	s.Resolve(caller("idle"), "one", grant, []rollout.Need{a, b})
	s.Resolve(caller("idle"), "two", grant, []rollout.Need{b})
	assert.Equal(t, []string{"a", "b"}, watched(), "one informer for both")

	s.Resolve(caller("idle"), "one", grant, nil)
	eventually(t, "a is dropped", func() bool { return slices.Equal(watched(), []string{"b"}) })
	s.Forget("two")
	eventually(t, "b is dropped", func() bool { return len(watched()) == 0 })
	s.Forget("nobody")
}

func edit(t *testing.T, shown rollout.Object, change func(*unstructured.Unstructured)) []byte {
	t.Helper()
	u, err := decode(shown.JSON)
	require.NoError(t, err)
	change(u)
	raw, err := u.MarshalJSON()
	require.NoError(t, err)
	return raw
}

func uidOf(t *testing.T, o rollout.Object) types.UID {
	t.Helper()
	u, err := decode(o.JSON)
	require.NoError(t, err)
	return u.GetUID()
}
