package broker

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// data sets one key of a ConfigMap.
func data(key, value string) func(*unstructured.Unstructured) {
	return func(u *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(u.Object, value, "data", key)
	}
}

func update(t *testing.T, shown rollout.NeedResult, change func(*unstructured.Unstructured)) []rollout.Write {
	t.Helper()
	return []rollout.Write{{Verb: rollout.WriteUpdate, JSON: edit(t, shown.Objects[0], change)}}
}

func TestAnUpdateSendsTheDifferenceAndNothingElse(t *testing.T) {
	s := newStage(t, "update", nil, nil)
	s.apply("v1", "ConfigMap", "update", "web", map[string]any{
		"metadata": map[string]any{"labels": map[string]any{"theirs": "1"}},
		"data":     map[string]any{"weight": "0", "theirs": "keep"}})
	grant, need := all("", "ConfigMap"), named("", "ConfigMap", "v1", "update", "web")
	shown := s.see(grant, need, in(rollout.NeedSynced, 1))

	require.NoError(t, s.Apply(s.ctx, caller("update"), grant, []rollout.NeedResult{shown}, update(t, shown, data("weight", "0"))))
	assert.Zero(t, s.writes.Load(), "no difference, no request")

	require.NoError(t, s.Apply(s.ctx, caller("update"), grant, []rollout.NeedResult{shown}, update(t, shown, data("weight", "10"))))
	assert.EqualValues(t, 1, s.writes.Load())
	now, err := s.resource("v1", "ConfigMap", "update").Get(s.ctx, "web", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"weight": "10", "theirs": "keep"}, now.Object["data"])
	assert.Equal(t, map[string]string{"theirs": "1"}, now.GetLabels())

	// The same answer again is computed from an object that is no more.
	err = s.Apply(s.ctx, caller("update"), grant, []rollout.NeedResult{shown}, update(t, shown, data("weight", "20")))
	assert.True(t, apierrors.IsConflict(err), "%v", err)
	assert.ErrorContains(t, err, "update of ConfigMap update/web")

	s.delete("v1", "ConfigMap", "update", "web")
	err = s.Apply(s.ctx, caller("update"), grant, []rollout.NeedResult{shown}, update(t, shown, data("weight", "20")))
	assert.True(t, apierrors.IsConflict(err), "what is gone is not as it was shown: %v", err)
}

func TestAfterAWriteTheOldStateIsNeverShownAgain(t *testing.T) {
	s := newStage(t, "behind", nil, nil)
	s.apply("v1", "ConfigMap", "behind", "web", map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "shop"}}, "data": map[string]any{"n": "0"}})
	grant := all("", "ConfigMap")
	byName, byLabel := named("", "ConfigMap", "v1", "behind", "web"), selecting(named("", "ConfigMap", "v1", "behind", ""), map[string]string{"app": "shop"})
	// A second subscriber looks at the same object through another informer.
	other := func() rollout.NeedResult {
		return s.Resolve(caller("behind"), "other", grant, []rollout.Need{byLabel})[0]
	}
	eventually(t, "the other has listed", func() bool { return other().State == rollout.NeedSynced })

	caughtBehind := 0
	for n := 1; n <= 50; n++ {
		shown := s.see(grant, byName, in(rollout.NeedSynced, 1))
		require.NoError(t, s.Apply(s.ctx, caller("behind"), grant, []rollout.NeedResult{shown}, update(t, shown, data("n", strconv.Itoa(n)))))
		for _, now := range []rollout.NeedResult{other(), s.Resolve(caller("behind"), "me", grant, []rollout.Need{byName})[0]} {
			if now.State == rollout.NeedSyncing {
				caughtBehind++
				continue
			}
			order, err := resourceversion.CompareResourceVersion(now.Objects[0].ResourceVersion, shown.Objects[0].ResourceVersion)
			require.NoError(t, err)
			require.Positive(t, order, "the state before the own write was shown")
			require.Contains(t, string(now.Objects[0].JSON), fmt.Sprintf(`"n":"%d"`, n))
		}
	}
	t.Logf("%d of 100 answers were held back", caughtBehind)
}

func TestAPluginCreatesAndRemovesItsOwnOnly(t *testing.T) {
	s := newStage(t, "own", nil, nil)
	me := caller("own")
	grant, need := all("", "ConfigMap"), named("", "ConfigMap", "v1", "own", "canary")
	create := []rollout.Write{{Verb: rollout.WriteCreate, JSON: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"canary","namespace":"own"},"data":{"k":"1"}}`)}}
	s.see(grant, need, in(rollout.NeedSynced, 0))
	require.NoError(t, s.Apply(s.ctx, me, grant, nil, create))
	shown := s.see(grant, need, in(rollout.NeedSynced, 1))
	made, err := decode(shown.Objects[0].JSON)
	require.NoError(t, err)
	owner := metav1.GetControllerOf(made)
	require.NotNil(t, owner)
	assert.Equal(t, "argoproj.io/v1alpha1 Rollout shop uid-shop", fmt.Sprint(owner.APIVersion, " ", owner.Kind, " ", owner.Name, " ", owner.UID))

	err = s.Apply(s.ctx, me, grant, nil, create)
	assert.True(t, apierrors.IsConflict(err), "it exists already: %v", err)

	remove := []rollout.Write{{Verb: rollout.WriteDelete, JSON: shown.Objects[0].JSON}}
	stranger := me
	stranger.UID = "uid-other"
	assert.ErrorContains(t, s.Apply(s.ctx, stranger, grant, []rollout.NeedResult{shown}, remove), "did not create")

	s.apply("v1", "ConfigMap", "own", "canary", map[string]any{"data": map[string]any{"k": "2"}})
	err = s.Apply(s.ctx, me, grant, []rollout.NeedResult{shown}, remove)
	assert.True(t, apierrors.IsConflict(err), "somebody changed it meanwhile: %v", err)

	old := shown.Objects[0].ResourceVersion
	shown = s.see(grant, need, func(r rollout.NeedResult) bool {
		return len(r.Objects) == 1 && r.Objects[0].ResourceVersion != old
	})
	remove[0].JSON = shown.Objects[0].JSON
	require.NoError(t, s.Apply(s.ctx, me, grant, []rollout.NeedResult{shown}, remove))
	for _, r := range s.Resolve(me, "me", grant, []rollout.Need{need})[0].Objects {
		assert.NotEqual(t, uidOf(t, shown.Objects[0]), uidOf(t, r), "a deleted object is not shown again")
	}
	s.see(grant, need, in(rollout.NeedSynced, 0))
	require.NoError(t, s.Apply(s.ctx, me, grant, []rollout.NeedResult{shown}, remove), "gone is gone")
}

// Ten rollouts share an object whose entries are one array, which a merge patch
// can only replace whole. Each counts its own entry up; none is lost.
func TestManyWritersOfOneArrayLoseNothing(t *testing.T) {
	const writers, rounds = 10, 5
	s := newStage(t, "array", nil, nil)
	s.apply("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "routes.array.sluice.dev", crd("array.sluice.dev", "Route", "routes"))
	rules := make([]any, writers)
	for i := range rules {
		rules[i] = map[string]any{"weight": int64(0), "foreign": "keep"}
	}
	eventually(t, "the CRD is served", func() bool {
		_, err := s.resource("array.sluice.dev/v1beta1", "Route", "array").List(s.ctx, metav1.ListOptions{})
		return err == nil
	})
	s.apply("array.sluice.dev/v1beta1", "Route", "array", "web", map[string]any{"spec": map[string]any{"rules": rules}})
	grant, need := all("array.sluice.dev", "Route"), named("array.sluice.dev", "Route", "v1beta1", "array", "web")
	s.see(grant, need, in(rollout.NeedSynced, 1))

	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			me := caller("array")
			me.UID = fmt.Sprint("uid-", i)
			for done := 0; done < rounds && s.ctx.Err() == nil; {
				shown := s.Resolve(me, me.UID, grant, []rollout.Need{need})[0]
				if shown.State != rollout.NeedSynced {
					continue
				}
				err := s.Apply(s.ctx, me, grant, []rollout.NeedResult{shown}, update(t, shown, func(u *unstructured.Unstructured) {
					rules, _, _ := unstructured.NestedSlice(u.Object, "spec", "rules")
					rule := rules[i].(map[string]any)
					rule["weight"] = rule["weight"].(int64) + 1
					_ = unstructured.SetNestedSlice(u.Object, rules, "spec", "rules")
				}))
				if err == nil {
					done++
				} else if !apierrors.IsConflict(err) {
					assert.NoError(t, err)
					return
				}
			}
		})
	}
	all.Wait()
	now, err := s.resource("array.sluice.dev/v1beta1", "Route", "array").Get(s.ctx, "web", metav1.GetOptions{})
	require.NoError(t, err)
	after, _, _ := unstructured.NestedSlice(now.Object, "spec", "rules")
	for i, rule := range after {
		assert.Equal(t, map[string]any{"weight": int64(rounds), "foreign": "keep"}, rule, "rule %d", i)
	}
}
