package decide

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// valid checks the spec, then what it refers to; the first problem is the one
// that is reported. An invalid spec vetoes raises, new steps and creation,
// never an abort.
func (p *planner) valid() {
	for _, check := range []func(){
		p.validFields, p.validSelector, p.validMetadata, p.validStrategy, p.validBlueGreen, p.validTraffic, p.validSteps, p.validCapabilities,
		p.validServices, p.validAnalyses,
	} {
		check()
		if p.veto { // by a mistake, or by a template that is not known yet
			return
		}
	}
}

// validFields reports what could not be decoded: the API server stores pod
// templates unchecked.
func (p *planner) validFields() {
	for _, m := range p.ro.Malformed {
		p.invalid(m.Path, "%s", m.Problem)
	}
	if r := p.ro.Spec.Replicas; r != nil && *r < 0 {
		p.invalid("spec.replicas", "%d is negative; set 0 or more", *r)
	}
	deadline, ready := p.ro.Spec.ProgressDeadlineSecondsOrDefault(), p.ro.Spec.MinReadySeconds
	if ready < 0 {
		p.invalid("spec.minReadySeconds", "%d is negative; set 0 or more", ready)
	}
	if n := p.ro.Spec.RevisionHistoryLimitOrDefault(); n < 0 {
		p.invalid("spec.revisionHistoryLimit", "%d is negative; set 0 or more", n)
	}
	if c := p.ro.Spec.Strategy.Canary; c != nil {
		p.validDelay("scaleDownDelaySeconds", c.ScaleDownDelaySeconds)
		p.validDelay("abortScaleDownDelaySeconds", c.AbortScaleDownDelaySeconds)
	}
	if deadline <= ready {
		p.invalid("spec.progressDeadlineSeconds", "%d must be greater than minReadySeconds (%d)", deadline, ready)
	}
}

func (p *planner) validDelay(field string, seconds *int32) {
	if seconds != nil && *seconds < 0 {
		p.invalid("spec.strategy.canary."+field, "%d is negative; set 0 or more", *seconds)
	}
}

func (p *planner) validSelector() {
	if !p.validWorkload() {
		return
	}
	sel := p.ro.Spec.Selector
	if sel == nil || len(sel.MatchLabels)+len(sel.MatchExpressions) == 0 {
		p.invalid("spec.selector", "is empty; set matchLabels that the pod template carries")
		return
	}
	s, err := metav1.LabelSelectorAsSelector(sel)
	if err != nil {
		p.invalid("spec.selector", "%s", err)
		return
	}
	if !s.Matches(labels.Set(p.ro.Spec.Template.Labels)) {
		p.invalid("spec.template.metadata.labels", "do not match spec.selector (%s)", s)
	}
	if len(p.ro.Spec.Template.Spec.Containers) == 0 {
		p.invalid("spec.template.spec.containers", "is empty; a pod needs at least one container")
	}
}

func (p *planner) validStrategy() {
	st := p.ro.Spec.Strategy
	switch {
	case st.Canary != nil && st.BlueGreen != nil:
		p.invalid("spec.strategy", "sets both canary and blueGreen; set one")
	case st.BlueGreen != nil:
	case st.Canary == nil:
		p.invalid("spec.strategy", "sets no strategy; set canary or blueGreen")
	}
}

func (p *planner) validTraffic() {
	const at = "spec.strategy.canary."
	c := p.canary
	if p.bg != nil {
		return
	}
	p.validPodBounds()
	switch {
	case c.ScaleDownDelaySeconds != nil && !p.routed():
		p.invalid(at+"scaleDownDelaySeconds", "needs trafficRouting: without it old pods leave as new ones come; remove it")
	case c.DynamicStableScale && !p.routed():
		p.invalid(at+"dynamicStableScale", "needs trafficRouting: without it stable shrinks anyway; remove it")
	case c.DynamicStableScale && c.ScaleDownDelaySeconds != nil:
		p.invalid(at+"scaleDownDelaySeconds", "cannot be used with dynamicStableScale, which has removed the old pods by then; remove one of them")
	case c.PingPong != nil:
		p.validPingPong(at + "pingPong")
	case c.StableService != "" && c.StableService == c.CanaryService:
		p.invalid(at+"canaryService", "is %q, the same as stableService; use two Services", c.CanaryService)
	case !p.routed(), p.subsets():
	case c.StableService == "":
		p.invalid(at+"stableService", "is required with trafficRouting; name the Service of the stable pods")
	case c.CanaryService == "":
		p.invalid(at+"canaryService", "is required with trafficRouting; name the Service of the canary pods")
	}
	switch {
	case !p.routed():
	case p.s.TotalWeight() <= 0:
		p.invalid(at+"trafficRouting.maxTrafficWeight", "%d must be greater than 0", p.s.TotalWeight())
	case len(p.active()) == 0:
		p.invalid(at+"trafficRouting", "names no router; add one, e.g. under plugins")
	}
}

// validPodBounds: something must be allowed to come or to go, or no update can
// begin.
func (p *planner) validPodBounds() {
	surge, unavailable := p.canary.MaxSurgeOrDefault(), p.canary.MaxUnavailableOrDefault()
	if _, _, err := rollout.Fenceposts(&surge, &unavailable, p.want); err != nil {
		p.invalid("spec.strategy.canary", "%s", err)
	}
	zero := func(v intstr.IntOrString) bool {
		return v.Type == intstr.Int && v.IntVal == 0 || v.Type == intstr.String && strings.TrimSuffix(v.StrVal, "%") == "0"
	}
	if zero(surge) && zero(unavailable) {
		p.invalid("spec.strategy.canary.maxUnavailable", "and maxSurge are both 0, so no pod could be replaced; raise one of them")
	}
}

func (p *planner) validCanaryScale(at string, scale v1alpha1.SetCanaryScale) {
	switch {
	case !p.routed():
		p.invalid(at, "needs trafficRouting: without it the pods are the weight; use setWeight")
	case scale.Weight == nil && scale.Replicas == nil && !scale.MatchTrafficWeight:
		p.invalid(at, "is empty; set weight, replicas or matchTrafficWeight")
	case scale.Weight != nil && *scale.Weight < 0:
		p.invalid(at+".weight", "%d is negative; set 0 or more", *scale.Weight)
	case scale.Replicas != nil && *scale.Replicas < 0:
		p.invalid(at+".replicas", "%d is negative; set 0 or more", *scale.Replicas)
	}
}

func (p *planner) validSteps() {
	for i, step := range p.steps() {
		at := fmt.Sprintf("spec.strategy.canary.steps[%d]", i)
		n, beside := kinds(step)
		if n+beside == 0 {
			p.invalid(at, "is empty; set what it is to do, such as setWeight")
			return
		}
		if n > 1 {
			p.invalid(at, "sets %d of setWeight, pause, analysis, experiment and plugin; set one, and use a list item for each step", n)
			return
		}
		if step.SetCanaryScale != nil {
			p.validCanaryScale(at+".setCanaryScale", *step.SetCanaryScale)
		}
		p.validRoutes(at, step)
		switch {
		case step.SetWeight != nil && (*step.SetWeight < 0 || *step.SetWeight > p.total):
			p.invalid(at+".setWeight", "%d is not between 0 and %d", *step.SetWeight, p.total)
		case step.Pause != nil && step.Pause.DurationSeconds() < 0:
			p.invalid(at+".pause.duration", "%q is not a duration; use seconds or e.g. \"1h30m\"", step.Pause.Duration.String())
		case step.Plugin != nil:
			if step.Plugin.Name == "" {
				p.invalid(at+".plugin.name", "is empty; name a step plugin, e.g. \"example/step\"")
			}
		case step.Experiment != nil:
			p.validExperiment(at, i)
		}
		if p.plan.Invalid != "" {
			return
		}
	}
}

// kinds counts what a step sets: what takes its course, of which there can be
// one, and what is in force from there on, which may stand beside it, as Argo's
// own examples have it.
func kinds(s v1alpha1.CanaryStep) (n, beside int) {
	for _, set := range []bool{s.SetWeight != nil, s.Pause != nil, s.Experiment != nil, s.Analysis != nil, s.Plugin != nil} {
		if set {
			n++
		}
	}
	for _, set := range []bool{s.SetCanaryScale != nil, s.SetHeaderRoute != nil, s.SetMirrorRoute != nil} {
		if set {
			beside++
		}
	}
	return n, beside
}

// serviceRef is a field of the strategy that names a Service.
type serviceRef struct{ path, name string }

// serviceRefs are the Services that the strategy needs.
func (p *planner) serviceRefs() []serviceRef {
	const at = "spec.strategy.canary."
	switch pp := p.canary.PingPong; {
	case p.bg != nil:
		return p.serviceRefsBlueGreen()
	case pp != nil:
		return []serviceRef{{at + "pingPong.pingService", pp.PingService}, {at + "pingPong.pongService", pp.PongService}}
	}
	return []serviceRef{{at + "stableService", p.canary.StableService}, {at + "canaryService", p.canary.CanaryService}}
}

// validServices: each exists, selects pods of this Rollout and belongs to no
// other one.
func (p *planner) validServices() {
	for _, ref := range p.serviceRefs() {
		if ref.name == "" && p.bg == nil {
			continue // only a canary without traffic routing needs none
		}
		at := ref.path
		svc := p.s.Services[ref.name]
		if svc == nil {
			p.invalid(at, "Service %q does not exist in namespace %q; create it or correct the name", ref.name, p.ro.Namespace)
			return
		}
		if owner := p.s.Owners[ref.name]; owner != "" {
			p.invalid(at, "Service %q is managed by Rollout %q; use a Service of its own for each Rollout", ref.name, owner)
			return
		}
		for k, v := range svc.Spec.Selector {
			if k != v1alpha1.LabelPodTemplateHash && p.ro.Spec.Template.Labels[k] != v {
				p.invalid(at, "Service %q selects %s=%s, which the pod template does not carry", ref.name, k, v)
				return
			}
		}
	}
}

// validAnalyses builds every run the steps will ever need, so that a missing
// template is known before the first weight moves.
func (p *planner) validAnalyses() {
	if p.bg != nil {
		p.validAnalysesBlueGreen()
		return
	}
	for i, step := range p.steps() {
		if step.Analysis != nil {
			p.validAnalysis(fmt.Sprintf("spec.strategy.canary.steps[%d].analysis", i), *step.Analysis, v1alpha1.RolloutTypeStep)
		}
	}
	for i, step := range p.steps() {
		if step.Experiment != nil {
			p.validExperimentAnalyses(fmt.Sprintf("spec.strategy.canary.steps[%d]", i), *step.Experiment)
		}
	}
	if b := p.canary.Analysis; b != nil && p.plan.Invalid == "" {
		p.validAnalysis("spec.strategy.canary.analysis", b.RolloutAnalysis, v1alpha1.RolloutTypeBackground)
	}
}

func (p *planner) validAnalysis(at string, a v1alpha1.RolloutAnalysis, kind string) {
	spec, err := p.runSpec(a)
	if err == nil && kind != v1alpha1.RolloutTypeBackground {
		err = runspec.Finite(spec)
	}
	if err != nil {
		p.invalid(at, "%s", err)
	}
}
