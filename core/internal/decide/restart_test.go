package decide_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/decide"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// TestRestart: how many pods are evicted at once (§11.4, restart_test.go).
func TestRestart(t *testing.T) {
	percent := intstr.FromString
	for _, tt := range []struct {
		name           string
		replicas       int32
		maxUnavailable intstr.IntOrString
		old, fresh     int   // available pods from before and after restartAt
		starting       int   // fresh pods that are not available
		spec           int32 // of the ReplicaSet; 0 means replicas
		evicted        int
		done           bool
	}{
		{name: "as many as may be missing", replicas: 3, maxUnavailable: intstr.FromInt32(2), old: 3, evicted: 2},
		{name: "one that starts is missing already", replicas: 3, maxUnavailable: intstr.FromInt32(2), old: 2, starting: 1, evicted: 1},
		{name: "at least one", replicas: 3, maxUnavailable: intstr.FromInt32(0), old: 3, evicted: 1},
		{name: "all at once", replicas: 2, maxUnavailable: percent("100%"), old: 2, evicted: 2},
		{name: "a percent without the sign", replicas: 4, maxUnavailable: percent("50"), old: 4, evicted: 2},
		{name: "rounded down", replicas: 3, maxUnavailable: percent("50%"), old: 3, evicted: 1},
		{name: "one pod", replicas: 1, maxUnavailable: percent("25%"), old: 1, evicted: 1},
		{name: "one pod, while another starts", replicas: 1, maxUnavailable: percent("25%"), starting: 1, done: true},
		{name: "one pod too many", replicas: 1, maxUnavailable: percent("25%"), spec: 2, old: 2, evicted: 1},
		{name: "one pod too many, while one starts", replicas: 1, maxUnavailable: percent("25%"), spec: 2, old: 1, starting: 1, evicted: 0},
		{name: "nothing old is left", replicas: 2, maxUnavailable: percent("25%"), fresh: 2, done: true},
		{name: "no pods", replicas: 0, maxUnavailable: percent("25%"), done: true},
	} {
		if tt.spec == 0 {
			tt.spec = tt.replicas
		}
		t.Run(tt.name, func(t *testing.T) {
			at := metav1.NewTime(start.Add(-time.Minute))
			ro := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "n", UID: "u", ResourceVersion: "1"}}
			ro.Spec = v1alpha1.RolloutSpec{Replicas: &tt.replicas, Template: template("v2"), RestartAt: &at,
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}},
				Strategy: v1alpha1.RolloutStrategy{Canary: &v1alpha1.CanaryStrategy{StableService: "s", CanaryService: "c", MaxUnavailable: &tt.maxUnavailable,
					TrafficRouting: &v1alpha1.RolloutTrafficRouting{Plugins: map[string]json.RawMessage{"r": json.RawMessage(`{}`)}}}}}
			hash := rollout.TemplateHash(ro.Spec.Template, nil)
			ro.Status.StableRS, ro.Status.CurrentPodHash, ro.Status.CurrentStepHash = hash, hash, rollout.StepsHash(ro)
			rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "x-" + hash, UID: "rs", Labels: map[string]string{"app": "x", v1alpha1.LabelPodTemplateHash: hash},
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ro, v1alpha1.GroupVersion.WithKind("Rollout"))}},
				Spec: appsv1.ReplicaSetSpec{Replicas: &tt.spec, Template: ro.Spec.Template}}
			s := &rollout.Snapshot{Now: start, Rollout: ro, ReplicaSets: []*appsv1.ReplicaSet{rs}, Pods: []rollout.Pod{},
				Services: map[string]*corev1.Service{"s": {}, "c": {}}, Routers: []rollout.Router{{Plugin: "r"}}}
			add := func(n int, created time.Time, available bool) {
				for range n {
					name := fmt.Sprintf("pod-%d", len(s.Pods))
					s.Pods = append(s.Pods, rollout.Pod{Name: name, UID: name, ReplicaSet: "rs", Created: created, Available: available})
				}
			}
			add(tt.old, at.Add(-time.Hour), true)
			add(tt.fresh, at.Add(time.Second), true)
			add(tt.starting, at.Add(time.Second), false)
			plan := decide.Decide(s)
			evicted := 0
			for _, op := range plan.Ops {
				if _, ok := op.(rollout.EvictPod); ok {
					evicted++
				}
			}
			assert.Equal(t, tt.evicted, evicted)
			assert.Equal(t, tt.done, plan.RestartedAt != nil, "recorded as done")
		})
	}
}
