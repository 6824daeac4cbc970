package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// web is the object all of these write, at a resourceVersion.
func web(rv, uid string, l map[string]string) *cached {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
	u.SetNamespace("shop")
	u.SetName("web")
	u.SetUID(types.UID(uid))
	u.SetResourceVersion(rv)
	u.SetLabels(l)
	return &cached{Unstructured: u, json: []byte("{}")}
}

func TestNothingOlderThanTheOwnWriteIsShown(t *testing.T) {
	inShop := map[string]string{"app": "shop"}
	old := time.Now().Add(-time.Hour)
	for name, tc := range map[string]struct {
		need  rollout.Need
		store *cached
		seen  string
		write written
		state rollout.NeedState
	}{
		"older":                     {named("", "ConfigMap", "v1", "shop", "web"), web("9", "u", nil), "9", written{rv: "10", base: "9"}, rollout.NeedSyncing},
		"older by digits":           {named("", "ConfigMap", "v1", "shop", "web"), web("99", "u", nil), "99", written{rv: "100", base: "99"}, rollout.NeedSyncing},
		"the same":                  {named("", "ConfigMap", "v1", "shop", "web"), web("10", "u", nil), "10", written{rv: "10", base: "9"}, rollout.NeedSynced},
		"newer":                     {named("", "ConfigMap", "v1", "shop", "web"), web("11", "u", nil), "11", written{rv: "10", base: "9"}, rollout.NeedSynced},
		"not comparable, the base":  {named("", "ConfigMap", "v1", "shop", "web"), web("a", "u", nil), "a", written{rv: "b", base: "a"}, rollout.NeedSyncing},
		"not comparable, not base":  {named("", "ConfigMap", "v1", "shop", "web"), web("c", "u", nil), "c", written{rv: "b", base: "a"}, rollout.NeedSynced},
		"created, not there":        {named("", "ConfigMap", "v1", "shop", "web"), nil, "9", written{rv: "10"}, rollout.NeedSyncing},
		"created, nothing seen":     {named("", "ConfigMap", "v1", "shop", "web"), nil, "", written{rv: "10"}, rollout.NeedSyncing},
		"created, come and gone":    {named("", "ConfigMap", "v1", "shop", "web"), nil, "12", written{rv: "10"}, rollout.NeedSynced},
		"deleted, still there":      {named("", "ConfigMap", "v1", "shop", "web"), web("9", "u", nil), "9", written{uid: "u", deleted: true}, rollout.NeedSyncing},
		"deleted, gone":             {named("", "ConfigMap", "v1", "shop", "web"), nil, "9", written{uid: "u", deleted: true}, rollout.NeedSynced},
		"deleted, made anew":        {named("", "ConfigMap", "v1", "shop", "web"), web("20", "v", nil), "20", written{uid: "u", deleted: true}, rollout.NeedSynced},
		"another object":            {named("", "ConfigMap", "v1", "shop", "api"), nil, "9", written{rv: "10", base: "9"}, rollout.NeedSynced},
		"selected, older":           {selecting(named("", "ConfigMap", "v1", "shop", ""), inShop), web("9", "u", inShop), "9", written{rv: "10", base: "9", labels: inShop}, rollout.NeedSyncing},
		"selected, to come":         {selecting(named("", "ConfigMap", "v1", "shop", ""), inShop), nil, "9", written{rv: "10", base: "9", labels: inShop}, rollout.NeedSyncing},
		"never selected":            {selecting(named("", "ConfigMap", "v1", "shop", ""), inShop), nil, "9", written{rv: "10", base: "9"}, rollout.NeedSynced},
		"label taken off, to leave": {selecting(named("", "ConfigMap", "v1", "shop", ""), inShop), web("9", "u", inShop), "9", written{rv: "10", base: "9"}, rollout.NeedSyncing},
	} {
		t.Run(name, func(t *testing.T) {
			key, selector, err := keyOfNeed(tc.need)
			require.NoError(t, err)
			informer := cache.NewSharedIndexInformer(&cache.ListWatch{}, &unstructured.Unstructured{}, 0, nil)
			if tc.store != nil {
				require.NoError(t, informer.GetStore().Add(tc.store))
			}
			w := &watch{key: key, selector: selector, state: rollout.NeedSynced, informer: informer, seen: tc.seen}
			var own writes
			tc.write.at = time.Now()
			own.remember(objectKey{schema.GroupKind{Kind: "ConfigMap"}, types.NamespacedName{Namespace: "shop", Name: "web"}}, tc.write)

			got := w.answer(&own, time.Now())
			assert.Equal(t, tc.state, got.State, got.Message)
			if got.State == rollout.NeedSyncing {
				assert.Equal(t, "the cache is behind this controller's own write to ConfigMap shop/web", got.Message)
				assert.Empty(t, got.Objects)
			}
			tc.write.at = old
			own.remember(objectKey{schema.GroupKind{Kind: "ConfigMap"}, types.NamespacedName{Namespace: "shop", Name: "web"}}, tc.write)
			own.expire(time.Now())
			assert.Empty(t, own.by, "the memory is bounded")
		})
	}
}

func TestNeedsThatMakeNoSense(t *testing.T) {
	for want, need := range map[string]rollout.Need{
		"without kind":                      {Name: "x"},
		"exactly one of name and selector":  {Kind: "ConfigMap", Namespace: "shop"},
		"set exactly one of":                {Kind: "ConfigMap", Name: "x", Selector: &metav1.LabelSelector{}},
		"selector of the need for HTTPRout": {Kind: "HTTPRoute", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"?": "!"}}},
	} {
		_, _, err := keyOfNeed(need)
		assert.ErrorContains(t, err, want)
	}
	key, selector, err := keyOfNeed(selecting(named("", "Pod", "v1", "shop", ""), nil))
	require.NoError(t, err)
	assert.Equal(t, "Pod with labels <any> in namespace shop", key.String())
	assert.True(t, selector.Matches(labels.Set{"any": "thing"}))
}
