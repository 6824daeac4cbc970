package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/decide"
)

// RandomBasic is a cluster with a canary without traffic routing that follow
// from the seed.
func RandomBasic(seed int64) (*World, *rand.Rand) {
	r := rand.New(rand.NewSource(seed))
	w := New(randomOptions(r))
	w.AddService(StableService)
	w.AddService(CanaryService)
	w.AddTemplate(Template)
	ro := NewBasic("v1", int32(r.Intn(9)), WithoutRouting(RandomSteps(r, 100))...)
	canary := ro.Spec.Strategy.Canary
	if r.Intn(2) == 0 {
		canary.StableService, canary.CanaryService = StableService, CanaryService
	}
	randomBounds(r, canary)
	randomFields(r, canary)
	canary.ScaleDownDelaySeconds = nil
	randomLife(r, ro)
	w.Create(ro)
	w.randomHPA(r)
	w.note("steps " + Describe(canary.Steps))
	return w, r
}

// randomBounds are maxSurge and maxUnavailable, not both 0.
func randomBounds(r *rand.Rand, canary *v1alpha1.CanaryStrategy) {
	bound := func() *intstr.IntOrString {
		v := intstr.FromInt32(int32(r.Intn(4)))
		if r.Intn(3) == 0 {
			v = intstr.FromString([]string{"10%", "25", "50%", "100%"}[r.Intn(4)])
		}
		return &v
	}
	if r.Intn(4) > 0 {
		canary.MaxSurge = bound()
	}
	if r.Intn(4) > 0 {
		canary.MaxUnavailable = bound()
	}
	if canary.MaxSurge != nil && canary.MaxUnavailable != nil && canary.MaxSurge.String() == "0" && canary.MaxUnavailable.String() == "0" {
		canary.MaxSurge = nil
	}
}

// randomScale is a setCanaryScale step.
func randomScale(r *rand.Rand) v1alpha1.CanaryStep {
	scale := &v1alpha1.SetCanaryScale{}
	switch n := int32(r.Intn(5)); r.Intn(3) {
	case 0:
		scale.Replicas = &n
	case 1:
		n *= 40
		scale.Weight = &n
	case 2:
		scale.MatchTrafficWeight = true
	}
	return v1alpha1.CanaryStep{SetCanaryScale: scale}
}

func randomOptions(r *rand.Rand) Options {
	return Options{
		Latency:    time.Duration(1+r.Intn(2000)) * time.Millisecond,
		StartUp:    time.Duration(1+r.Intn(8000)) * time.Millisecond,
		Verdict:    func(*v1alpha1.AnalysisRun) Verdict { return randomVerdict(r) },
		Experiment: func(*v1alpha1.Experiment) Verdict { return randomVerdict(r) },
		MaxPasses:  20000,
	}
}

// randomLife are the fields that every strategy has.
func randomLife(r *rand.Rand, ro *v1alpha1.Rollout) {
	if r.Intn(4) == 0 {
		deadline := int32(20 + r.Intn(100))
		ro.Spec.ProgressDeadlineSeconds, ro.Spec.ProgressDeadlineAbort = &deadline, r.Intn(2) == 0
	}
	if r.Intn(4) == 0 {
		ro.Spec.RollbackWindow = &v1alpha1.RollbackWindowSpec{Revisions: int32(1 + r.Intn(3))}
	}
	if r.Intn(4) == 0 {
		limit := int32(r.Intn(3))
		ro.Spec.RevisionHistoryLimit = &limit
	}
}

// Random is a cluster and a Rollout that follow from the seed; its routers split
// between Services.
func Random(seed int64) (*World, *rand.Rand) { return random(seed, nil) }

// RandomSubsets is Random with at least one router that splits between subsets.
func RandomSubsets(seed int64) (*World, *rand.Rand) {
	return random(seed, [][]string{{RouterPlugin}, {Mesh}, {RouterPlugin, Mesh}}[seed%3])
}

// random has these routers split between subsets.
func random(seed int64, between []string) (*World, *rand.Rand) {
	r := rand.New(rand.NewSource(seed))
	w := New(randomOptions(r))
	total := int32(100)
	if r.Intn(5) == 0 {
		total = 100_000_000
	}
	services := w.randomServices(r)
	w.AddService(ActiveService)
	w.AddService(PreviewService)
	w.AddTemplate(Template)
	ro := NewRollout("v1", int32(r.Intn(7)), RandomSteps(r, int64(total))...)
	if services[0] == PingService {
		PingPong(ro)
	}
	canary := ro.Spec.Strategy.Canary
	canary.TrafficRouting.Plugins = map[string]json.RawMessage{}
	w.randomRouters(r, canary, services, total, between)
	w.StepPlugins[Step] = &StepPlugin{Takes: time.Duration(r.Intn(60000)) * time.Millisecond, Requeue: time.Duration(r.Intn(30)) * time.Second}
	if total != 100 {
		canary.TrafficRouting.MaxTrafficWeight = &total
	}
	randomFields(r, canary)
	if r.Intn(3) == 0 {
		canary.DynamicStableScale, canary.ScaleDownDelaySeconds = true, nil
	}
	if r.Intn(5) == 0 {
		w.AddDeployment("v1", int32(r.Intn(5)))
		Referring(ro, []string{v1alpha1.ScaleDownNever, v1alpha1.ScaleDownOnSuccess, v1alpha1.ScaleDownProgressively}[r.Intn(3)])
	}
	randomLife(r, ro)
	if d := ro.Spec.ProgressDeadlineSeconds; d != nil {
		*d = max(*d, w.leastDeadline())
	}
	w.alternatives(r, ro)
	w.Create(ro)
	w.randomHPA(r)
	w.note("steps " + Describe(canary.Steps))
	return w, r
}

// randomRouters gives the canary one or two routers with two routes each.
func (w *World) randomRouters(r *rand.Rand, canary *v1alpha1.CanaryStrategy, services [2]string, total int32, between []string) {
	routers := 1 + r.Intn(2)
	if len(between) > 0 && services[0] == PingService {
		between = []string{RouterPlugin, Mesh} // only all of them, or none, where Services take turns
	} else if slices.Equal(between, []string{Mesh}) {
		routers = 2
	}
	for i := range routers {
		plugin, route := RouterPlugin, "app"
		if i > 0 {
			plugin, route = Mesh, "app-mesh"
		}
		canary.TrafficRouting.Plugins[plugin] = Block(route)
		w.Plugins[plugin] = &Plugin{Installed: true, Up: true, Silent: r.Intn(4) == 0, External: r.Intn(4) == 0, Blind: r.Intn(5) == 0,
			Lag: time.Duration(r.Intn(3000)) * time.Millisecond}
		if r.Intn(2) == 0 {
			w.Plugins[plugin].Settle = time.Duration(r.Intn(5000)) * time.Millisecond
		}
		for _, name := range []string{route, route + "-b"} {
			places := []string{"rule-0", "rule-1"}[:1+r.Intn(2)]
			if slices.Contains(between, plugin) {
				w.Plugins[plugin].Blind = false // where subsets point has to be seen
				w.AddSubsetRoute(plugin, name, total, places...)
				continue
			}
			w.AddRouteTo(plugin, name, total, services, places...)
		}
	}
	if len(between) >= routers && r.Intn(3) > 0 {
		canary.StableService, canary.CanaryService = "", "" // subsets need no Services
	}
}

// randomServices creates the two Services; some take turns.
func (w *World) randomServices(r *rand.Rand) [2]string {
	services := [2]string{StableService, CanaryService}
	if r.Intn(5) == 0 {
		services = [2]string{PingService, PongService}
	}
	for _, name := range services {
		w.AddService(name)
	}
	return services
}

func randomFields(r *rand.Rand, canary *v1alpha1.CanaryStrategy) {
	number := func(n int) *int32 {
		v := int32(r.Intn(n))
		return &v
	}
	if r.Intn(3) == 0 {
		canary.ScaleDownDelaySeconds = number(40)
	}
	if r.Intn(3) == 0 {
		canary.AbortScaleDownDelaySeconds = number(20)
	}
	if r.Intn(5) == 0 {
		canary.ScaleDownDelayRevisionLimit = number(3)
	}
	if r.Intn(5) == 0 {
		canary.MinPodsPerReplicaSet = number(4)
	}
	if r.Intn(6) == 0 {
		canary.ReplicaProgressThreshold = &v1alpha1.ReplicaProgressThreshold{
			Type: v1alpha1.ReplicaProgressThresholdPercent, Value: int32(50 + r.Intn(51))}
		if r.Intn(2) == 0 {
			canary.ReplicaProgressThreshold = &v1alpha1.ReplicaProgressThreshold{Type: v1alpha1.ReplicaProgressThresholdPods, Value: int32(1 + r.Intn(3))}
		}
	}
	if r.Intn(4) == 0 {
		canary.Analysis = &v1alpha1.RolloutAnalysisBackground{RolloutAnalysis: *Analysis().Analysis, StartingStep: number(3)}
	}
}

func randomVerdict(r *rand.Rand) Verdict {
	v := Verdict{Phase: v1alpha1.AnalysisPhaseSuccessful, After: time.Duration(r.Intn(20000)) * time.Millisecond}
	switch r.Intn(10) {
	case 0:
		v.Phase = v1alpha1.AnalysisPhaseFailed
	case 1:
		v.Phase = v1alpha1.AnalysisPhaseError
	case 2, 3:
		v.Phase = v1alpha1.AnalysisPhaseInconclusive
	}
	return v
}

// Describe names the steps in one line.
func Describe(steps []v1alpha1.CanaryStep) string {
	var out []string
	for _, s := range steps {
		out = append(out, decide.DescribeStep(s))
	}
	return fmt.Sprint(out)
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
