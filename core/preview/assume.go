package preview

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// Aliases are further names of bundled plugins, as manifests for Argo Rollouts have
// them.
var Aliases = map[string]string{"argoproj-labs/gatewayAPI": "gatewayapi"}

// Bundled are the names that the plugins which come with the controller answer to,
// sorted.
func Bundled() []string { return slices.Sorted(maps.Keys(merged(bundled, Aliases))) }

func merged(plugins map[string]*Router, aliases map[string]string) map[string]bool {
	out := map[string]bool{}
	for name := range plugins {
		out[name] = true
	}
	for name := range aliases {
		out[name] = true
	}
	return out
}

// Retired are the routers with a block of their own that no plugin stands in for.
var Retired = []string{"ambassador", "appMesh"}

// router is what is known of a plugin without asking it. One that nobody knows is
// taken for one that can do everything.
func (f *foreteller) router(plugin string) (can Router, known bool) {
	if can, known := f.r.Assume.Routers[plugin]; known {
		return can, true
	}
	if slices.Contains(Retired, plugin) {
		return Router{Missing: true}, true
	}
	if r := bundled[cmp.Or(Aliases[plugin], plugin)]; r != nil {
		return *r, true
	}
	return Router{HeaderRoutes: true, MirrorRoutes: true, Experiments: true, MaxWeight: true}, false
}

// lag is how long a data plane takes to follow; a guess that only shifts times.
const lag = time.Second

// prepare installs every plugin that the Rollout names, before and after.
func (f *foreteller) prepare(w *sim.World, about *v1alpha1.Rollout) {
	for _, ro := range []*v1alpha1.Rollout{about, f.r.Want} {
		if ro == nil {
			continue
		}
		for _, b := range rollout.Blocks(ro) {
			can, _ := f.router(b.Plugin)
			w.Plugins[b.Plugin] = &sim.Plugin{Installed: !can.Missing, Up: true, Lag: lag, Can: &rollout.Capabilities{
				HeaderRoutes: can.HeaderRoutes, MirrorRoutes: can.MirrorRoutes, Experiments: can.Experiments, MaxWeight: can.MaxWeight}}
		}
		for _, name := range rollout.StepPluginNames(ro) {
			w.StepPlugins[name] = &sim.StepPlugin{Takes: 10 * time.Second}
		}
	}
}

// routeOf gives each block of a router one route, whatever objects it names.
func routeOf(plugin string, config []byte) string { return plugin + " " + string(config) }

// routesOf are the routes behind the blocks of a Rollout, with the weights that
// status remembers.
func routesOf(ro *v1alpha1.Rollout) []*sim.Route {
	var out []*sim.Route
	total := (&rollout.Snapshot{Rollout: ro}).TotalWeight()
	for _, b := range rollout.Blocks(ro) {
		target := b.Target(ro)
		place := sim.Place{Name: "all", Backends: []sim.Backend{{Service: target.StableService, Weight: total}, {Service: target.CanaryService}}}
		if seen := rollout.Remember(ro, b).Observed; len(seen) > 0 {
			place.Backends = nil
			for _, d := range seen[0].Traffic.Destinations {
				place.Backends = append(place.Backends, sim.Backend{Service: d.Service, Weight: d.Weight})
			}
			for _, m := range seen[0].Traffic.Managed {
				place.Managed = append(place.Managed, sim.ManagedRule{ManagedRoute: m, Service: target.CanaryService})
			}
		}
		out = append(out, &sim.Route{ObjectMeta: metav1.ObjectMeta{Name: routeOf(b.Plugin, b.Config), Namespace: ro.Namespace, Generation: 1, UID: "route"},
			Plugin: b.Plugin, Places: []sim.Place{place}, Programmed: 1})
	}
	return out
}

// verdict: every run succeeds, when its last measurement is taken.
func verdict(run *v1alpha1.AnalysisRun) sim.Verdict {
	longest := time.Second
	for _, m := range run.Spec.Metrics {
		limits, err := runspec.LimitsOf(m)
		if err != nil {
			continue
		}
		if limits.Count == nil {
			return sim.Verdict{Phase: v1alpha1.AnalysisPhaseSuccessful, After: 10 * 365 * 24 * time.Hour} // until it is ended
		}
		longest = max(longest, limits.InitialDelay+time.Duration(max(0, *limits.Count-1))*limits.Interval+time.Second)
	}
	return sim.Verdict{Phase: v1alpha1.AnalysisPhaseSuccessful, After: longest}
}

// ending: every experiment succeeds after its duration.
func ending(ex *v1alpha1.Experiment) sim.Verdict {
	d, err := ex.Spec.Duration.Duration()
	if err != nil || d == 0 {
		d = time.Minute
	}
	return sim.Verdict{Phase: v1alpha1.AnalysisPhaseSuccessful, After: d}
}

// guesses are the assumptions that the Rollout gives occasion for.
func (f *foreteller) guesses(all ...*v1alpha1.Rollout) []string {
	var out []string
	said := map[string]bool{}
	say := func(text string) {
		if !said[text] {
			said[text] = true
			out = append(out, text)
		}
	}
	for _, ro := range all {
		if ro == nil {
			continue
		}
		if len(rollout.TemplateRefs(ro)) > 0 {
			say("every analysis succeeds with its last measurement")
		}
		for _, name := range rollout.StepPluginNames(ro) {
			say(fmt.Sprintf("step plugin %s takes 10 s and succeeds", name))
		}
		for _, b := range rollout.Blocks(ro) {
			say(fmt.Sprintf("the data plane behind %s follows within %s", b.Plugin, lag))
			if _, known := f.router(b.Plugin); !known {
				say(fmt.Sprintf("plugin %s can do whatever the steps ask of it", b.Plugin))
			}
		}
	}
	return out
}
