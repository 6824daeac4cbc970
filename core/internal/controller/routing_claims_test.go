package controller

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

func TestWhoMaySteerABackend(t *testing.T) {
	const earlier, later = 1_000, 2_000
	at := func(name string, created int64, keys ...string) *v1alpha1.Rollout {
		ro := &v1alpha1.Rollout{}
		ro.Namespace, ro.Name, ro.UID = "shop", name, types.UID("uid-"+name)
		ro.CreationTimestamp = metav1.NewTime(time.Unix(created, 0))
		router := v1alpha1.RouterStatus{Plugin: "test/router"}
		for _, key := range keys {
			router.Holds = append(router.Holds, hold("web", key))
		}
		ro.Status.Canary.Routers = []v1alpha1.RouterStatus{router}
		return ro
	}
	for name, tc := range map[string]struct {
		me, other *v1alpha1.Rollout
		lost      bool
	}{
		"free":                          {at("a", later), at("b", earlier), false},
		"held by another":               {at("a", earlier), at("b", later, "rule=1"), true},
		"held by me":                    {at("a", later, "rule=1"), at("b", earlier), false},
		"held by both, I am older":      {at("a", earlier, "rule=1"), at("b", later, "rule=1"), false},
		"held by both, I am younger":    {at("a", later, "rule=1"), at("b", earlier, "rule=1"), true},
		"held by both, same age, UID":   {at("a", later, "rule=1"), at("b", later, "rule=1"), false},
		"held by both, same age, UID 2": {at("b", later, "rule=1"), at("a", later, "rule=1"), true},
		"another rule of the object":    {at("a", later), at("b", earlier, "rule=2"), false},
		"myself":                        {at("a", later), at("a", later, "rule=1"), false},
	} {
		t.Run(name, func(t *testing.T) {
			claims := []rollout.Claim{{Object: hold("web", "").Object, Key: "rule=0"}, {Object: hold("web", "").Object, Key: "rule=1"}}
			got := contested(tc.me, claims, []*v1alpha1.Rollout{tc.me, tc.other})
			if !tc.lost {
				assert.Nil(t, got)
				return
			}
			require.NotNil(t, got)
			assert.Equal(t, rollout.ProblemConflict, got.Class)
			assert.Equal(t, "RouteConflict", got.Reason)
			assert.Contains(t, got.Message, "Rollout shop/"+tc.other.Name+" already routes rule=1 of Route.test/shop/web")
		})
	}
}

func TestTheLoserOfAClaimStillKnowsTheTraffic(t *testing.T) {
	b, ro := newBench("web"), shop(`{"routes":["web"]}`)
	b.plugin.claims = []rollout.Claim{{Object: hold("web", "").Object, Key: "rule=1"}}
	require.Nil(t, b.observeOne(ro).Problem)

	other := shop(`{}`)
	other.Name, other.UID = "other", "uid-other"
	other.Status.Canary.Routers = []v1alpha1.RouterStatus{{Holds: []v1alpha1.RouterHold{hold("web", "rule=1")}}}
	b.others = []*v1alpha1.Rollout{ro, other}
	lost := b.observeOne(ro)
	require.NotNil(t, lost.Problem)
	assert.Equal(t, rollout.ProblemConflict, lost.Problem.Class)
	assert.True(t, lost.Known())
	assert.Len(t, lost.Observation.Observed, 1)

	b.others = nil
	assert.Nil(t, b.observeOne(ro).Problem, "free again")
}
