package sim

import (
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Names of the objects Deploy makes.
const (
	Namespace     = "shop"
	Name          = "app"
	StableService = "stable"
	CanaryService = "canary"
	PingService   = "ping"
	PongService   = "pong"
	Step          = "example/smoke"
	Template      = "success-rate"
	RouterPlugin  = "gateway"
)

// NewRollout is a canary with one router and these steps.
func NewRollout(version string, replicas int32, steps ...v1alpha1.CanaryStep) *v1alpha1.Rollout {
	return &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Name: Name, Namespace: Namespace},
		Spec: v1alpha1.RolloutSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": Name}},
			Template: PodTemplate(version),
			Strategy: v1alpha1.RolloutStrategy{Canary: &v1alpha1.CanaryStrategy{
				StableService: StableService, CanaryService: CanaryService, Steps: steps,
				TrafficRouting: &v1alpha1.RolloutTrafficRouting{ManagedRoutes: managedRoutes(), Plugins: map[string]json.RawMessage{RouterPlugin: Block("app")}},
			}},
		},
	}
}

// managedRoutes are the names the steps of a story may use, highest priority
// first.
func managedRoutes() []v1alpha1.ManagedRoute {
	return []v1alpha1.ManagedRoute{{Name: "beta"}, {Name: "shadow"}}
}

// NewBasic is a canary with these steps and without traffic routing.
func NewBasic(version string, replicas int32, steps ...v1alpha1.CanaryStep) *v1alpha1.Rollout {
	ro := NewRollout(version, replicas, steps...)
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{Steps: steps}
	return ro
}

// Block is the configuration of a router plugin that writes one Route.
func Block(route string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"route":%q}`, route))
}

// PodTemplate of a version.
func PodTemplate(version string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": Name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: version}}},
	}
}

func image(t corev1.PodTemplateSpec) string {
	if len(t.Spec.Containers) == 0 {
		return "none"
	}
	return t.Spec.Containers[0].Image
}

// Steps of a canary.

// SetWeight is a setWeight step.
func SetWeight(n int32) v1alpha1.CanaryStep { return v1alpha1.CanaryStep{SetWeight: &n} }

// Pause is a pause step; 0 seconds pause until somebody resumes.
func Pause(seconds int32) v1alpha1.CanaryStep {
	pause := &v1alpha1.RolloutPause{}
	if seconds > 0 {
		d := intstr.FromInt32(seconds)
		pause.Duration = &d
	}
	return v1alpha1.CanaryStep{Pause: pause}
}

// Analysis is a step with one run of the template.
func Analysis() v1alpha1.CanaryStep {
	return v1alpha1.CanaryStep{Analysis: &v1alpha1.RolloutAnalysis{Templates: []v1alpha1.AnalysisTemplateRef{{TemplateName: Template}}}}
}

// HeaderRoute is a setHeaderRoute step; without a value it removes the route.
func HeaderRoute(name, value string) v1alpha1.CanaryStep {
	step := &v1alpha1.SetHeaderRoute{Name: name}
	if value != "" {
		step.Match = []v1alpha1.HeaderRoutingMatch{{HeaderName: "x-version", HeaderValue: &v1alpha1.StringMatch{Exact: value}}}
	}
	return v1alpha1.CanaryStep{SetHeaderRoute: step}
}

// MirrorRoute is a setMirrorRoute step for GET requests; 0 % removes the route.
func MirrorRoute(name string, percentage int32) v1alpha1.CanaryStep {
	step := &v1alpha1.SetMirrorRoute{Name: name}
	if percentage > 0 {
		step.Percentage = &percentage
		step.Match = []v1alpha1.RouteMatch{{Method: &v1alpha1.StringMatch{Exact: "GET"}}}
	}
	return v1alpha1.CanaryStep{SetMirrorRoute: step}
}

// PluginStep is a step done by the plugin.
func PluginStep(name string) v1alpha1.CanaryStep {
	return v1alpha1.CanaryStep{Plugin: &v1alpha1.PluginStep{Name: name, Config: json.RawMessage(`{"suite":"smoke"}`)}}
}

// ScaleCanary is a setCanaryScale step that asks for a number of pods.
func ScaleCanary(replicas int32) v1alpha1.CanaryStep {
	return v1alpha1.CanaryStep{SetCanaryScale: &v1alpha1.SetCanaryScale{Replicas: &replicas}}
}

// AddService creates a Service that selects every pod of the Rollout.
func (w *World) AddService(name string) {
	w.must(w.store.create(byUser, key{kindService, name}, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": Name}},
	}))
}

// Take marks a Service as managed by another Rollout, which exists until it is
// given back with "".
func (w *World) Take(service, rollout string) {
	w.note(fmt.Sprintf("Service %s is marked by Rollout %q", service, rollout))
	clear(w.rivals)
	w.rivals[rollout] = rollout != ""
	_, err := w.store.update(byUser, key{kindService, service}, "", func(obj object) { annotate(obj, v1alpha1.AnnotationManagedBy, rollout) })
	w.must(err)
}

// DeleteService removes a Service.
func (w *World) DeleteService(name string) {
	w.must(w.store.remove(byUser, key{kindService, name}, "", ""))
}

// AddTemplate creates the AnalysisTemplate.
func (w *World) AddTemplate(name string) {
	w.must(w.store.create(byUser, key{kindTemplate, name}, &v1alpha1.AnalysisTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace},
		Spec: v1alpha1.AnalysisTemplateSpec{Metrics: []v1alpha1.Metric{{
			Name: "success-rate", SuccessCondition: "result > 0.9",
			Provider: v1alpha1.MetricProvider{Prometheus: &v1alpha1.PrometheusMetric{Address: "http://prometheus", Query: "up"}},
		}}},
	}))
}

// AddRoute creates a Route of a router plugin with all weight on the stable
// Service in each place.
func (w *World) AddRoute(plugin, name string, total int32, places ...string) {
	w.AddRouteTo(plugin, name, total, [2]string{StableService, CanaryService}, places...)
}

// AddRouteTo is AddRoute between two other Services; the first has all weight.
func (w *World) AddRouteTo(plugin, name string, total int32, services [2]string, places ...string) {
	w.routed = total
	route := &Route{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace}, Plugin: plugin, Programmed: 1}
	for _, p := range places {
		route.Places = append(route.Places, Place{Name: p, Backends: []Backend{{services[0], total}, {services[1], 0}}})
	}
	w.must(w.store.create(byUser, key{kindRoute, name}, route))
}

// PingPong is a canary whose two Services take turns.
func PingPong(ro *v1alpha1.Rollout) *v1alpha1.Rollout {
	canary := ro.Spec.Strategy.Canary
	canary.StableService, canary.CanaryService = "", ""
	canary.PingPong = &v1alpha1.PingPongSpec{PingService: PingService, PongService: PongService}
	return ro
}

// Prepare creates what a Rollout refers to: Services, Route, template, and one
// router plugin with a gateway that takes half a second.
func (w *World) Prepare() {
	w.Plugins[RouterPlugin] = &Plugin{Installed: true, Up: true, Lag: w.Latency * 5}
	w.AddService(StableService)
	w.AddService(CanaryService)
	w.AddService(ActiveService)
	w.AddService(PreviewService)
	w.AddTemplate(Template)
	w.AddRoute(RouterPlugin, "app", 100, "rule-0")
}

// Create creates the Rollout.
func (w *World) Create(ro *v1alpha1.Rollout) {
	version := image(ro.Spec.Template)
	if ref := ro.Spec.WorkloadRef; ref != nil {
		version = "the template of " + ref.Kind + " " + ref.Name
	}
	w.note("a user creates the Rollout with " + version)
	w.must(w.store.create(byUser, key{kindRollout, ro.Name}, asStored(ro)))
}

// Edit is a user's change of the Rollout.
func (w *World) Edit(what string, edit func(*v1alpha1.Rollout)) {
	w.note("a user " + what)
	_, err := w.store.update(byUser, key{kindRollout, w.Rollout().Name}, "", func(obj object) { edit(obj.(*v1alpha1.Rollout)) })
	w.must(err)
}

// Deploy asks for another version.
func (w *World) Deploy(version string) {
	if ref := w.Rollout().Spec.WorkloadRef; ref != nil && w.store.live[key{kindDeployment, ref.Name}] != nil {
		w.EditDeployment("deploys "+version+" by the Deployment", func(d *appsv1.Deployment) { d.Spec.Template = PodTemplate(version) })
		return
	}
	w.Edit("deploys "+version, func(ro *v1alpha1.Rollout) { ro.Spec.Template = PodTemplate(version) })
}

// Resume does what promote does in a pause: it clears the pause conditions.
func (w *World) Resume() {
	w.Edit("resumes", func(ro *v1alpha1.Rollout) { ro.Status.PauseConditions = nil })
}

// Abort gives up the update.
func (w *World) Abort() { w.Edit("aborts", func(ro *v1alpha1.Rollout) { ro.Status.Abort = true }) }

// Retry starts an aborted update again.
func (w *World) Retry() { w.Edit("retries", func(ro *v1alpha1.Rollout) { ro.Status.Abort = false }) }

// PromoteFull skips everything that is left.
func (w *World) PromoteFull() {
	w.Edit("promotes fully", func(ro *v1alpha1.Rollout) { ro.Status.PromoteFull = true })
}

// Scale sets spec.replicas.
func (w *World) Scale(replicas int32) {
	w.Edit(fmt.Sprintf("scales to %d", replicas), func(ro *v1alpha1.Rollout) { setReplicas(ro, replicas) })
}

func setReplicas(obj object, n int32) { obj.(*v1alpha1.Rollout).Spec.Replicas = &n }

// SetPaused sets spec.paused.
func (w *World) SetPaused(paused bool) {
	w.Edit(fmt.Sprintf("sets spec.paused to %v", paused), func(ro *v1alpha1.Rollout) { ro.Spec.Paused = paused })
}

// EditRoute is somebody's edit of the weights of one place.
func (w *World) EditRoute(name string, place int, canary, stable int32) {
	w.note("somebody edits the route by hand")
	_, err := w.store.update(byUser, key{kindRoute, name}, "", func(obj object) {
		stableName, canaryName := ends(w.Rollout(), obj.(*Route).Places[place])
		for i, b := range obj.(*Route).Places[place].Backends {
			switch b.Service {
			case canaryName:
				obj.(*Route).Places[place].Backends[i].Weight = canary
			case stableName:
				obj.(*Route).Places[place].Backends[i].Weight = stable
			}
		}
	})
	w.must(err)
}

// DeleteReplicaSet removes the ReplicaSet of a version, and its pods.
func (w *World) DeleteReplicaSet(version string) {
	for _, rs := range list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet) {
		if image(rs.Spec.Template) == version {
			w.note("a user deletes ReplicaSet " + rs.Name)
			w.must(w.store.remove(byUser, key{kindReplicaSet, rs.Name}, "", ""))
			delete(w.pods, rs.Name)
		}
	}
}

// PluginDown and PluginUp change the state of a router plugin's process.
func (w *World) PluginDown(name string) {
	w.note("router plugin " + name + " goes down")
	w.Plugins[name].Up = false
	w.PluginChanged()
}

// PluginUp is the end of PluginDown.
func (w *World) PluginUp(name string) {
	w.note("router plugin " + name + " is back")
	w.Plugins[name].Installed, w.Plugins[name].Up, w.Plugins[name].Asking = true, true, false
	w.PluginChanged()
}

// must stops the run when the story itself asks for something impossible.
func (w *World) must(err error) {
	if err != nil {
		w.failf("the story asks for something impossible: %v", err)
	}
}
