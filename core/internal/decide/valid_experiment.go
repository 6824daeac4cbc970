package decide

import (
	"fmt"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// validExperiment checks an experiment step: names, revisions, weights that fit
// beside the canary's, and analyses that can be built.
func (p *planner) validExperiment(at string, index int) {
	at += ".experiment"
	step, names := p.steps()[index].Experiment, map[string]bool{}
	if len(step.Templates) == 0 {
		p.invalid(at+".templates", "is empty; add a template with specRef canary or stable")
	}
	sum := int64(p.weightAt(index))
	for i, t := range step.Templates {
		path := fmt.Sprintf("%s.templates[%d]", at, i)
		switch {
		case t.Name == "" || names[t.Name]:
			p.invalid(path+".name", "%q is empty or used twice; give each template a name of its own", t.Name)
		case t.SpecRef != v1alpha1.CanarySpecRef && t.SpecRef != v1alpha1.StableSpecRef:
			p.invalid(path+".specRef", "%q is neither canary nor stable", t.SpecRef)
		case t.Replicas != nil && *t.Replicas < 0:
			p.invalid(path+".replicas", "%d is negative; set 0 or more", *t.Replicas)
		case t.Weight != nil && *t.Weight < 0:
			p.invalid(path+".weight", "%d is negative; set 0 or more", *t.Weight)
		case t.Weight != nil && p.canary.TrafficRouting == nil:
			p.invalid(path+".weight", "needs %s; add a router, or remove the weight", trafficRoutingPath)
		}
		names[t.Name] = true
		if t.Weight != nil {
			sum += int64(*t.Weight)
		}
	}
	if sum > int64(p.total) {
		p.invalid(at+".templates", "weights and the canary's weight sum to %d, more than %d", sum, p.total)
	}
	if _, err := step.Duration.Duration(); step.Duration != "" && err != nil {
		p.invalid(at+".duration", "%q is not a duration; use e.g. \"30m\"", step.Duration)
	}
}

// weightAt is the canary weight in force at a step.
func (p *planner) weightAt(index int) int32 {
	for i := index; i >= 0; i-- {
		if w := p.steps()[i].SetWeight; w != nil {
			return *w
		}
	}
	return 0
}

// validExperimentAnalyses builds the runs of an experiment with the arguments
// that are known before it starts.
func (p *planner) validExperimentAnalyses(at string, step v1alpha1.RolloutExperimentStep) {
	for i, a := range step.Analyses {
		p.validAnalysis(fmt.Sprintf("%s.experiment.analyses[%d]", at, i), v1alpha1.RolloutAnalysis{
			Templates: []v1alpha1.AnalysisTemplateRef{{TemplateName: a.TemplateName, ClusterScope: a.ClusterScope}},
			Args:      a.Args, DryRun: step.DryRun,
		}, v1alpha1.RolloutTypeBackground)
	}
}
