package decide

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// count are wanted and available pods of a ReplicaSet.
type count struct{ spec, available int32 }

// canaryOf is a planner in the middle of an update from revision "stable" to
// "canary", with the steps and traffic that edit adds.
func canaryOf(replicas int32, stable, canary count, edit ...func(*v1alpha1.Rollout)) *planner {
	ro := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
	ro.Spec.Replicas = &replicas
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{}
	ro.Status.StableRS, ro.Status.CurrentPodHash = "stable", "canary"
	for _, f := range edit {
		f(ro)
	}
	s := &rollout.Snapshot{Rollout: ro, Services: map[string]*corev1.Service{}}
	s.ReplicaSets = []*appsv1.ReplicaSet{replicaSetOf("stable", stable), replicaSetOf("canary", canary)}
	p := &planner{s: s, ro: ro, plan: &rollout.Plan{}, total: s.TotalWeight(), want: replicas, canary: ro.Spec.Strategy.Canary}
	p.stable = "stable"
	p.work("canary")
	return p
}

func replicaSetOf(hash string, n count) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: hash, Labels: map[string]string{v1alpha1.LabelPodTemplateHash: hash}},
		Spec:       appsv1.ReplicaSetSpec{Replicas: &n.spec},
		Status:     appsv1.ReplicaSetStatus{Replicas: n.spec, AvailableReplicas: n.available},
	}
}

// carry makes one router split its traffic, as status recorded it.
func (p *planner) carry(canary int32) *planner {
	p.canary.StableService, p.canary.CanaryService = "s", "c"
	for name, hash := range map[string]string{"s": "stable", "c": "canary"} {
		p.s.Services[name] = &corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{v1alpha1.LabelPodTemplateHash: hash}}}
	}
	p.s.Routers = []rollout.Router{{Plugin: "r", Observation: rollout.Observation{Convergence: rollout.ConvergenceDone, Observed: []rollout.Observed{{
		Traffic: rollout.Traffic{TotalWeight: p.total, Destinations: []rollout.Destination{
			{Role: rollout.RoleStable, Service: "s", Weight: p.total - canary}, {Role: rollout.RoleCanary, Service: "c", Weight: canary}}}}}}}}
	p.ro.Status.Canary.Weights = &v1alpha1.TrafficWeights{Canary: v1alpha1.WeightDestination{Weight: canary, PodTemplateHash: "canary"}}
	return p
}

func (p *planner) other(n count) *planner {
	p.s.ReplicaSets = append(p.s.ReplicaSets, replicaSetOf("other", n))
	p.work("canary")
	return p
}

func (p *planner) sizes() [2]int32 {
	p.targets()
	return [2]int32{p.size["stable"], p.size["canary"]}
}

// at puts the rollout behind these steps, at the last one.
func at(steps ...v1alpha1.CanaryStep) func(*v1alpha1.Rollout) {
	return func(ro *v1alpha1.Rollout) {
		ro.Spec.Strategy.Canary.Steps = append(ro.Spec.Strategy.Canary.Steps, steps...)
		ro.Status.CurrentStepIndex = ptr.To(int32(len(ro.Spec.Strategy.Canary.Steps) - 1))
	}
}

func weight(n int32) v1alpha1.CanaryStep { return v1alpha1.CanaryStep{SetWeight: &n} }

func scale(s v1alpha1.SetCanaryScale) v1alpha1.CanaryStep {
	return v1alpha1.CanaryStep{SetCanaryScale: &s}
}

func within(surge, unavailable string) func(*v1alpha1.Rollout) {
	return func(ro *v1alpha1.Rollout) {
		s, u := intstr.Parse(surge), intstr.Parse(unavailable)
		ro.Spec.Strategy.Canary.MaxSurge, ro.Spec.Strategy.Canary.MaxUnavailable = &s, &u
	}
}

func routing(ro *v1alpha1.Rollout) {
	ro.Spec.Strategy.Canary.TrafficRouting = &v1alpha1.RolloutTrafficRouting{Plugins: map[string]json.RawMessage{"r": nil}}
}

func dynamic(ro *v1alpha1.Rollout) {
	routing(ro)
	ro.Spec.Strategy.Canary.DynamicStableScale = true
}

func aborting(ro *v1alpha1.Rollout) { ro.Status.Abort = true }

func fully(ro *v1alpha1.Rollout) { ro.Status.PromoteFull = true }

func minPods(n int32) func(*v1alpha1.Rollout) {
	return func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.MinPodsPerReplicaSet = &n }
}

func abortDelay(seconds int32) func(*v1alpha1.Rollout) {
	return func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.AbortScaleDownDelaySeconds = &seconds }
}

// TestBasicCanaryMovesWithinItsBounds: the next sizes of a canary without
// traffic routing, by where its pods are now (§11.1, CalculateReplicaCountsForCanary
// 1–23, 28–36 and 27). A third count is that of an older revision.
func TestBasicCanaryMovesWithinItsBounds(t *testing.T) {
	for _, tc := range []struct {
		replicas, weight   int32
		surge, unavailable string
		stable, canary     count
		older              *count
		want               [2]int32
	}{
		{10, 100, "3", "0", count{7, 8}, count{6, 3}, nil, [2]int32{7, 6}},
		{10, 20, "2", "0", count{10, 10}, count{}, nil, [2]int32{10, 2}},
		{10, 20, "20%", "0", count{10, 10}, count{}, nil, [2]int32{10, 2}},
		{10, 20, "20%", "0", count{10, 10}, count{2, 2}, nil, [2]int32{8, 2}},
		{10, 30, "2", "0", count{10, 10}, count{}, nil, [2]int32{10, 2}},
		{10, 20, "0", "2", count{10, 10}, count{}, nil, [2]int32{8, 0}},
		{10, 20, "0", "20%", count{10, 10}, count{}, nil, [2]int32{8, 0}},
		{10, 30, "0", "2", count{10, 10}, count{}, nil, [2]int32{8, 0}},
		{10, 50, "2", "1", count{10, 10}, count{}, nil, [2]int32{9, 2}},
		{10, 0, "1", "1", count{10, 10}, count{1, 1}, nil, [2]int32{10, 0}},
		{10, 100, "1", "1", count{1, 1}, count{10, 10}, nil, [2]int32{0, 10}},
		{1, 20, "1", "0", count{1, 1}, count{}, nil, [2]int32{1, 1}},
		{1, 90, "1", "0", count{1, 1}, count{}, nil, [2]int32{1, 1}},
		{1, 49, "0", "1", count{1, 1}, count{}, nil, [2]int32{1, 0}},
		{1, 51, "0", "1", count{1, 1}, count{}, nil, [2]int32{0, 0}},
		{1, 51, "0", "1", count{}, count{}, nil, [2]int32{0, 1}},
		{10, 30, "1", "0", count{1, 1}, count{}, &count{3, 3}, [2]int32{7, 1}},
		{10, 30, "0", "3", count{8, 5}, count{4, 4}, nil, [2]int32{7, 3}},
		{10, 100, "1", "0", count{10, 2}, count{10, 8}, nil, [2]int32{2, 9}},
		{10, 30, "0", "1", count{8, 6}, count{4, 2}, &count{3, 3}, [2]int32{8, 4}},
		{10, 5, "0", "1", count{10, 10}, count{}, nil, [2]int32{9, 0}},
		{10, 5, "0", "1", count{9, 9}, count{}, nil, [2]int32{9, 1}},
		{10, 10, "0%", "0%", count{10, 10}, count{}, nil, [2]int32{9, 0}},
		{4, 100, "1", "0", count{4, 1}, count{}, nil, [2]int32{4, 1}},
		{3, 99, "0", "2", count{3, 3}, count{}, nil, [2]int32{1, 0}},
		{3, 99, "0", "2", count{1, 1}, count{}, nil, [2]int32{1, 2}},
		{4, 100, "1", "0", count{4, 1}, count{1, 1}, nil, [2]int32{3, 1}},
		{4, 0, "1", "0", count{}, count{4, 4}, nil, [2]int32{1, 4}},
		{4, 0, "1", "0", count{1, 0}, count{4, 4}, nil, [2]int32{1, 4}},
		{4, 0, "1", "0", count{1, 1}, count{4, 4}, nil, [2]int32{1, 3}},
	} {
		p := canaryOf(tc.replicas, tc.stable, tc.canary, at(weight(tc.weight)), within(tc.surge, tc.unavailable))
		if tc.older != nil {
			p.other(*tc.older)
		}
		assert.Equal(t, tc.want, p.sizes(), "%+v", tc)
	}
	for i, tc := range []struct {
		p    *planner
		want [2]int32
	}{
		{canaryOf(4, count{4, 4}, count{}, at(weight(1)), within("4", "4"), fully), [2]int32{0, 4}},
		{canaryOf(4, count{4, 4}, count{}, at(weight(1)), within("3", "0"), fully), [2]int32{4, 3}},
		{canaryOf(10, count{10, 10}, count{}, at(scale(v1alpha1.SetCanaryScale{Replicas: ptr.To[int32](9), Weight: ptr.To[int32](100)}), weight(20)),
			within("20%", "0")), [2]int32{10, 2}},
	} {
		assert.Equal(t, tc.want, tc.p.sizes(), "%d: a full promotion, and setCanaryScale, which counts only with traffic routing", i)
	}
	p := canaryOf(10, count{}, count{})
	p.stable = "canary"
	p.work("canary")
	assert.Equal(t, int32(10), func() int32 { p.targets(); return p.size["canary"] }(), "nobody to take turns with")
}

// TestOlderRevisionsLeaveABasicCanaryFirst: what is not available at once, the
// rest newest first as far as the floor allows.
func TestOlderRevisionsLeaveABasicCanaryFirst(t *testing.T) {
	for _, tc := range []struct {
		stable, canary, other count
		want                  int32
	}{
		{count{10, 10}, count{}, count{10, 8}, 0},
		{count{4, 4}, count{}, count{10, 8}, 6},
		{count{0, 0}, count{}, count{10, 8}, 8},
		{count{10, 10}, count{}, count{3, 0}, 0},
	} {
		p := canaryOf(10, tc.stable, tc.canary, at(weight(0)), within("1", "0")).other(tc.other)
		p.targets()
		assert.Equal(t, tc.want, p.size["other"], "%+v", tc)
	}
}

// TestRoutedCanarySizes: with traffic routing stable keeps everything and the
// canary has the pods of its weight, or those setCanaryScale asks for (§11.1,
// CalculateReplicaCountsForCanary 24–26 and 37–40).
func TestRoutedCanarySizes(t *testing.T) {
	nine := v1alpha1.SetCanaryScale{Replicas: ptr.To[int32](9)}
	matching := v1alpha1.SetCanaryScale{Replicas: ptr.To[int32](9), Weight: ptr.To[int32](100), MatchTrafficWeight: true}
	for name, tc := range map[string]struct {
		p    *planner
		want [2]int32
	}{
		"replicas":              {canaryOf(1, count{1, 1}, count{}, routing, at(scale(nine), weight(100))), [2]int32{1, 9}},
		"more than 100 %":       {canaryOf(4, count{4, 4}, count{}, routing, at(scale(v1alpha1.SetCanaryScale{Weight: ptr.To[int32](200)}), weight(100))), [2]int32{4, 8}},
		"matchTrafficWeight":    {canaryOf(10, count{10, 10}, count{}, routing, at(scale(nine), scale(matching), weight(20)), within("20%", "0")), [2]int32{10, 2}},
		"kept after an abort":   {canaryOf(1, count{1, 1}, count{1, 1}, routing, at(scale(v1alpha1.SetCanaryScale{Replicas: ptr.To[int32](1)})), aborting, abortDelay(0)), [2]int32{1, 1}},
		"minPods":               {canaryOf(10, count{10, 10}, count{}, routing, at(weight(5)), minPods(2)), [2]int32{10, 2}},
		"minPods, capped":       {canaryOf(1, count{1, 1}, count{}, routing, at(weight(1)), minPods(2), fully), [2]int32{1, 1}},
		"not raised by minPods": {canaryOf(10, count{10, 10}, count{}, routing, at(scale(v1alpha1.SetCanaryScale{Replicas: ptr.To[int32](1)})), minPods(3)), [2]int32{10, 1}},
		"over after the last step": {func() *planner {
			p := canaryOf(4, count{4, 4}, count{}, routing, at(scale(nine)))
			p.ro.Status.CurrentStepIndex = ptr.To[int32](1)
			p.work("canary")
			return p
		}(), [2]int32{4, 4}},
	} {
		assert.Equal(t, tc.want, tc.p.sizes(), name)
	}
	p := canaryOf(1, count{1, 1}, count{1, 1}, routing, at(scale(v1alpha1.SetCanaryScale{Replicas: ptr.To[int32](1)})), aborting, abortDelay(30))
	assert.Equal(t, int32(0), p.canaryPods(0), "after an abort with a delay nothing is asked for; what is there stays that long")
	assert.Equal(t, [2]int32{1, 1}, p.sizes())
}

// TestBasicCanaryIsAtItsWeight: a step is done when both revisions have their
// pods and older ones serve no more.
func TestBasicCanaryIsAtItsWeight(t *testing.T) {
	for name, tc := range map[string]struct {
		p    *planner
		want bool
	}{
		"everything is there":       {canaryOf(10, count{8, 8}, count{2, 2}, at(weight(20))), true},
		"a canary pod is missing":   {canaryOf(10, count{8, 8}, count{2, 1}, at(weight(20))), false},
		"a stable pod is not":       {canaryOf(10, count{8, 7}, count{2, 2}, at(weight(20))), true},
		"stable is still too large": {canaryOf(10, count{9, 9}, count{2, 2}, at(weight(20))), false},
		"an older one still serves": {canaryOf(10, count{8, 8}, count{2, 2}, at(weight(20))).other(count{1, 1}), false},
		"an older one is broken":    {canaryOf(10, count{8, 8}, count{2, 2}, at(weight(20))).other(count{1, 0}), false},
		"no more could be had yet":  {canaryOf(10, count{9, 9}, count{}, at(weight(20)), within("0", "1")), false},
		"no pods are wanted":        {canaryOf(0, count{}, count{}, at(weight(20))), true},
	} {
		assert.Equal(t, tc.want, tc.p.atDesired(), name)
	}
}

// TestPodsForAWeight rounds up, and does not overflow (§11.1, TrafficWeightToReplicas).
func TestPodsForAWeight(t *testing.T) {
	for _, tc := range [][3]int32{{10, 0, 0}, {10, 20, 2}, {10, 25, 3}, {10, 33, 4}, {10, 99, 10}, {10, 100, 10}} {
		assert.Equal(t, tc[2], canaryOf(tc[0], count{}, count{}).podsFor(tc[1]), fmt.Sprint(tc))
	}
	p := canaryOf(23, count{}, count{}, routing, func(ro *v1alpha1.Rollout) {
		ro.Spec.Strategy.Canary.TrafficRouting.MaxTrafficWeight = ptr.To[int32](100_000_000)
	})
	assert.Equal(t, int32(23), p.podsFor(100_000_000))
}

// TestDynamicStableScaleSizes: stable has the pods of its traffic, the recorded
// one and the coming one; after an abort it comes back as the canary leaves
// (§11.1, DynamicScale). Argo Rollouts raises an aborted canary to the pods of
// the weight it has; here none is added to a revision that somebody gave up.
func TestDynamicStableScaleSizes(t *testing.T) {
	steps := at(weight(20), weight(60))
	for i, tc := range []struct {
		p    *planner
		want [2]int32
	}{
		{canaryOf(10, count{4, 4}, count{6, 6}, dynamic, steps, aborting).carry(60), [2]int32{8, 6}},
		{canaryOf(10, count{4, 4}, count{1, 1}, dynamic, steps, aborting).carry(60), [2]int32{8, 1}},
		{canaryOf(10, count{8, 4}, count{2, 2}, dynamic, steps, aborting).carry(60), [2]int32{8, 2}},
		{canaryOf(10, count{10, 10}, count{}, dynamic, at(weight(10))).carry(10), [2]int32{9, 1}},
		{canaryOf(10, count{10, 10}, count{}, dynamic, at(weight(20))).carry(10), [2]int32{9, 2}},
	} {
		assert.Equal(t, tc.want, tc.p.sizes(), "%d", i)
	}
	for i, tc := range []struct {
		p      *planner
		served int32
	}{
		{canaryOf(10, count{4, 4}, count{6, 6}, dynamic, steps, aborting).carry(60), 6},
		{canaryOf(10, count{}, count{}, dynamic, at(weight(20)), aborting).carry(20), 2},
		{canaryOf(10, count{}, count{}, dynamic, at(weight(20)), aborting).carry(10), 1},
	} {
		tc.p.newRS = nil // gone: stable comes back as a whole
		assert.Equal(t, int32(10), tc.p.stableTarget(), "%d", i)
		assert.Equal(t, tc.served, tc.p.podsFor(tc.p.share("canary")), "%d: what the canary serves", i)
	}
}

// TestRetreat: the step an aborted canary with dynamicStableScale goes back to
// (§11.1, OnAbortWithScaleDownDelay).
func TestRetreat(t *testing.T) {
	for i, tc := range []struct {
		edit   func(*v1alpha1.Rollout)
		stable int32
		want   int32
	}{
		{func(*v1alpha1.Rollout) {}, 9, 10},
		{abortDelay(30), 5, 10},
		{abortDelay(30), 9, 0},
		{abortDelay(0), 9, 10},
		{minPods(5), 9, 0}, // the canary cannot have fewer pods than these 5
	} {
		p := canaryOf(10, count{10, tc.stable}, count{5, 5}, dynamic, at(weight(10), weight(50)), aborting, tc.edit)
		assert.Equal(t, tc.want, p.retreat(), "%d", i)
	}
}

// TestRetreatWeight: the weight on that way, with 5 replicas (§11.3, from 922).
func TestRetreatWeight(t *testing.T) {
	pause := v1alpha1.CanaryStep{Pause: &v1alpha1.RolloutPause{}}
	half := at(weight(50), pause)
	for name, tc := range map[string]struct {
		p    *planner
		want int32
	}{
		"nothing was routed":           {canaryOf(5, count{5, 4}, count{}, dynamic, half, aborting).carry(0), 0},
		"stable can take half":         {canaryOf(5, count{5, 3}, count{4, 4}, dynamic, half, aborting).carry(100), 50},
		"stable can take a fifth":      {canaryOf(5, count{5, 1}, count{4, 4}, dynamic, at(pause), aborting).carry(100), 80},
		"stable can take everything":   {canaryOf(5, count{5, 5}, count{}, dynamic, half, aborting).carry(20), 0},
		"the canary lost all its pods": {canaryOf(5, count{5, 1}, count{4, 0}, dynamic, half, aborting).carry(100), 0},
	} {
		assert.Equal(t, tc.want, tc.p.due(), name)
	}
}

// TestReturnToStableNeedsItsPods: with 10 replicas half of the traffic needs 5,
// or as many of them as replicaProgressThreshold says (§11.3, 1604 and 1667).
func TestReturnToStableNeedsItsPods(t *testing.T) {
	eighty := func(ro *v1alpha1.Rollout) {
		ro.Spec.Strategy.Canary.ReplicaProgressThreshold = &v1alpha1.ReplicaProgressThreshold{Type: v1alpha1.ReplicaProgressThresholdPercent, Value: 80}
	}
	fine := func(ro *v1alpha1.Rollout) {
		ro.Spec.Strategy.Canary.TrafficRouting.MaxTrafficWeight = ptr.To[int32](100_000_000)
	}
	busy := count{10, 10} // the canary could serve more than stable
	for name, tc := range map[string]struct {
		p      *planner
		weight int32
		want   bool
	}{
		"4 of 5 are 80 %":     {canaryOf(10, count{10, 4}, busy, routing, eighty), 50, true},
		"3 of 5 are not":      {canaryOf(10, count{10, 3}, busy, routing, eighty), 50, false},
		"4 of 5":              {canaryOf(10, count{10, 4}, busy, routing), 50, false},
		"5 of 5":              {canaryOf(10, count{10, 5}, busy, routing), 50, true},
		"1 of 2, fine":        {canaryOf(2, count{2, 1}, count{2, 2}, routing, fine), 50_000_000, true},
		"0 of 2, fine":        {canaryOf(2, count{2, 0}, count{2, 2}, routing, fine), 50_000_000, false},
		"1 of 2 for all":      {canaryOf(2, count{2, 1}, count{2, 2}, routing, fine), 0, false},
		"nothing is returned": {canaryOf(2, count{2, 0}, count{2, 2}, routing, fine), 100_000_000, true},
	} {
		assert.Equal(t, tc.want, tc.p.carry(tc.p.total).mayReturn(rollout.Router{}, tc.weight), name)
	}
}

// TestReturnFromANameOfEveryPod: a canary name without a hash reaches the pods of all
// revisions. Stable takes what returns when it has as many.
func TestReturnFromANameOfEveryPod(t *testing.T) {
	for stable, want := range map[int32]bool{3: false, 4: true} {
		p := canaryOf(10, count{10, stable}, count{10, 4}, routing).carry(100)
		p.s.Services["c"].Spec.Selector = nil
		p.s.ReplicaSets[1].Status.AvailableReplicas = 1
		assert.Equal(t, stable+1, p.serving(p.s.Routers[0]))
		p.s.ReplicaSets = p.s.ReplicaSets[:1] // those of the canary are gone
		assert.Equal(t, stable, p.serving(p.s.Routers[0]))
		assert.True(t, p.mayReturn(p.s.Routers[0], 0), "nothing is lost")

		p = canaryOf(10, count{10, stable}, count{10, 4}, routing).carry(100)
		assert.Equal(t, want, p.mayReturn(p.s.Routers[0], 0), "%d of the canary's 4", stable)
	}
}

// TestReplicaProgressThreshold: when a ReplicaSet has reached its size (§11.1).
func TestReplicaProgressThreshold(t *testing.T) {
	type threshold = v1alpha1.ReplicaProgressThreshold
	const percent, pods = v1alpha1.ReplicaProgressThresholdPercent, v1alpha1.ReplicaProgressThresholdPods
	for name, tc := range map[string]struct {
		threshold *threshold
		have      count
		size      int32
		want      bool
	}{
		"90 % of 10 with 9":         {&threshold{Type: percent, Value: 90}, count{10, 9}, 10, true},
		"90 % of 10 with 8":         {&threshold{Type: percent, Value: 90}, count{10, 8}, 10, false},
		"9 pods with 9":             {&threshold{Type: pods, Value: 9}, count{10, 9}, 10, true},
		"8 pods with 7":             {&threshold{Type: pods, Value: 8}, count{10, 7}, 10, false},
		"a negative one":            {&threshold{Type: percent, Value: -1}, count{10, 9}, 10, false},
		"a negative one, all there": {&threshold{Type: percent, Value: -1}, count{10, 10}, 10, true},
		"none":                      {nil, count{10, 9}, 10, false},
		"none, all there":           {nil, count{10, 10}, 10, true},
		"none, but another size":    {nil, count{12, 12}, 10, false},
		"no pods wanted":            {&threshold{Type: percent, Value: 90}, count{}, 0, true},
		"more pods than are wanted": {&threshold{Type: pods, Value: 9}, count{3, 3}, 3, true},
	} {
		p := canaryOf(10, count{}, tc.have)
		p.canary.ReplicaProgressThreshold = tc.threshold
		assert.Equal(t, tc.want, p.sized(p.newRS, tc.size), name)
		assert.False(t, p.sized(nil, tc.size), name)
	}
}

// With dynamicStableScale nobody knows what a router carries that cannot be
// observed and was never asked: stable gets its pods, or it could never be asked.
func TestStableHasPodsForWhatNobodyKnows(t *testing.T) {
	p := canaryOf(4, count{0, 0}, count{4, 4}, routing, at(weight(100)), func(ro *v1alpha1.Rollout) {
		ro.Spec.Strategy.Canary.DynamicStableScale = true
	}).carry(100)
	assert.Equal(t, [2]int32{0, 4}, p.sizes())
	p.s.Routers[0].Observation.Observed = nil
	assert.Equal(t, [2]int32{4, 4}, p.sizes())
}

// A router that leaves gives everything to the stable name, also under
// dynamicStableScale: its pods come back first, else it would wait for them, and
// the step for it.
func TestStablePodsComeBackForARouterThatLeaves(t *testing.T) {
	p := canaryOf(4, count{1, 1}, count{4, 4}, routing, at(weight(75))).carry(75)
	p.canary.DynamicStableScale = true
	require.Equal(t, int32(1), p.stableTarget())
	left := p.s.Routers[0]
	left.Plugin, left.Releasing = "left", true
	p.s.Routers = append(p.s.Routers, left)
	assert.Equal(t, int32(4), p.stableTarget())
}

// The stable name of a router that has just left may still select an older revision:
// its pods go when that is known to have moved, and a deadline of another strategy is
// none of a canary's without routing.
func TestOlderPodsStayForARouterThatHasJustLeft(t *testing.T) {
	p := canaryOf(2, count{6, 6}, count{1, 1}, at(weight(50))).other(count{2, 2}).carry(0)
	p.s.Services["s"].Spec.Selector[v1alpha1.LabelPodTemplateHash] = "other"
	p.s.Routers[0].Releasing = true
	p.targets()
	require.True(t, p.left())
	assert.Equal(t, int32(2), p.lowestBasic(p.others[0]))
	p.s.Routers = nil
	assert.Equal(t, int32(1), p.lowestBasic(p.others[0]), "its last pod stays for the name")

	p.others[0].Annotations = map[string]string{v1alpha1.AnnotationScaleDownDeadline: "2026-01-01T00:00:00Z"}
	p.blind = true
	p.drainBasic()
	require.Len(t, p.plan.Ops, 1)
	op := p.plan.Ops[0].(rollout.UpdateReplicaSet)
	assert.Equal(t, []int32{2, 2}, []int32{op.From, op.To})
	assert.Contains(t, op.Annotations, v1alpha1.AnnotationScaleDownDeadline)
	assert.Nil(t, op.Annotations[v1alpha1.AnnotationScaleDownDeadline])
}

// A number of pods that cannot be read, which is reported, takes none away.
func TestNoPodIsMissingForANumberThatCannotBeRead(t *testing.T) {
	for value, pods := range map[string]int64{"25%": 1, "many": 0} {
		p := canaryOf(4, count{4, 4}, count{}, within("1", value))
		assert.Equal(t, intstr.FromString(value), p.canary.MaxUnavailableOrDefault())
		assert.Equal(t, pods, p.mayMiss(), value)
	}
}
