package sim

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// tempo is how wild a while is.
type tempo struct {
	// people is how many turns in a thousand somebody interferes, deaths how many
	// the process dies.
	people, deaths int
	// late is the kind of object whose cache shows nothing; "" is none.
	late kind
}

// tempos: where people interfere all the time, hardly any update gets anywhere.
var tempos = []tempo{{people: 5, deaths: 5}, {people: 15, deaths: 15}, {people: 40, deaths: 5}, {people: 90, deaths: 30}}

// Chaos plays n turns in an order nobody would choose: caches that lag, each
// kind for itself, restarts before any write, people and faults at any moment.
// Heal ends it.
func (w *World) Chaos(r *rand.Rand, n int) {
	t := tempos[r.Intn(len(tempos))]
	for range n {
		if w.Err != nil {
			return
		}
		switch p := r.Intn(1000); {
		case p < t.people:
			w.disturb(r)
		case p < t.people+t.deaths/2:
			w.restart()
		case p < t.people+t.deaths:
			w.CrashBefore = w.Writes + 1 + r.Intn(5)
		case p < t.people+t.deaths+20:
			t.late = append(kinds, "", "", "")[r.Intn(len(kinds)+3)]
		default:
			w.stir(r, t)
		}
	}
}

// stir lets one thing happen that can: a cache shows a change, the controller
// makes a pass, or time goes on.
func (w *World) stir(r *rand.Rand, t tempo) {
	var behind []kind
	for _, k := range kinds {
		if k != t.late && w.cache.pending(w.store, k) {
			behind = append(behind, k)
		}
	}
	at, due := w.due()
	switch p := r.Intn(90); {
	case p < 45 && len(behind) > 0:
		w.deliver(behind[r.Intn(len(behind))])
	case p < 70 && w.queued:
		w.pass()
	case due:
		w.advance(at)
	case len(behind) > 0:
		w.deliver(behind[0])
	default:
		w.disturb(r) // at rest
	}
}

// versions that people deploy.
var versions = []string{"v1", "v2", "v3", "v4"}

// disturb lets somebody do something, or something break.
func (w *World) disturb(r *rand.Rand) {
	if w.Rollout() == nil {
		return
	}
	if r.Intn(12) == 0 {
		w.disturbLifecycle(r)
		return
	}
	version := versions[r.Intn(len(versions))]
	switch r.Intn(30) {
	case 27, 28:
		w.disturbHPA(r)
	case 29:
		w.disturbSpec(r)
	case 25:
		w.disturbSteps(r)
	case 0, 1:
		w.Deploy(version)
	case 2, 3, 4, 5:
		w.Resume()
	case 6:
		w.Abort()
	case 7, 8:
		w.Retry()
	case 9:
		w.PromoteFull()
	case 10, 11:
		w.Scale(int32(r.Intn(7)))
	case 12:
		w.SetPaused(!w.Rollout().Spec.Paused)
	case 13:
		if w.Rollout().Spec.Strategy.Canary == nil {
			return
		}
		steps := w.randomSteps(r)
		w.Edit(fmt.Sprintf("edits the steps to %s", Describe(steps)), func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.Steps = steps })
	case 14, 15:
		w.disturbRoute(r)
	case 16, 17:
		w.disturbPlugin(r)
	case 18:
		w.Crash(version)
	case 19:
		w.Recover(version)
	case 20, 21:
		w.note("a pod of " + version + " is killed")
		w.KillPod(version)
	case 22:
		w.disturbObjects(r)
	case 23:
		w.disturbRuns(r)
	case 24:
		w.disturbRouters(r)
	case 26:
		w.SwitchStrategy()
	}
}

func (w *World) disturbRoute(r *rand.Rand) {
	routes := list[*Route](w.store.live, kindRoute)
	if len(routes) == 0 {
		return
	}
	route := routes[r.Intn(len(routes))]
	if w.Plugins[route.Plugin].Blind {
		return // nobody would ever know
	}
	if route.Places[0].Subsets != nil && r.Intn(3) == 0 {
		w.PointSubsets(route.Name, "") // from a manifest that knows nothing of revisions
		return
	}
	canary := int32(r.Int63n(w.total() + 1))
	w.EditRoute(route.Name, r.Intn(len(route.Places)), canary, int32(w.total())-canary)
}

// disturbRouters changes which routers the Rollout names, and what they write:
// what is left behind must be released.
func (w *World) disturbRouters(r *rand.Rand) {
	if w.Rollout().Spec.Strategy.Canary == nil {
		return
	}
	names := sortedKeys(w.Plugins)
	if basic(w.Rollout()) {
		return
	}
	plugins := map[string]json.RawMessage{}
	first := r.Intn(len(names))
	for i := range 1 + r.Intn(len(names)) {
		name := names[(first+i)%len(names)]
		route := map[string]string{RouterPlugin: "app", Mesh: "app-mesh"}[name]
		plugins[name] = Block(route + []string{"", "-b"}[r.Intn(2)])
	}
	w.Edit(fmt.Sprintf("edits the routers to %s", plugins), func(ro *v1alpha1.Rollout) {
		ro.Spec.Strategy.Canary.TrafficRouting.Plugins = plugins
	})
}

// troubles of a router that answers.
var troubles = []*rollout.Problem{nil, nil,
	{Class: rollout.ProblemConflict, Reason: v1alpha1.ReasonRouteConflict, Message: "Rollout \"other\" drives the same rule", Retry: time.Minute},
	{Class: rollout.ProblemRefused, Reason: "AccessDenied", Message: "the grant does not cover Route \"app\""},
}

func (w *World) disturbPlugin(r *rand.Rand) {
	for _, name := range sortedKeys(w.Plugins) {
		p := w.Plugins[name]
		switch r.Intn(7) {
		case 5:
			p.Trouble = troubles[r.Intn(len(troubles))]
			w.note(fmt.Sprintf("router plugin %s: %+v", name, p.Trouble))
			w.PluginChanged()
		case 6:
			p.Plain = !p.Plain
			w.note(fmt.Sprintf("a version of router plugin %s that routes by weight only: %v", name, p.Plain))
			w.PluginChanged()
		case 0:
			w.PluginDown(name)
		case 1, 2:
			w.PluginUp(name)
		case 3:
			p.Asking = true
			w.note("router plugin " + name + " is being asked")
			w.PluginChanged()
		case 4:
			p.Refuse = 1 + r.Intn(3)
			w.note("router plugin " + name + " refuses")
		}
	}
}

// disturbSteps lets step plugins go away, fail, or be switched off.
func (w *World) disturbSteps(r *rand.Rand) {
	for _, name := range sortedKeys(w.StepPlugins) {
		p := w.StepPlugins[name]
		p.Missing, p.Disabled = r.Intn(4) == 0, r.Intn(8) == 0
		p.Errors = r.Intn(3)
		p.Verdict = []rollout.StepPhase{"", "", rollout.StepFailed}[r.Intn(3)]
		w.note(fmt.Sprintf("step plugin %s: missing %v, switched off %v, %d errors, %q", name, p.Missing, p.Disabled, p.Errors, p.Verdict))
	}
	w.PluginChanged()
}

// disturbObjects removes what a Rollout refers to, or puts it back.
func (w *World) disturbObjects(r *rand.Rand) {
	switch r.Intn(6) {
	case 5:
		w.Unmeasured = !w.Unmeasured
		w.note(fmt.Sprintf("the metric plugin is away: %v", w.Unmeasured))
		w.PluginChanged()
	case 0:
		w.note("a user deletes the analysis template")
		w.must(w.store.remove(byUser, key{kindTemplate, Template}, "", ""))
	case 1, 2:
		w.putBack()
	case 3:
		if w.Plugins[RouterPlugin] == nil {
			return
		}
		w.Plugins[RouterPlugin].Installed = false
		w.note("the router plugin is uninstalled")
		w.PluginChanged()
	case 4:
		all := list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet)
		if len(all) > 0 {
			w.DeleteReplicaSet(image(all[r.Intn(len(all))].Spec.Template))
		}
	}
}

func (w *World) disturbRuns(r *rand.Rand) {
	all := list[*v1alpha1.AnalysisRun](w.store.live, kindAnalysisRun)
	if len(all) > 0 {
		run := all[r.Intn(len(all))]
		w.note("a user deletes AnalysisRun " + run.Name)
		w.must(w.store.remove(byUser, key{kindAnalysisRun, run.Name}, "", ""))
	}
}

// putBack creates what is missing.
func (w *World) putBack() {
	if w.store.live[key{kindTemplate, Template}] == nil {
		w.note("the analysis template is back")
		w.AddTemplate(Template)
	}
	stable, canary := rollout.Services(w.Rollout())
	for _, name := range []string{stable, canary, StableService, CanaryService, ActiveService, PreviewService} {
		if name == "" {
			continue
		}
		if w.Service(name) == nil {
			w.AddService(name)
		}
	}
}

// Heal ends every fault. What an analysis says is none.
func (w *World) Heal() {
	w.CrashBefore, w.MinAvailable, w.Unmeasured = 0, 0, false
	w.correct()
	w.PluginChanged()
	for _, name := range sortedKeys(w.Plugins) {
		w.Plugins[name].Refuse, w.Plugins[name].Trouble, w.Plugins[name].Plain = 0, nil, false
		w.PluginUp(name)
	}
	for _, p := range w.StepPlugins {
		p.Missing, p.Disabled, p.Errors, p.Verdict = false, false, 0, ""
	}
	for _, version := range versions {
		if w.Broken[version] {
			w.Recover(version)
		}
	}
	if w.HPA != nil {
		w.HPA.Wrong = 0
		w.scaleChanged()
	}
	w.putBack()
}

// Finish does what a person would do until the Rollout is healthy: nothing that
// holds it may be beyond their reach.
func (w *World) Finish() {
	w.Experiment = func(*v1alpha1.Experiment) Verdict {
		return Verdict{Phase: v1alpha1.AnalysisPhaseSuccessful, After: 5 * time.Second}
	}
	w.Verdict = func(*v1alpha1.AnalysisRun) Verdict {
		return Verdict{Phase: v1alpha1.AnalysisPhaseSuccessful, After: time.Second}
	}
	for range 40 {
		w.Rest()
		w.CheckRest()
		ro := w.Rollout()
		if w.Err != nil || ro.Status.Phase == v1alpha1.RolloutPhaseHealthy || w.Known != nil && w.Known(w.EndState()) {
			return
		}
		switch {
		case ro.Spec.Paused:
			w.SetPaused(false)
		case ro.Status.Abort:
			if d := ro.Spec.ProgressDeadlineSeconds; d != nil && *d < w.leastDeadline() {
				w.Edit("gives the steps the time they take", func(ro *v1alpha1.Rollout) { ro.Spec.ProgressDeadlineSeconds = new(w.leastDeadline()) })
			}
			w.Retry()
		case len(ro.Status.PauseConditions) > 0:
			w.Resume()
		}
	}
	w.failf("nothing a person does makes it healthy: %s", statusLine(w.Rollout()))
}

// leastDeadline, in seconds: a step that takes longer than the deadline is the
// user's own doing, and no retry ends it.
func (w *World) leastDeadline() int32 {
	var most time.Duration
	for _, p := range w.StepPlugins {
		most = max(most, p.Takes)
	}
	if most == 0 {
		return 0
	}
	return int32(most.Seconds()) + 60
}

// randomSteps are steps that the Rollout's strategy allows.
func (w *World) randomSteps(r *rand.Rand) []v1alpha1.CanaryStep {
	steps := RandomSteps(r, w.total())
	if !basic(w.Rollout()) {
		return steps
	}
	return WithoutRouting(steps)
}

// WithoutRouting leaves out the steps that need traffic routing.
func WithoutRouting(steps []v1alpha1.CanaryStep) []v1alpha1.CanaryStep {
	return slices.DeleteFunc(steps, func(s v1alpha1.CanaryStep) bool {
		return s.Experiment != nil || s.Plugin != nil || s.SetCanaryScale != nil || s.SetHeaderRoute != nil || s.SetMirrorRoute != nil
	})
}

// RandomSteps makes up to five steps.
func RandomSteps(r *rand.Rand, total int64) []v1alpha1.CanaryStep {
	var steps []v1alpha1.CanaryStep
	var weight int64
	for range r.Intn(6) {
		switch r.Intn(11) {
		case 8:
			share := total / 10
			if weight > 8*share {
				share = 0 // there is no room beside the canary
			}
			steps = append(steps, Experiment(int32(share)))
		case 7:
			steps = append(steps, PluginStep(Step))
		case 9, 10:
			steps = append(steps, randomScale(r))
		case 5:
			steps = append(steps, HeaderRoute("beta", []string{"", "beta", "alpha"}[r.Intn(3)]))
		case 6:
			steps = append(steps, MirrorRoute("shadow", int32(r.Intn(3)*10)))
		case 0, 1:
			weight = int64(r.Intn(11)) * total / 10
			steps = append(steps, SetWeight(int32(weight)))
		case 2:
			steps = append(steps, Pause(int32(1+r.Intn(20))))
		case 3:
			steps = append(steps, Pause(0))
		case 4:
			steps = append(steps, Analysis())
		}
	}
	return steps
}
