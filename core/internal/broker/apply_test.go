package broker

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// oneKind is an API server that serves ConfigMaps and Nodes and nothing else.
type oneKind struct{}

func (oneKind) ServerGroupsWithContext(context.Context) (*metav1.APIGroupList, error) {
	return &metav1.APIGroupList{}, nil
}

func (oneKind) ServerResourcesForGroupVersionWithContext(context.Context, string) (*metav1.APIResourceList, error) {
	return &metav1.APIResourceList{APIResources: []metav1.APIResource{
		{Name: "configmaps", Kind: "ConfigMap", Namespaced: true},
		{Name: "configmaps/status", Kind: "ConfigMap", Namespaced: true},
		{Name: "nodes", Kind: "Node"},
	}}, nil
}

// Nothing of an answer is sent if any of it is not allowed: the client is nil.
func TestWhatAPluginMayNotWrite(t *testing.T) {
	const object = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","namespace":"shop","uid":"u","resourceVersion":"7","creationTimestamp":"2026-01-01T00:00:00Z","finalizers":["x/y"]},"spec":{"a":1},"status":{"ok":true}}`
	shown := []rollout.NeedResult{{State: rollout.NeedSynced, APIVersion: "v1", Objects: []rollout.Object{{JSON: []byte(object), ResourceVersion: "7"}}}}
	write := func(verb rollout.WriteVerb, json string) []rollout.Write {
		return []rollout.Write{{Verb: verb, JSON: []byte(json)}}
	}
	const head = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","namespace":"shop","uid":"u","resourceVersion":"7","creationTimestamp":"2026-01-01T00:00:00Z"`
	for name, tc := range map[string]struct {
		writes []rollout.Write
		want   string
	}{
		"not JSON":          {write("update", `{`), "is not an object"},
		"no name":           {write("update", `{"apiVersion":"v1","kind":"ConfigMap"}`), "metadata.name are required"},
		"unknown verb":      {write("replace", object), "does not cover ConfigMap"},
		"ungranted kind":    {write("update", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop"}}`), "does not cover Pod"},
		"a secret":          {write("create", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"web","namespace":"shop"}}`), "never given to plugins"},
		"status":            {write("update", head+`,"finalizers":["x/y"]},"spec":{"a":1},"status":{"ok":false}}`), "changes status"},
		"status dropped":    {write("update", head+`,"finalizers":["x/y"]},"spec":{"a":1}}`), "changes status"},
		"finalizers":        {write("update", head+`},"spec":{"a":1},"status":{"ok":true}}`), "changes metadata.finalizers"},
		"owner":             {write("update", head+`,"finalizers":["x/y"],"ownerReferences":[{}]},"spec":{"a":1},"status":{"ok":true}}`), "changes metadata.ownerReferences"},
		"another version":   {write("update", `{"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"web","namespace":"shop","uid":"u","resourceVersion":"7","creationTimestamp":"2026-01-01T00:00:00Z","finalizers":["x/y"]},"spec":{"a":1},"status":{"ok":true}}`), "changes apiVersion"},
		"a newer state":     {write("update", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","namespace":"shop","uid":"u","resourceVersion":"8","creationTimestamp":"2026-01-01T00:00:00Z","finalizers":["x/y"]},"spec":{"a":1},"status":{"ok":true}}`), "changes metadata.resourceVersion"},
		"not shown":         {write("update", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"api","namespace":"shop"}}`), "was not shown"},
		"delete, not shown": {write("delete", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"api","namespace":"shop"}}`), "was not shown"},
		"delete, foreign":   {write("delete", object), "did not create"},
		"delete, newer":     {write("delete", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","namespace":"shop","resourceVersion":"8"}}`), "shown was 7"},
		"create elsewhere":  {write("create", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"new","namespace":"other"}}`), "created in namespace shop only"},
		"create with owner": {write("create", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"new","namespace":"shop","ownerReferences":[{}],"finalizers":["x"]},"status":{"a":1}}`), "sets metadata.finalizers, metadata.ownerReferences, status"},
		"twice":             {append(write("update", object), write("update", object)...), "two writes to ConfigMap shop/web"},
	} {
		t.Run(name, func(t *testing.T) {
			b := New(Options{Discovery: oneKind{}})
			err := b.Apply(t.Context(), caller("shop"), all("", "ConfigMap"), shown, tc.writes)
			var problem *rollout.Problem
			require.ErrorAs(t, err, &problem)
			assert.Equal(t, rollout.ProblemRefused, problem.Class)
			assert.Equal(t, "PluginRefused", problem.Reason)
			assert.Contains(t, problem.Message, tc.want)
		})
	}
}

func TestANeedHasToFitTheScopeOfItsKind(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := New(Options{Discovery: oneKind{}})
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	grant := rollout.Grant{Rules: append(all("", "ConfigMap").Rules, all("", "Node").Rules...)}
	needs := []rollout.Need{named("", "ConfigMap", "v1", "", "web"), named("", "Node", "v1", "shop", "one")}
	eventually(t, "both are refused", func() bool {
		got := b.Resolve(caller("shop"), "me", grant, needs)
		return got[0].State == rollout.NeedDenied && got[1].State == rollout.NeedDenied
	})
	got := b.Resolve(caller("shop"), "me", grant, needs)
	assert.Equal(t, "ConfigMap lives in namespaces: the need has to name one", got[0].Message)
	assert.Equal(t, "Node is cluster-scoped: the need must not name a namespace", got[1].Message)
	cancel()
	require.NoError(t, <-done)
}
