package decide

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// TestEveryMistakeIsNamed: a manifest that no Rollout can follow is refused with
// the path of the mistake, before anything is done.
func TestEveryMistakeIsNamed(t *testing.T) {
	type canary = v1alpha1.CanaryStrategy
	in := func(f func(*canary)) func(*v1alpha1.Rollout) {
		return func(ro *v1alpha1.Rollout) { f(ro.Spec.Strategy.Canary) }
	}
	steps := func(s ...v1alpha1.CanaryStep) func(*v1alpha1.Rollout) { return in(func(c *canary) { c.Steps = s }) }
	experiment := func(t v1alpha1.RolloutExperimentTemplate) func(*v1alpha1.Rollout) {
		return steps(v1alpha1.CanaryStep{Experiment: &v1alpha1.RolloutExperimentStep{Templates: []v1alpha1.RolloutExperimentTemplate{t}}})
	}
	header := func(r v1alpha1.SetHeaderRoute) func(*v1alpha1.Rollout) {
		return steps(v1alpha1.CanaryStep{SetHeaderRoute: &r})
	}
	pair := func(ping, pong string) func(*v1alpha1.Rollout) {
		return in(func(c *canary) { c.PingPong = &v1alpha1.PingPongSpec{PingService: ping, PongService: pong} })
	}
	blueGreen := func(f func(*v1alpha1.BlueGreenStrategy)) func(*v1alpha1.Rollout) {
		return func(ro *v1alpha1.Rollout) {
			bg := &v1alpha1.BlueGreenStrategy{ActiveService: "s"}
			f(bg)
			ro.Spec.Strategy = v1alpha1.RolloutStrategy{BlueGreen: bg}
		}
	}
	routed := func(s v1alpha1.CanaryStep) func(*v1alpha1.Rollout) {
		return func(ro *v1alpha1.Rollout) {
			c := ro.Spec.Strategy.Canary
			c.TrafficRouting = behindARouter()
			c.StableService, c.CanaryService, c.Steps = "s", "c", []v1alpha1.CanaryStep{s}
		}
	}
	negative := int32(-1)
	for want, edit := range map[string]func(*v1alpha1.Rollout){
		"spec.replicas":                func(ro *v1alpha1.Rollout) { ro.Spec.Replicas = &negative },
		"spec.minReadySeconds":         func(ro *v1alpha1.Rollout) { ro.Spec.MinReadySeconds = -1 },
		"spec.revisionHistoryLimit":    func(ro *v1alpha1.Rollout) { ro.Spec.RevisionHistoryLimit = &negative },
		"spec.progressDeadlineSeconds": func(ro *v1alpha1.Rollout) { ro.Spec.MinReadySeconds = 601 },
		"spec.containers[0].image": func(ro *v1alpha1.Rollout) {
			ro.Malformed = []v1alpha1.MalformedField{{Path: "spec.containers[0].image", Problem: "is a number"}}
		},
		"spec.selector: is empty": func(ro *v1alpha1.Rollout) { ro.Spec.Selector = nil },
		"spec.selector: \"?\"": func(ro *v1alpha1.Rollout) {
			ro.Spec.Selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "x", Operator: "?"}}
		},
		"spec.template.metadata.labels":            func(ro *v1alpha1.Rollout) { ro.Spec.Template.Labels = nil },
		"spec.template.spec.containers":            func(ro *v1alpha1.Rollout) { ro.Spec.Template.Spec.Containers = nil },
		"spec.strategy: sets both":                 func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.BlueGreen = &v1alpha1.BlueGreenStrategy{} },
		"spec.strategy: sets no":                   func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary = nil },
		"canary.scaleDownDelaySeconds: -1":         in(func(c *canary) { c.ScaleDownDelaySeconds = &negative }),
		"canary.scaleDownDelaySeconds: needs":      in(func(c *canary) { c.ScaleDownDelaySeconds = new(int32) }),
		"canary.dynamicStableScale: needs":         in(func(c *canary) { c.DynamicStableScale = true }),
		"canary.canaryService: is \"s\", the same": in(func(c *canary) { c.StableService, c.CanaryService = "s", "s" }),
		"pingPong.pingService: is required":        pair("", "b"),
		"pingPong.pongService: is required":        pair("a", ""),
		"pingPong.pongService: is \"a\", the same": pair("a", "a"),
		"canary.maxUnavailable: and maxSurge":      in(func(c *canary) { zero := intstr.FromInt32(0); c.MaxSurge, c.MaxUnavailable = &zero, &zero }),
		"canary.scaleDownDelaySeconds: cannot": func(ro *v1alpha1.Rollout) {
			dynamic(ro)
			ro.Spec.Strategy.Canary.ScaleDownDelaySeconds = new(int32)
		},
		"spec.strategy.canary: maxSurge":                    in(func(c *canary) { c.MaxSurge = &intstr.IntOrString{Type: intstr.String, StrVal: "many"} }),
		"blueGreen.previewReplicaCount: -1":                 blueGreen(func(bg *v1alpha1.BlueGreenStrategy) { bg.PreviewReplicaCount = &negative }),
		"blueGreen.scaleDownDelayRevisionLimit: 11 is more": blueGreen(func(bg *v1alpha1.BlueGreenStrategy) { bg.ScaleDownDelayRevisionLimit = new(int32(11)) }),
		"setCanaryScale: is empty":                          routed(scale(v1alpha1.SetCanaryScale{})),
		"setCanaryScale.weight: -1":                         routed(scale(v1alpha1.SetCanaryScale{Weight: &negative})),
		"setCanaryScale.replicas: -1":                       routed(scale(v1alpha1.SetCanaryScale{Replicas: &negative})),
		"setHeaderRoute.name: is empty":                     routed(v1alpha1.CanaryStep{SetHeaderRoute: &v1alpha1.SetHeaderRoute{}}),
		"experiment.analyses[0]: AnalysisTemplate \"t\"": steps(v1alpha1.CanaryStep{Experiment: &v1alpha1.RolloutExperimentStep{
			Templates: []v1alpha1.RolloutExperimentTemplate{{Name: "a", SpecRef: v1alpha1.StableSpecRef}},
			Analyses:  []v1alpha1.RolloutExperimentStepAnalysisTemplateRef{{Name: "b", TemplateName: "t"}}}}),
		"steps[0]: is empty":                    steps(v1alpha1.CanaryStep{}),
		"steps[0]: sets 2":                      steps(v1alpha1.CanaryStep{SetWeight: new(int32), Pause: &v1alpha1.RolloutPause{}}),
		"steps[0].setWeight: 101":               steps(weight(101)),
		"steps[0].pause.duration":               steps(v1alpha1.CanaryStep{Pause: &v1alpha1.RolloutPause{Duration: &intstr.IntOrString{Type: intstr.String, StrVal: "soon"}}}),
		"steps[0].plugin.name":                  steps(v1alpha1.CanaryStep{Plugin: &v1alpha1.PluginStep{}}),
		"steps[0].setCanaryScale: needs":        steps(scale(v1alpha1.SetCanaryScale{Replicas: new(int32)})),
		"experiment.templates: is empty":        steps(v1alpha1.CanaryStep{Experiment: &v1alpha1.RolloutExperimentStep{}}),
		"experiment.templates[0].name":          experiment(v1alpha1.RolloutExperimentTemplate{SpecRef: v1alpha1.CanarySpecRef}),
		"experiment.templates[0].specRef":       experiment(v1alpha1.RolloutExperimentTemplate{Name: "a", SpecRef: "other"}),
		"experiment.templates[0].replicas":      experiment(v1alpha1.RolloutExperimentTemplate{Name: "a", SpecRef: v1alpha1.CanarySpecRef, Replicas: &negative}),
		"experiment.templates[0].weight: -1":    experiment(v1alpha1.RolloutExperimentTemplate{Name: "a", SpecRef: v1alpha1.CanarySpecRef, Weight: &negative}),
		"experiment.templates[0].weight: needs": experiment(v1alpha1.RolloutExperimentTemplate{Name: "a", SpecRef: v1alpha1.CanarySpecRef, Weight: new(int32)}),
		"experiment.duration": steps(v1alpha1.CanaryStep{Experiment: &v1alpha1.RolloutExperimentStep{Duration: "soon",
			Templates: []v1alpha1.RolloutExperimentTemplate{{Name: "a", SpecRef: v1alpha1.StableSpecRef}}}}),
		"setHeaderRoute.match[0].headerName":          header(v1alpha1.SetHeaderRoute{Name: "r", Match: []v1alpha1.HeaderRoutingMatch{{HeaderValue: &v1alpha1.StringMatch{Exact: "x"}}}}),
		"setHeaderRoute.match[0].headerValue: sets 0": header(v1alpha1.SetHeaderRoute{Name: "r", Match: []v1alpha1.HeaderRoutingMatch{{HeaderName: "h"}}}),
		"setHeaderRoute: needs":                       header(v1alpha1.SetHeaderRoute{Name: "r"}),
		"setMirrorRoute.percentage":                   steps(v1alpha1.CanaryStep{SetMirrorRoute: &v1alpha1.SetMirrorRoute{Name: "r", Percentage: &negative}}),
		"setMirrorRoute.match[0].path: sets 2": steps(v1alpha1.CanaryStep{SetMirrorRoute: &v1alpha1.SetMirrorRoute{Name: "r",
			Match: []v1alpha1.RouteMatch{{Path: &v1alpha1.StringMatch{Exact: "/", Prefix: "/"}}}}}),
		"setMirrorRoute.match[0].headers[h]: sets 2": steps(v1alpha1.CanaryStep{SetMirrorRoute: &v1alpha1.SetMirrorRoute{Name: "r",
			Match: []v1alpha1.RouteMatch{{Headers: map[string]v1alpha1.StringMatch{"h": {Exact: "/", Prefix: "/"}}}}}}),
		"labels: sets rollouts-pod-template-hash": in(func(c *canary) {
			c.CanaryMetadata = &v1alpha1.PodTemplateMetadata{Labels: map[string]string{v1alpha1.LabelPodTemplateHash: "x"}}
		}),
		"labels: sets app=b": in(func(c *canary) {
			c.StableMetadata = &v1alpha1.PodTemplateMetadata{Labels: map[string]string{"app": "b"}}
		}),
		"antiAffinity: must set exactly one": in(func(c *canary) { c.AntiAffinity = &v1alpha1.AntiAffinity{} }),
		"weight: 0 is not between 1 and 100": in(func(c *canary) {
			c.AntiAffinity = &v1alpha1.AntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: &v1alpha1.PreferredDuringSchedulingIgnoredDuringExecution{}}
		}),
		"spec.template: must be empty": func(ro *v1alpha1.Rollout) { ro.Spec.WorkloadRef = &v1alpha1.ObjectRef{Kind: "Deployment", Name: "d"} },
	} {
		p := mistaken(edit)
		assert.Contains(t, p.plan.Invalid, want)
		assert.True(t, p.veto, want)
	}
	assert.Empty(t, mistaken(func(*v1alpha1.Rollout) {}).plan.Invalid, "the Rollout without any of them")
}

func behindARouter() *v1alpha1.RolloutTrafficRouting {
	return &v1alpha1.RolloutTrafficRouting{Plugins: map[string]json.RawMessage{"r": json.RawMessage(`{}`)}}
}

// mistaken is what the planner says of a sound canary after an edit.
func mistaken(edit func(*v1alpha1.Rollout)) *planner {
	p := canaryOf(4, count{4, 4}, count{}, func(ro *v1alpha1.Rollout) {
		ro.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}
		ro.Spec.Template.Labels = map[string]string{"app": "x"}
		ro.Spec.Template.Spec.Containers = []corev1.Container{{Name: "app", Image: "v1"}}
	})
	edit(p.ro)
	if p.ro.Spec.Strategy.Canary == nil {
		p.canary = &v1alpha1.CanaryStrategy{}
	}
	p.bg = p.ro.Spec.Strategy.BlueGreen
	if tr := p.canary.TrafficRouting; tr != nil && len(tr.Plugins) > 0 {
		p.s.Routers = []rollout.Router{{Plugin: "r"}}
	}
	if p.ro.Spec.WorkloadRef != nil {
		p.s.Workload = &rollout.Workload{}
	}
	p.valid()
	return p
}

// A workload whose template cannot be read holds what needs the template, and is
// asked for again; one that is named wrongly is a mistake.
func TestAWorkloadThatCannotBeRead(t *testing.T) {
	referring := func(ro *v1alpha1.Rollout) { ro.Spec.WorkloadRef = &v1alpha1.ObjectRef{Kind: "Deployment", Name: "d"} }
	for name, tc := range map[string]struct {
		workload       *rollout.Workload
		held, blocking bool
	}{
		"not read yet":  {nil, true, false},
		"no permission": {&rollout.Workload{Problem: &rollout.Problem{Class: rollout.ProblemRefused, Message: "forbidden"}}, true, true},
		"busy":          {&rollout.Workload{Problem: &rollout.Problem{Class: rollout.ProblemUnavailable, Message: "busy", Retry: time.Minute}}, true, false},
		"no such kind":  {&rollout.Workload{Problem: &rollout.Problem{Class: rollout.ProblemInvalid, Message: "unknown kind"}}, false, false},
	} {
		p := canaryOf(4, count{4, 4}, count{}, referring)
		p.s.Workload = tc.workload
		p.valid()
		assert.True(t, p.veto, name)
		assert.Equal(t, tc.held, p.plan.Invalid == "", name)
		if tc.held {
			assert.Len(t, p.plan.Holds, 1, name)
			assert.Equal(t, tc.blocking, p.plan.Holds[0].Blocking, name)
			assert.Equal(t, name == "busy", p.plan.Wake.Equal(p.s.Now.Add(time.Minute)), name)
			assert.False(t, p.plan.Wake.IsZero(), name)
		}
	}
}

// A Service that selects pods by a label the template does not carry would reach
// none of them.
func TestAServiceThatReachesNoPodIsNamed(t *testing.T) {
	for app, refused := range map[string]bool{"x": false, "y": true} {
		p := canaryOf(4, count{4, 4}, count{}, func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.TrafficRouting = behindARouter() })
		p.ro.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}
		p.ro.Spec.Template.Labels = map[string]string{"app": "x"}
		p.ro.Spec.Template.Spec.Containers = []corev1.Container{{Name: "app", Image: "v1"}}
		p.canary.StableService, p.canary.CanaryService = "s", "c"
		p.s.Routers = []rollout.Router{{Plugin: "r"}}
		for _, name := range []string{"s", "c"} {
			p.s.Services[name] = &corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{"app": app}}}
		}
		p.valid()
		assert.Equal(t, refused, strings.Contains(p.plan.Invalid, `Service "s" selects app=y, which the pod template does not carry`), p.plan.Invalid)
	}
}
