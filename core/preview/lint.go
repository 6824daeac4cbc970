package preview

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	sigsjson "sigs.k8s.io/json"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
)

// Finding is something wrong with a manifest.
type Finding struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// What names the field and the cure.
	What string `json:"what"`
	// Unchecked findings are no mistakes: something could not be looked at,
	// because it is not in the file.
	Unchecked bool `json:"unchecked,omitempty"`
}

// Lint finds what a controller would refuse in manifests, given as JSON, and
// fields that no API server knows. What a Rollout refers to is checked where it
// is among the manifests. Kinds it does not know are left alone; so is the
// configuration of plugins.
func Lint(manifests [][]byte) []Finding {
	l := &linter{}
	for _, raw := range manifests {
		l.read(raw)
	}
	for i := range l.rollouts {
		l.rollout(l.rollouts[i])
	}
	for _, t := range l.all.Templates {
		l.template(v1alpha1.KindAnalysisTemplate, t.Name, t.Spec)
	}
	for _, t := range l.all.ClusterTemplates {
		l.template(v1alpha1.KindClusterAnalysisTemplate, t.Name, t.Spec)
	}
	return l.findings
}

type linter struct {
	findings  []Finding
	all       Objects
	rollouts  []*v1alpha1.Rollout
	ingresses map[string]*networkingv1.Ingress
}

func (l *linter) say(kind, name, format string, args ...any) {
	l.findings = append(l.findings, Finding{Kind: kind, Name: name, What: fmt.Sprintf(format, args...)})
}

// The types without their tolerant decoding, which drops what it does not know.
type (
	strictRollout         v1alpha1.Rollout
	strictTemplate        v1alpha1.AnalysisTemplate
	strictClusterTemplate v1alpha1.ClusterAnalysisTemplate
	strictRun             v1alpha1.AnalysisRun
	strictExperiment      v1alpha1.Experiment
)

func (l *linter) read(raw []byte) {
	var head struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		l.say("manifest", "", "cannot be read: %s", err)
		return
	}
	kind, name := head.Kind, head.Metadata.Name
	if strings.HasPrefix(head.APIVersion, v1alpha1.GroupName+"/") && head.APIVersion != v1alpha1.GroupVersion.String() {
		l.say(kind, name, "apiVersion: %q is unknown; use %s", head.APIVersion, v1alpha1.GroupVersion)
		return
	}
	switch head.APIVersion + "/" + kind {
	case "argoproj.io/v1alpha1/Rollout":
		ro := &v1alpha1.Rollout{}
		if l.decode(kind, name, raw, ro, &strictRollout{}) {
			ro.Status = v1alpha1.RolloutStatus{}
			l.rollouts = append(l.rollouts, ro)
		}
	case "argoproj.io/v1alpha1/AnalysisTemplate":
		if t := (&v1alpha1.AnalysisTemplate{}); l.decode(kind, name, raw, t, &strictTemplate{}) {
			l.all.Templates = append(l.all.Templates, t)
			l.malformed(kind, name, t.Malformed)
		}
	case "argoproj.io/v1alpha1/ClusterAnalysisTemplate":
		if t := (&v1alpha1.ClusterAnalysisTemplate{}); l.decode(kind, name, raw, t, &strictClusterTemplate{}) {
			l.all.ClusterTemplates = append(l.all.ClusterTemplates, t)
			l.malformed(kind, name, t.Malformed)
		}
	case "argoproj.io/v1alpha1/AnalysisRun":
		if run := (&v1alpha1.AnalysisRun{}); l.decode(kind, name, raw, run, &strictRun{}) {
			l.malformed(kind, name, run.Malformed)
			if err := runspec.Validate(run.Spec); err != nil {
				l.say(kind, name, "spec: %s", err)
			}
		}
	case "argoproj.io/v1alpha1/Experiment":
		if ex := (&v1alpha1.Experiment{}); l.decode(kind, name, raw, ex, &strictExperiment{}) {
			l.malformed(kind, name, ex.Malformed)
		}
	case "v1/Service":
		if svc := (&corev1.Service{}); l.decode(kind, name, raw, svc, &corev1.Service{}) {
			l.all.Services = append(l.all.Services, svc)
		}
	case "networking.k8s.io/v1/Ingress":
		if ing := (&networkingv1.Ingress{}); l.decode(kind, name, raw, ing, &networkingv1.Ingress{}) {
			if l.ingresses == nil {
				l.ingresses = map[string]*networkingv1.Ingress{}
			}
			l.ingresses[name] = ing
		}
	}
}

var unknownField = regexp.MustCompile(`unknown field "([^"]*)"`)

// decode fills into, and reports the fields that strict does not know.
func (l *linter) decode(kind, name string, raw []byte, into, strict any) bool {
	if err := json.Unmarshal(raw, into); err != nil {
		l.say(kind, name, "cannot be decoded: %s", err)
		return false
	}
	wrong, err := sigsjson.UnmarshalStrict(raw, strict)
	if err != nil {
		return true // what does not decode is reported with its path by whoever decodes tolerantly
	}
	for _, w := range wrong {
		if m := unknownField.FindStringSubmatch(w.Error()); m != nil {
			l.say(kind, name, "%s: is no field; correct its name or its place, or remove it", m[1])
			continue
		}
		l.say(kind, name, "%s", w)
	}
	return true
}

func (l *linter) malformed(kind, name string, all []v1alpha1.MalformedField) {
	for _, m := range all {
		l.say(kind, name, "%s: %s", m.Path, m.Problem)
	}
}

// rollout asks the planner whether it would take the Rollout.
func (l *linter) rollout(ro *v1alpha1.Rollout) {
	around := l.all
	around.Rollout = ro
	for _, other := range l.rollouts {
		if other != ro && other.Namespace == ro.Namespace {
			around.Others = append(around.Others, other)
		}
	}
	for _, svc := range around.Services { // a file has no marks of controllers: two that name a Service quarrel about it
		for _, other := range around.Others {
			if names := serviceNames(ro); slices.Contains(names, svc.Name) && slices.Contains(serviceNames(other), svc.Name) {
				l.say(v1alpha1.KindRollout, ro.Name, "Service %q is also named by Rollout %q; use a Service of its own for each Rollout", svc.Name, other.Name)
			}
		}
	}
	if ref := ro.Spec.WorkloadRef; ref != nil {
		l.unchecked(ro, fmt.Sprintf("%s %s (spec.workloadRef) and the pod template in it", ref.Kind, ref.Name))
		return
	}
	around, missing := around.placeholders()
	for _, m := range missing {
		l.unchecked(ro, m)
	}
	if err := invalid(around); err != "" {
		l.say(v1alpha1.KindRollout, ro.Name, "%s", err)
	}
	l.routing(ro)
}

func (l *linter) unchecked(ro *v1alpha1.Rollout, what string) {
	l.findings = append(l.findings, Finding{Kind: v1alpha1.KindRollout, Name: ro.Name, What: what + " is not among the manifests and was not checked", Unchecked: true})
}

// routing are the rules about built-in routers that their plugins check in a
// cluster.
func (l *linter) routing(ro *v1alpha1.Rollout) {
	c := ro.Spec.Strategy.Canary
	if c == nil || c.TrafficRouting == nil {
		return
	}
	const at = "spec.strategy.canary.trafficRouting."
	if n := c.TrafficRouting.Nginx; n != nil {
		names := n.StableIngresses
		if n.StableIngress != "" {
			names = append(slices.Clone(names), n.StableIngress)
		}
		if (n.StableIngress == "") == (len(n.StableIngresses) == 0) {
			l.say(v1alpha1.KindRollout, ro.Name, "%snginx: set exactly one of stableIngress and stableIngresses", at)
		}
		for _, name := range names {
			ing := l.ingresses[name]
			if ing == nil {
				l.unchecked(ro, "Ingress "+name)
			} else if !routesTo(ing, c.StableService) {
				l.say(v1alpha1.KindRollout, ro.Name, "%snginx: Ingress %q has no rule whose backend is the stableService %q; add one", at, name, c.StableService)
			}
		}
	}
	if i := c.TrafficRouting.Istio; i != nil && (i.VirtualService == nil) == (len(i.VirtualServices) == 0) {
		l.say(v1alpha1.KindRollout, ro.Name, "%sistio: set exactly one of virtualService and virtualServices", at)
	}
}

func routesTo(ing *networkingv1.Ingress, service string) bool {
	for _, r := range ing.Spec.Rules {
		if r.HTTP == nil {
			continue
		}
		for _, p := range r.HTTP.Paths {
			if p.Backend.Service != nil && p.Backend.Service.Name == service {
				return true
			}
		}
	}
	return false
}

// template checks a template by itself: arguments without a value get one.
func (l *linter) template(kind, name string, spec v1alpha1.AnalysisTemplateSpec) {
	if len(spec.Metrics) == 0 {
		return // it only refers to others
	}
	run := v1alpha1.AnalysisRunSpec{Metrics: spec.Metrics, DryRun: spec.DryRun, MeasurementRetention: spec.MeasurementRetention}
	for _, a := range spec.Args {
		if a.Value == nil && a.ValueFrom == nil {
			a.Value = new("1") // numbers and texts take it
		}
		run.Args = append(run.Args, a)
	}
	var missing *runspec.MissingTemplateError
	if err := runspec.Validate(run); err != nil && !errors.As(err, &missing) {
		l.say(kind, name, "spec: %s", err)
	}
}
