package experiment

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// analyses brings the entries of status up to date with their runs. An analysis
// that can never be run is an Error before any pod is waited for.
func (p *planner) analyses() {
	var entries []v1alpha1.ExperimentAnalysisRunStatus
	for _, a := range p.ex.Spec.Analyses {
		entry := p.entry(a.Name)
		if entry == nil {
			if _, err := p.runSpec(a); err != nil && p.measures() {
				entries = append(entries, mistaken(a.Name, err))
			}
			continue
		}
		now := *entry
		if run := p.s.run(entry.AnalysisRun); run != nil && !now.Phase.Completed() {
			now.Phase, now.Message = run.Status.Phase, shorten(run.Status.Message)
			if now.Phase == "" {
				now.Phase = v1alpha1.AnalysisPhasePending
			}
		}
		entries = append(entries, now)
	}
	p.plan.Status.AnalysisRuns = entries
	p.strayRules()
}

// strayRules is a mistake nobody would see otherwise: a rule that is about no
// metric of any analysis.
func (p *planner) strayRules() {
	st := &p.plan.Status
	if len(st.AnalysisRuns) > 0 || len(p.ex.Spec.Analyses) == 0 || !p.measures() {
		return
	}
	used := map[string]bool{}
	for _, a := range p.ex.Spec.Analyses {
		spec, err := p.runSpec(a)
		if err != nil {
			return
		}
		dry, kept := runspec.Rules(spec, p.ex.Spec.DryRun, p.ex.Spec.MeasurementRetention)
		for _, rule := range dry {
			used["dryRun "+rule.MetricName] = true
		}
		for _, rule := range kept {
			used["measurementRetention "+rule.MetricName] = true
		}
	}
	var rules []string
	for _, rule := range p.ex.Spec.DryRun {
		rules = append(rules, "dryRun "+rule.MetricName)
	}
	for _, rule := range p.ex.Spec.MeasurementRetention {
		rules = append(rules, "measurementRetention "+rule.MetricName)
	}
	for _, rule := range rules {
		if !used[rule] {
			list, pattern, _ := strings.Cut(rule, " ")
			err := fmt.Errorf("spec.%s: the rule %q is about no metric of any analysis; correct metricName", list, shorten(pattern))
			st.AnalysisRuns = []v1alpha1.ExperimentAnalysisRunStatus{mistaken(p.ex.Spec.Analyses[0].Name, err)}
			return
		}
	}
}

// measures: analyses are of interest while nobody has ended the experiment.
func (p *planner) measures() bool {
	return !p.ex.Spec.Terminate && !p.ex.Status.Phase.Completed() && p.plan.Invalid == ""
}

func mistaken(name string, err error) v1alpha1.ExperimentAnalysisRunStatus {
	return v1alpha1.ExperimentAnalysisRunStatus{Name: name, Phase: v1alpha1.AnalysisPhaseError, Message: shorten(err.Error())}
}

func (p *planner) entry(analysis string) *v1alpha1.ExperimentAnalysisRunStatus {
	return entryOf(p.plan.Status, analysis)
}

func entryOf(st v1alpha1.ExperimentStatus, analysis string) *v1alpha1.ExperimentAnalysisRunStatus {
	for i := range st.AnalysisRuns {
		if st.AnalysisRuns[i].Name == analysis {
			return &st.AnalysisRuns[i]
		}
	}
	return nil
}

// required says whether a required analysis has not ended, and whether there
// are some and all were successful.
func (p *planner) required() (pending, successful bool) {
	for _, a := range p.ex.Spec.Analyses {
		if !a.RequiredForCompletion {
			continue
		}
		entry := p.entry(a.Name)
		if entry == nil || entry.Phase != v1alpha1.AnalysisPhaseSuccessful {
			return entry == nil || !entry.Phase.Completed(), false
		}
		successful = true
	}
	return false, successful
}

var severity = map[v1alpha1.AnalysisPhase]int{
	v1alpha1.AnalysisPhaseInconclusive: 1, v1alpha1.AnalysisPhaseError: 2, v1alpha1.AnalysisPhaseFailed: 3,
}

// badAnalysis is the worst analysis that ended badly, nil when none did. What
// could not be measured any more because the experiment was over says nothing.
func (p *planner) badAnalysis() *v1alpha1.ExperimentAnalysisRunStatus {
	var worst *v1alpha1.ExperimentAnalysisRunStatus
	done := p.done()
	for i := range p.plan.Status.AnalysisRuns {
		e := &p.plan.Status.AnalysisRuns[i]
		run := p.s.run(e.AnalysisRun)
		cut := done && run != nil && run.Spec.Terminate && e.Phase != v1alpha1.AnalysisPhaseFailed
		if severity[e.Phase] > 0 && !cut && (worst == nil || severity[e.Phase] > severity[worst.Phase]) {
			worst = e
		}
	}
	return worst
}

// startRuns names and then creates the run of each analysis, once all templates
// have been available. Status names a run before it is made: one that ended
// before its name was recorded could not be told from that of an earlier try.
func (p *planner) startRuns() {
	st := &p.plan.Status
	if p.ending || st.Phase.Completed() || st.AvailableAt == nil {
		return
	}
	for _, a := range p.ex.Spec.Analyses {
		entry := p.entry(a.Name)
		if entry != nil && (entry.Phase.Completed() || p.s.run(entry.AnalysisRun) != nil) {
			continue
		}
		spec, err := p.runSpec(a)
		switch {
		case err != nil && entry == nil:
			st.AnalysisRuns = append(st.AnalysisRuns, mistaken(a.Name, err))
		case err != nil:
			*entry = mistaken(a.Name, err)
		case entry == nil:
			st.AnalysisRuns = append(st.AnalysisRuns, v1alpha1.ExperimentAnalysisRunStatus{
				Name: a.Name, AnalysisRun: p.freeName(a.Name, spec), Phase: v1alpha1.AnalysisPhasePending,
			})
		default:
			p.add(CreateRun{Identity: identity("create-run", a.Name), Analysis: a.Name, Run: p.analysisRun(entry.AnalysisRun, spec)})
		}
	}
}

// freeName is the first name that no earlier try has used, or that of a run
// that is just what is wanted.
func (p *planner) freeName(analysis string, spec v1alpha1.AnalysisRunSpec) string {
	name := p.ex.Name + "-" + analysis
	for run := p.s.run(name); run != nil; run = p.s.run(name) {
		if !run.Status.Phase.Completed() && run.DeletionTimestamp == nil && apiequality.Semantic.DeepEqual(run.Spec, spec) {
			return name
		}
		name = nextName(name)
	}
	return name
}

// nextName is the name after one that is taken: "a", "a.1", "a.2", …
func nextName(name string) string {
	if at := strings.LastIndexByte(name, '.'); at >= 0 {
		if n, err := strconv.Atoi(name[at+1:]); err == nil && n > 0 {
			return name[:at+1] + strconv.Itoa(n+1)
		}
	}
	return name + ".1"
}

// runSpec flattens the templates and fills the arguments in. Rules about
// metrics hold for all analyses together: each run gets those that are about
// its metrics.
func (p *planner) runSpec(a v1alpha1.ExperimentAnalysisTemplateRef) (v1alpha1.AnalysisRunSpec, error) {
	args, err := p.args(a)
	if err != nil {
		return v1alpha1.AnalysisRunSpec{}, fmt.Errorf("analysis %q: %w", a.Name, err)
	}
	in := runspec.Input{
		Refs:      []v1alpha1.AnalysisTemplateRef{{TemplateName: a.TemplateName, ClusterScope: a.ClusterScope}},
		Templates: p.s.Templates, ClusterTemplates: p.s.ClusterTemplates, Args: args,
	}
	spec, err := runspec.Build(in)
	if err != nil {
		return spec, fmt.Errorf("analysis %q: %w", a.Name, err)
	}
	in.DryRun, in.MeasurementRetention = runspec.Rules(spec, p.ex.Spec.DryRun, p.ex.Spec.MeasurementRetention)
	if spec, err = runspec.Build(in); err != nil {
		return spec, fmt.Errorf("analysis %q: %w", a.Name, err)
	}
	return spec, nil
}

func (p *planner) analysisRun(name string, spec v1alpha1.AnalysisRunSpec) *v1alpha1.AnalysisRun {
	labels := maps.Clone(p.ex.Spec.AnalysisRunMetadata.Labels)
	if id := p.ex.Labels[v1alpha1.LabelInstanceID]; id != "" {
		if labels == nil {
			labels = map[string]string{}
		}
		labels[v1alpha1.LabelInstanceID] = id
	}
	return &v1alpha1.AnalysisRun{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: p.ex.Namespace, Labels: labels,
			Annotations:     maps.Clone(p.ex.Spec.AnalysisRunMetadata.Annotations),
			OwnerReferences: []metav1.OwnerReference{owner(p.ex)},
		},
		Spec: spec,
	}
}

// stopRuns ends what nobody waits for.
func (p *planner) stopRuns() {
	named := map[string]bool{}
	for _, e := range p.plan.Status.AnalysisRuns {
		named[e.AnalysisRun] = true
	}
	over := p.ending || p.plan.Status.Phase.Completed()
	for _, run := range p.s.AnalysisRuns {
		if run.Status.Phase.Completed() || run.Spec.Terminate || run.DeletionTimestamp != nil || named[run.Name] && !over {
			continue
		}
		p.add(rollout.TerminateAnalysisRun{Identity: identity("terminate", run.Name), Name: run.Name, ResourceVersion: run.ResourceVersion})
	}
}
