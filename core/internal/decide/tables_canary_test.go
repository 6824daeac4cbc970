package decide

import (
	"testing"
	"time"

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

// TestDescribeStep: step events name a step as Argo Rollouts does (§1.10); what
// it has no word for is named in the same way.
func TestDescribeStep(t *testing.T) {
	ten, tenSeconds := intstr.FromInt32(10), intstr.FromString("10s")
	for want, step := range map[string]v1alpha1.CanaryStep{
		"setWeight: 20":              weight(20),
		"pause":                      {Pause: &v1alpha1.RolloutPause{}},
		"pause: 10":                  {Pause: &v1alpha1.RolloutPause{Duration: &ten}},
		"pause: 10s":                 {Pause: &v1alpha1.RolloutPause{Duration: &tenSeconds}},
		"experiment":                 {Experiment: &v1alpha1.RolloutExperimentStep{}},
		"analysis":                   {Analysis: &v1alpha1.RolloutAnalysis{}},
		"setCanaryScale{weight: 25}": scale(v1alpha1.SetCanaryScale{Weight: ptr.To[int32](25), Replicas: ptr.To[int32](1)}),
		"setCanaryScale{matchTrafficWeight: true}": scale(v1alpha1.SetCanaryScale{MatchTrafficWeight: true, Replicas: ptr.To[int32](1)}),
		"setCanaryScale{replicas: 5}":              scale(v1alpha1.SetCanaryScale{Replicas: ptr.To[int32](5)}),
		"setHeaderRoute: beta":                     {SetHeaderRoute: &v1alpha1.SetHeaderRoute{Name: "beta"}},
		"setMirrorRoute: shadow":                   {SetMirrorRoute: &v1alpha1.SetMirrorRoute{Name: "shadow"}},
		"plugin: example/smoke":                    {Plugin: &v1alpha1.PluginStep{Name: "example/smoke"}},
		"invalid":                                  {},
	} {
		assert.Equal(t, want, DescribeStep(step))
	}
	assert.Equal(t, "invalid", DescribeStep(scale(v1alpha1.SetCanaryScale{})))
}

// TestGoal: the weight of each position: the nearest setWeight at or before the
// step, 0 without one, everything behind the last (§2.3).
func TestGoal(t *testing.T) {
	pause := v1alpha1.CanaryStep{Pause: &v1alpha1.RolloutPause{}}
	steps := at(pause, weight(10), pause, weight(40), pause)
	for index, want := range []int32{0, 10, 10, 40, 40, 100, 100} {
		p := canaryOf(10, count{10, 10}, count{}, routing, steps)
		p.ro.Status.CurrentStepIndex = ptr.To(int32(index))
		p.work("canary")
		assert.Equal(t, want, p.goal(), "step %d", index)
	}
	assert.Equal(t, int32(100), canaryOf(10, count{10, 10}, count{}, routing).goal(), "no steps")
	for mistyped, want := range map[int32]int32{250: 100, -5: 0} {
		assert.Equal(t, want, canaryOf(10, count{10, 10}, count{}, routing, at(weight(mistyped))).goal(), "%d is reported, and no count of pods follows from it", mistyped)
	}
	assert.Equal(t, int32(100), canaryOf(10, count{10, 10}, count{}, routing, steps, fully).goal(), "promoted in full")
	assert.Equal(t, int32(0), canaryOf(10, count{10, 10}, count{4, 4}, routing, steps, aborting).carry(40).due(), "aborted")
}

// TestRoutedCanaryIsAtItsWeight: the new revision has its pods, those of the
// stable one are created (§2.3, AtDesiredReplicaCountsForCanary of §11.1).
func TestRoutedCanaryIsAtItsWeight(t *testing.T) {
	uncreated := func(p *planner) *planner { p.stableRS.Status.Replicas = 9; return p }
	for name, tc := range map[string]struct {
		p    *planner
		want bool
	}{
		"everything is there":             {canaryOf(10, count{10, 10}, count{2, 2}, routing, at(weight(20))), true},
		"a canary pod is missing":         {canaryOf(10, count{10, 10}, count{2, 1}, routing, at(weight(20))), false},
		"the canary is still too large":   {canaryOf(10, count{10, 10}, count{3, 3}, routing, at(weight(20))), false},
		"a stable pod is not available":   {canaryOf(10, count{10, 9}, count{2, 2}, routing, at(weight(20))), true},
		"a stable pod is not created":     {uncreated(canaryOf(10, count{10, 9}, count{2, 2}, routing, at(weight(20)))), false},
		"stable has another size":         {canaryOf(10, count{8, 8}, count{2, 2}, routing, at(weight(20))), false},
		"stable follows its traffic":      {canaryOf(10, count{8, 8}, count{2, 2}, dynamic, at(weight(20))), true},
		"an older one is still leaving":   {canaryOf(10, count{10, 10}, count{2, 2}, routing, at(weight(20))).other(count{3, 3}), true},
		"setCanaryScale asks for more":    {canaryOf(10, count{10, 10}, count{2, 2}, routing, at(weight(20), scale(v1alpha1.SetCanaryScale{Replicas: ptr.To[int32](5)}))), false},
		"setCanaryScale has what it asks": {canaryOf(10, count{10, 10}, count{5, 5}, routing, at(weight(20), scale(v1alpha1.SetCanaryScale{Replicas: ptr.To[int32](5)}))), true},
	} {
		assert.Equal(t, tc.want, tc.p.atDesired(), name)
	}
}

// TestADynamicCanaryIsSuperseded (§11.3, 2203): stable has 1 of 10 pods, the
// canary before this one 9 of them and 90 of the traffic. Nobody's traffic moves
// and no name does until stable can take it; only pods are added.
func TestADynamicCanaryIsSuperseded(t *testing.T) {
	p := canaryOf(10, count{1, 1}, count{}, dynamic, at(weight(10))).other(count{9, 9}).carry(90)
	p.s.Services["c"].Spec.Selector[v1alpha1.LabelPodTemplateHash] = "other"
	p.ro.Status.Canary.Weights.Canary.PodTemplateHash = "other"
	p.targets()
	p.services()
	p.traffic()
	p.scale()
	p.cleanup()
	raised := map[string]int32{}
	for _, op := range p.plan.Ops {
		up, ok := op.(rollout.UpdateReplicaSet)
		if !ok {
			t.Errorf("%T %s", op, op.ID())
			continue
		}
		assert.GreaterOrEqual(t, up.To, up.From, up.Name)
		raised[up.Name] = up.To
	}
	// Argo Rollouts adds pods of the new revision alone, and goes on from there.
	// Here stable takes the traffic of the superseded revision back first.
	assert.Equal(t, int32(10), raised["stable"])
}

// TestWhatKeepsARevision (§11.4, rollout/replicaset_test.go 577 and 756): one
// that anything refers to is not scaled down; one that nothing does is.
func TestWhatKeepsARevision(t *testing.T) {
	for name, tc := range map[string]struct {
		refer func(p *planner)
		goes  bool
	}{
		"nothing":            {func(*planner) {}, true},
		"the stable Service": {func(p *planner) { p.s.Services["s"].Spec.Selector[v1alpha1.LabelPodTemplateHash] = "other" }, false},
		"the canary Service": {func(p *planner) { p.s.Services["c"].Spec.Selector[v1alpha1.LabelPodTemplateHash] = "other" }, false},
		"its delay":          {func(p *planner) { p.canary.ScaleDownDelaySeconds = ptr.To[int32](30) }, false},
		"a delay that is over": {func(p *planner) {
			p.canary.ScaleDownDelaySeconds = ptr.To[int32](30)
			p.others[0].Annotations = map[string]string{v1alpha1.AnnotationScaleDownDeadline: p.s.Now.Add(-time.Second).Format(time.RFC3339)}
		}, true},
		"a router that says nothing": {func(p *planner) {
			p.s.Routers[0].Observation.Observed = nil
			p.s.Routers[0].Problem = &rollout.Problem{}
			p.blind = true
		}, false},
		"traffic that is not yet as it should be": {func(p *planner) { p.s.Routers[0].Observation.Convergence = rollout.ConvergencePending }, false},
		"a subset":  {func(p *planner) { subsetsAt(p, "stable", "other") }, false},
		"no subset": {func(p *planner) { subsetsAt(p, "stable", "canary") }, true},
	} {
		none := func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.ScaleDownDelaySeconds = new(int32) }
		p := canaryOf(4, count{4, 4}, count{1, 1}, routing, none, at(weight(0))).other(count{2, 2}).carry(0)
		p.s.Now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		tc.refer(p)
		p.targets()
		p.drainOthers()
		gone := false
		for _, op := range p.plan.Ops {
			up, ok := op.(rollout.UpdateReplicaSet)
			gone = gone || ok && up.Name == "other" && up.To == 0
		}
		assert.Equal(t, tc.goes, gone, name)
	}
}

func subsetsAt(p *planner, stable, canary string) {
	p.canary.StableService, p.canary.CanaryService, p.s.Services = "", "", map[string]*corev1.Service{}
	for i, d := range p.s.Routers[0].Observation.Observed[0].Traffic.Destinations {
		hash := stable
		if d.Role == rollout.RoleCanary {
			hash = canary
		}
		p.s.Routers[0].Observation.Observed[0].Traffic.Destinations[i] = rollout.Destination{Role: d.Role, Hash: hash, Weight: d.Weight}
	}
}

// TestADeadlineIsForWhatCarriesNothing: it goes before traffic moves, so that the
// delay begins when the revision has been left, also while its router does not
// say what it carries. With replicas 0 it stays: nobody is served.
func TestADeadlineIsForWhatCarriesNothing(t *testing.T) {
	for replicas, want := range map[int32]int{4: 1, 0: 0} {
		for what, set := range map[string]func(*rollout.Router){
			"it carries everything":             func(*rollout.Router) {},
			"the router does not answer":        func(r *rollout.Router) { r.Problem = &rollout.Problem{Class: rollout.ProblemUnavailable} },
			"nobody ever asked it for anything": func(r *rollout.Router) { r.Observation.Observed = nil },
		} {
			p := oldRevisionServes(replicas)
			set(&p.s.Routers[0])
			p.targets()
			p.undelay()
			assert.Len(t, p.undelayed, want, "%d replicas, %s", replicas, what)
		}
	}
	p := oldRevisionServes(4)
	p.s.Routers[0].Problem = &rollout.Problem{Class: rollout.ProblemUnavailable}
	p.s.Services["s"].Spec.Selector[v1alpha1.LabelPodTemplateHash] = "stable"
	p.undelay()
	assert.Empty(t, p.undelayed, "no name leads to it")
}

// oldRevisionServes has a revision that is neither new nor stable behind the
// stable name, to be scaled down now.
func oldRevisionServes(replicas int32) *planner {
	p := canaryOf(replicas, count{replicas, replicas}, count{}, routing, at(weight(0))).other(count{2, 2}).carry(0)
	p.others[0].Annotations = map[string]string{v1alpha1.AnnotationScaleDownDeadline: "2026-01-01T00:00:00Z"}
	p.s.Services["s"].Spec.Selector[v1alpha1.LabelPodTemplateHash] = "other"
	return p
}

// TestScaleDownDelays (§11.4, rollout/replicaset_test.go and 1544): how many old
// revisions run on, and until when.
func TestScaleDownDelays(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	in := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
	for name, tc := range map[string]struct {
		delay, limit *int32
		deadlines    []string // of older revisions, newest first; "" is none
		sizes        []int32  // what becomes of them
		set          []string // their deadlines afterwards
	}{
		"a new one gets a deadline":            {ptr.To[int32](10), nil, []string{""}, []int32{2}, []string{in(10 * time.Second)}},
		"one that is not over":                 {ptr.To[int32](10), nil, []string{in(5 * time.Second)}, []int32{2}, []string{in(5 * time.Second)}},
		"one that is over":                     {ptr.To[int32](10), nil, []string{in(-time.Second)}, []int32{0}, []string{""}},
		"no delay":                             {ptr.To[int32](0), nil, []string{"", in(time.Hour)}, []int32{0, 0}, []string{"", ""}},
		"the default":                          {nil, nil, []string{""}, []int32{2}, []string{in(30 * time.Second)}},
		"the limit counts the newest first":    {ptr.To[int32](10), ptr.To[int32](1), []string{"", ""}, []int32{2, 0}, []string{in(10 * time.Second), ""}},
		"the limit counts those that wait too": {ptr.To[int32](10), ptr.To[int32](2), []string{"", in(5 * time.Second), in(9 * time.Second)}, []int32{2, 2, 0}, []string{in(10 * time.Second), in(5 * time.Second), ""}},
		"a limit of 0":                         {ptr.To[int32](10), ptr.To[int32](0), []string{in(5 * time.Second)}, []int32{0}, []string{""}},
	} {
		p := canaryOf(4, count{4, 4}, count{1, 1}, routing, at(weight(0)), func(ro *v1alpha1.Rollout) {
			ro.Spec.Strategy.Canary.ScaleDownDelaySeconds, ro.Spec.Strategy.Canary.ScaleDownDelayRevisionLimit = tc.delay, tc.limit
		}).carry(0)
		p.s.Now = now
		var older []*appsv1.ReplicaSet
		for i, deadline := range tc.deadlines {
			rs := replicaSetOf("other"+string(rune('0'+i)), count{2, 2})
			rs.CreationTimestamp = metav1.NewTime(now.Add(-time.Duration(i) * time.Hour))
			if deadline != "" {
				rs.Annotations = map[string]string{v1alpha1.AnnotationScaleDownDeadline: deadline}
			}
			older = append(older, rs)
		}
		p.s.ReplicaSets = append(p.s.ReplicaSets, older...)
		p.work("canary")
		p.targets()
		p.drainOthers()
		for i, rs := range older {
			size, deadline := int32(2), tc.deadlines[i]
			for _, op := range p.plan.Ops {
				up, ok := op.(rollout.UpdateReplicaSet)
				if !ok || up.Name != rs.Name {
					continue
				}
				size = up.To
				if text, set := up.Annotations[v1alpha1.AnnotationScaleDownDeadline]; set {
					deadline = ptr.Deref(text, "")
				}
			}
			assert.Equal(t, tc.sizes[i], size, "%s: %d", name, i)
			assert.Equal(t, tc.set[i], deadline, "%s: %d", name, i)
		}
	}
}

// TestWhichRevisionIsOlder: two that were made in the same second are told apart
// by the number each got first.
func TestWhichRevisionIsOlder(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	made := func(after time.Duration, revision, history string) *appsv1.ReplicaSet {
		rs := replicaSetOf("x", count{})
		rs.CreationTimestamp = metav1.NewTime(at.Add(after))
		rs.Annotations = map[string]string{v1alpha1.AnnotationRevision: revision, v1alpha1.AnnotationRevisionHistory: history}
		return rs
	}
	for _, tc := range []struct {
		a, b *appsv1.ReplicaSet
		want bool
	}{
		{made(0, "2", ""), made(time.Second, "1", ""), true},
		{made(time.Second, "1", ""), made(0, "2", ""), false},
		{made(0, "1", ""), made(0, "2", ""), true},
		{made(0, "2", ""), made(0, "1", ""), false},
		{made(0, "5", "1,3"), made(0, "4", "2"), true},
		{made(0, "3", ""), made(0, "4", "2"), false},
		{made(0, "", ""), made(0, "2", ""), false},
	} {
		assert.Equal(t, tc.want, rollout.BegunBefore(tc.a, tc.b), "%v %v", tc.a.Annotations, tc.b.Annotations)
	}
}

// TestAntiAffinity (§11.2, 829–1017): the new revision keeps away from the nodes
// of the stable one while there are two, beside what the user says.
func TestAntiAffinity(t *testing.T) {
	required := &v1alpha1.AntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1alpha1.RequiredDuringSchedulingIgnoredDuringExecution{}}
	preferred := &v1alpha1.AntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: &v1alpha1.PreferredDuringSchedulingIgnoredDuringExecution{Weight: 7}}
	ours := rollout.AwayFrom("", "stable")
	users := corev1.PodAffinityTerm{TopologyKey: "zone"}
	usersAffinity := &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{},
		PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{users}}}
	for name, tc := range map[string]struct {
		rule         *v1alpha1.AntiAffinity
		stable, hash string
		user, want   *corev1.Affinity
	}{
		"no rule":            {nil, "stable", "canary", nil, nil},
		"the first revision": {required, "", "canary", nil, nil},
		"one revision":       {required, "canary", "canary", usersAffinity, usersAffinity},
		"required":           {required, "stable", "canary", nil, &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{ours}}}},
		"preferred":          {preferred, "stable", "canary", nil, &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: 7, PodAffinityTerm: ours}}}}},
		"beside what the user says": {required, "stable", "canary", usersAffinity, &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{},
			PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{users, ours}}}},
	} {
		p := canaryOf(4, count{4, 4}, count{})
		p.canary.AntiAffinity = tc.rule
		p.stable, p.hash = tc.stable, tc.hash
		template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{Affinity: tc.user}}
		assert.Equal(t, tc.want, p.affinity(template), name)
		p.bg, p.canary = &v1alpha1.BlueGreenStrategy{AntiAffinity: tc.rule}, &v1alpha1.CanaryStrategy{}
		assert.Equal(t, tc.want, p.affinity(template), name+", blue-green")
	}
	assert.Len(t, usersAffinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, 1, "the user's template is not touched")
}

// What a router that cannot be observed was asked for in another block need not be
// in place in this one: asking for it again is a raise, and needs the pods.
func TestAnotherBlockOfARouterThatCannotBeObservedIsARaise(t *testing.T) {
	p := canaryOf(6, count{6, 6}, count{6, 2}, routing, at(weight(100))).carry(100)
	r := &p.s.Routers[0]
	assert.True(t, p.mayRoute(*r, 100), "it has acknowledged that")
	r.Observation.Observed[0].Residue = true
	assert.False(t, p.mayRoute(*r, 100))
	assert.True(t, p.mayRoute(*r, 0))
	r.Capabilities.Observe = true
	assert.True(t, p.mayRoute(*r, 100), "it is there, beside something that is left over")
}

// A Service that a plan adopts brings its weight with it, from a route edited by
// hand before: the pods for that stay.
func TestPodsStayForAServiceThatIsJustAdopted(t *testing.T) {
	for edited, want := range map[int32]int32{0: 0, 85: 4} {
		p := canaryOf(4, count{4, 4}, count{4, 4}, routing, at(weight(0))).carry(0)
		p.s.Services["c"].Spec.Selector = nil
		left := p.s.Routers[0]
		left.Plugin, left.Releasing = "left", true
		left.Observation.Observed = []rollout.Observed{{Traffic: rollout.Traffic{TotalWeight: 100, Destinations: []rollout.Destination{
			{Role: rollout.RoleStable, Service: "s", Weight: 100 - edited}, {Role: rollout.RoleCanary, Service: "c", Weight: edited}}}}}
		p.s.Routers = append(p.s.Routers, left)
		p.targets()
		p.services()
		require.Len(t, p.plan.Ops, 1)
		assert.Equal(t, want, p.floor(p.newRS, 0), "%d", edited)
	}
}

// A name on a superseded revision is moved to the new one while stable has no pods,
// also after an abort: its pods would stay for it, and take the place of stable's.
func TestNoNameWaitsForAStableRevisionThatHasNoRoom(t *testing.T) {
	for stable, want := range map[int32]string{0: "canary", 1: "stable"} {
		p := canaryOf(4, count{stable, stable}, count{3, 3}, within("0", "100%"), at(weight(50)), aborting).other(count{1, 1})
		p.canary.StableService, p.canary.CanaryService = "s", "c"
		for _, name := range []string{"s", "c"} {
			p.s.Services[name] = &corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{v1alpha1.LabelPodTemplateHash: "other"}}}
		}
		p.targets()
		assert.Equal(t, want, rollout.Hash(p.behindStableName()), "stable has %d pods", stable)
		assert.Equal(t, want, rollout.Hash(p.behindCanaryName()), "stable has %d pods", stable)
	}
}
