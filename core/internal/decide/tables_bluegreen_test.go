package decide

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// blueGreenOf is a planner in the middle of an update from revision "stable",
// which users reach, to "preview".
func blueGreenOf(replicas int32, stable, preview count, edit ...func(*v1alpha1.Rollout)) *planner {
	ro := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
	ro.Spec.Replicas = &replicas
	ro.Spec.Strategy.BlueGreen = &v1alpha1.BlueGreenStrategy{ActiveService: "active", PreviewService: "preview"}
	ro.Status.StableRS, ro.Status.CurrentPodHash = "stable", "preview"
	for _, f := range edit {
		f(ro)
	}
	s := &rollout.Snapshot{Rollout: ro, Now: blueGreenNow, Services: map[string]*corev1.Service{
		"active": selecting("stable"), "preview": selecting("preview")}}
	s.ReplicaSets = []*appsv1.ReplicaSet{replicaSetOf("stable", stable), replicaSetOf("preview", preview)}
	p := &planner{s: s, ro: ro, plan: &rollout.Plan{}, total: 100, want: replicas, canary: &v1alpha1.CanaryStrategy{}, bg: ro.Spec.Strategy.BlueGreen, stable: "stable"}
	p.work("preview")
	return p
}

var blueGreenNow = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func selecting(hash string) *corev1.Service {
	return &corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{v1alpha1.LabelPodTemplateHash: hash}}}
}

func usersReach(p *planner, hash string) *planner {
	p.s.Services["active"] = selecting(hash)
	return p
}

func previewCount(n int32) func(*v1alpha1.Rollout) {
	return func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.BlueGreen.PreviewReplicaCount = &n }
}

func checkpoint(ro *v1alpha1.Rollout) { ro.Status.BlueGreen.ScaleUpPreviewCheckPoint = true }

// waiting is the pause before the switch, since that long.
func waiting(since time.Duration) func(*v1alpha1.Rollout) {
	return func(ro *v1alpha1.Rollout) {
		ro.Status.ControllerPause = true
		ro.Status.PauseConditions = []v1alpha1.PauseCondition{{Reason: v1alpha1.PauseReasonBlueGreenPause, StartTime: metav1.NewTime(blueGreenNow.Add(-since))}}
	}
}

func resumed(ro *v1alpha1.Rollout) { ro.Status.ControllerPause = true }

func byHand(ro *v1alpha1.Rollout) { ro.Spec.Strategy.BlueGreen.AutoPromotionEnabled = new(bool) }

func after(seconds int32) func(*v1alpha1.Rollout) {
	return func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.BlueGreen.AutoPromotionSeconds = seconds }
}

// TestPreviewSize (§11.2, previewReplicaCount): the size of the new revision,
// with a previewReplicaCount of 1 and 10 replicas.
func TestPreviewSize(t *testing.T) {
	one := previewCount(1)
	for name, tc := range map[string]struct {
		p    *planner
		want int32
	}{
		"users reach nothing yet":        {usersReach(blueGreenOf(10, count{10, 10}, count{}, one), ""), 10},
		"users reach the new one":        {usersReach(blueGreenOf(10, count{10, 10}, count{1, 1}, one), "preview"), 10},
		"before the checkpoint":          {blueGreenOf(10, count{10, 10}, count{}, one), 1},
		"behind the checkpoint":          {blueGreenOf(10, count{10, 10}, count{1, 1}, one, checkpoint), 10},
		"behind it, and paused":          {blueGreenOf(10, count{10, 10}, count{1, 1}, one, checkpoint, waiting(0)), 1},
		"no previewReplicaCount":         {blueGreenOf(10, count{10, 10}, count{}), 10},
		"promoted in full":               {blueGreenOf(10, count{10, 10}, count{}, one, fully), 10},
		"aborted before it had any pods": {blueGreenOf(10, count{10, 10}, count{}, one, aborting), 0},
		"spec.paused":                    {blueGreenOf(10, count{10, 10}, count{}, one, func(ro *v1alpha1.Rollout) { ro.Spec.Paused = true }), 1},
	} {
		assert.Equal(t, tc.want, tc.p.previewTarget(), name)
	}
}

// TestSaturated (§11.1, AllDesiredAreAvailable): exactly its size, and all of it
// available.
func TestSaturated(t *testing.T) {
	p := blueGreenOf(3, count{3, 3}, count{})
	for _, tc := range []struct {
		have  count
		size  int32
		ready bool
	}{
		{count{3, 3}, 3, true}, {count{3, 2}, 3, false}, {count{3, 4}, 3, true}, {count{2, 2}, 3, false}, {count{4, 4}, 3, false}, {count{}, 0, true},
	} {
		assert.Equal(t, tc.ready, p.complement(replicaSetOf("x", tc.have), tc.size), "%+v", tc)
	}
	assert.False(t, p.complement(nil, 0), "no ReplicaSet")
	unreported := replicaSetOf("x", count{3, 3})
	unreported.Generation = 2
	assert.False(t, p.complement(unreported, 3), "pods of an earlier size may be going away")
}

// TestBlueGreenPause (§11.4, rollout/bluegreen_test.go 286–907): when the pause
// before the switch begins, ends, and what ends it.
func TestBlueGreenPause(t *testing.T) {
	all := count{3, 3}
	analysed := func(phase v1alpha1.AnalysisPhase) func(*v1alpha1.Rollout) {
		return func(ro *v1alpha1.Rollout) {
			ro.Spec.Strategy.BlueGreen.PrePromotionAnalysis = &v1alpha1.RolloutAnalysis{}
			ro.Status.BlueGreen.PrePromotionAnalysisRunStatus = &v1alpha1.RolloutAnalysisRunStatus{Name: "x", Status: phase}
		}
	}
	for name, tc := range map[string]struct {
		p        *planner
		switches bool
		moves    rollout.TransitionKind
		wake     time.Duration // after now; 0 is none
	}{
		"automatic":                            {p: blueGreenOf(3, all, all), switches: true},
		"automatic, pods are missing":          {p: blueGreenOf(3, all, count{3, 2})},
		"by hand: it begins":                   {p: blueGreenOf(3, all, all, byHand), moves: rollout.TransitionPause},
		"by hand: not before the pods":         {p: blueGreenOf(3, all, count{3, 2}, byHand)},
		"by hand: nobody has resumed":          {p: blueGreenOf(3, all, all, byHand, waiting(time.Hour))},
		"by hand: resumed":                     {p: blueGreenOf(3, all, all, byHand, resumed), switches: true},
		"by hand: resumed, and a pod was lost": {p: blueGreenOf(3, all, count{3, 2}, byHand, resumed)},
		"by hand: seconds do not count":        {p: blueGreenOf(3, all, all, byHand, after(10), waiting(time.Hour))},
		"timed: it begins":                     {p: blueGreenOf(3, all, all, after(10)), moves: rollout.TransitionPause},
		"timed: not yet":                       {p: blueGreenOf(3, all, all, after(10), waiting(4*time.Second)), wake: 6 * time.Second},
		"timed: over":                          {p: blueGreenOf(3, all, all, after(10), waiting(10*time.Second)), switches: true},
		"timed: resumed early":                 {p: blueGreenOf(3, all, all, after(10), resumed), switches: true},
		"full promotion":                       {p: blueGreenOf(3, all, all, byHand, waiting(0), fully), switches: true},
		"analysis first":                       {p: blueGreenOf(3, all, all, byHand, analysed(v1alpha1.AnalysisPhaseRunning))},
		"then the pause":                       {p: blueGreenOf(3, all, all, byHand, analysed(v1alpha1.AnalysisPhaseSuccessful)), moves: rollout.TransitionPause},
		"preview: then all pods":               {p: blueGreenOf(3, all, count{1, 1}, previewCount(1), byHand, resumed), moves: rollout.TransitionScaleUpPreview},
		"preview: and no pause":                {p: blueGreenOf(3, all, count{1, 1}, previewCount(1)), moves: rollout.TransitionScaleUpPreview},
		"preview: waits for them":              {p: blueGreenOf(3, all, count{3, 1}, previewCount(1), checkpoint)},
		"preview: has them":                    {p: blueGreenOf(3, all, all, previewCount(1), byHand, checkpoint), switches: true},
		"users reach it already":               {p: usersReach(blueGreenOf(3, all, all, byHand), "preview"), moves: rollout.TransitionPromote},
	} {
		if run := tc.p.ro.Status.BlueGreen.PrePromotionAnalysisRunStatus; run != nil {
			tc.p.s.AnalysisRuns = []*v1alpha1.AnalysisRun{{ObjectMeta: metav1.ObjectMeta{Name: run.Name}, Status: v1alpha1.AnalysisRunStatus{Phase: run.Status}}}
			tc.p.plan.PreRun = run
		}
		tc.p.positionBlueGreen()
		assert.Equal(t, tc.switches, tc.p.activate, name)
		assert.Equal(t, tc.moves, tc.p.plan.Transition.Kind, name)
		if tc.wake > 0 {
			assert.Equal(t, tc.p.s.Now.Add(tc.wake), tc.p.plan.Wake, name)
		}
	}
}

// TestBlueGreenSizes (§11.4, rollout/replicaset_test.go): the new revision is
// brought to spec.replicas; after an abort its deadline decides, and the count
// that autoscalers look at is kept up to date meanwhile.
func TestBlueGreenSizes(t *testing.T) {
	aborted := func(ro *v1alpha1.Rollout) {
		ro.Status.Abort, ro.Status.AbortedAt = true, &metav1.Time{Time: blueGreenNow.Add(-time.Minute)}
		ro.Spec.Strategy.BlueGreen.AbortScaleDownDelaySeconds = ptr.To[int32](5)
	}
	for name, tc := range map[string]struct {
		p        *planner
		deadline time.Duration // of the new revision; 0 is none
		want     int32
		set      string
	}{
		"it has them":                     {p: blueGreenOf(10, count{10, 10}, count{10, 10}), want: 10},
		"too many":                        {p: blueGreenOf(10, count{10, 10}, count{12, 12}), want: 10},
		"too few":                         {p: blueGreenOf(10, count{10, 10}, count{8, 8}), want: 10},
		"aborted: a deadline":             {p: blueGreenOf(10, count{10, 10}, count{10, 10}, aborted), want: 10, set: blueGreenNow.Add(5 * time.Second).Format(time.RFC3339)},
		"aborted: not over":               {p: blueGreenOf(10, count{10, 10}, count{10, 10}, aborted), deadline: time.Second, want: 10},
		"aborted: over":                   {p: blueGreenOf(10, count{10, 10}, count{10, 10}, aborted), deadline: -time.Second, want: 0},
		"aborted: stable is not complete": {p: blueGreenOf(10, count{10, 9}, count{10, 10}, aborted), want: 10},
	} {
		rs := tc.p.newRS
		rs.Annotations = map[string]string{v1alpha1.AnnotationDesiredReplicas: "10"}
		if tc.deadline != 0 {
			rs.Annotations[v1alpha1.AnnotationScaleDownDeadline] = blueGreenNow.Add(tc.deadline).Format(time.RFC3339)
		}
		tc.p.targets()
		tc.p.scale()
		tc.p.cleanup()
		size, set := rollout.SpecReplicas(rs), ""
		for _, op := range tc.p.plan.Ops {
			if up, ok := op.(rollout.UpdateReplicaSet); ok && up.Name == rs.Name {
				size, set = up.To, ptr.Deref(up.Annotations[v1alpha1.AnnotationScaleDownDeadline], "")
			}
		}
		assert.Equal(t, tc.want, size, name)
		assert.Equal(t, tc.set, set, name)
	}
	p := blueGreenOf(7, count{10, 10}, count{10, 10}, aborted)
	p.newRS.Annotations = map[string]string{v1alpha1.AnnotationDesiredReplicas: "10", v1alpha1.AnnotationScaleDownDeadline: blueGreenNow.Add(time.Second).Format(time.RFC3339)}
	p.targets()
	p.scale()
	for _, op := range p.plan.Ops {
		if up, ok := op.(rollout.UpdateReplicaSet); ok {
			assert.Equal(t, "7", *up.Annotations[v1alpha1.AnnotationDesiredReplicas], up.Name)
		}
	}
	assert.Len(t, p.plan.Ops, 2)
}

// A blue-green revision whose ReplicaSet is being made moves nowhere yet.
func TestARevisionWithoutAReplicaSetStaysWhereItIs(t *testing.T) {
	p := blueGreenOf(3, count{3, 3}, count{3, 3})
	p.newRS = nil
	p.positionBlueGreen()
	assert.Equal(t, rollout.TransitionNone, p.plan.Transition.Kind)
	assert.Empty(t, p.plan.Holds)
}
