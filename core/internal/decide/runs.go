package decide

import (
	"cmp"
	"maps"
	"strconv"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// runs starts the AnalysisRuns this position needs and stops all others. While
// nobody can say which strategy needs them, all go on, and status names the same.
func (p *planner) runs() {
	if p.unclear() {
		return
	}
	if p.bg != nil {
		p.plan.StepRun, p.plan.BackgroundRun = nil, nil
		p.runsBlueGreen()
		p.stopOthers()
		return
	}
	p.plan.PreRun, p.plan.PostRun = nil, nil
	p.plan.StepRun = p.carriedRun(v1alpha1.RolloutTypeStep)
	p.plan.BackgroundRun = p.carriedRun(v1alpha1.RolloutTypeBackground)
	if !p.analysing() {
		p.plan.StepRun, p.plan.BackgroundRun = nil, nil
	} else if !p.veto && !p.ro.Spec.Paused {
		if !p.moved() {
			p.startStep()
		}
		// A resume after an inconclusive run is used up by the step it ends, so
		// the run that answers it starts in the same pass.
		if !p.moved() || p.plan.Transition.Kind == rollout.TransitionStep && p.resumedInconclusive() {
			p.startBackground()
		}
	}
	p.stopOthers()
}

// analysing: verdicts matter only while an update is under way and nobody has
// decided otherwise.
func (p *planner) analysing() bool {
	return p.moving() && !p.aborted() && !p.hurried()
}

func (p *planner) startStep() {
	step := p.step()
	if step == nil || step.Analysis == nil {
		p.plan.StepRun = nil
		return
	}
	if len(p.ro.Status.PauseConditions) == 0 && p.needsRun(p.plan.StepRun) {
		index := strconv.Itoa(p.index)
		p.plan.StepRun = p.start(*step.Analysis, v1alpha1.RolloutTypeStep, index)
	}
}

func (p *planner) startBackground() {
	b := p.canary.Analysis
	if b == nil {
		p.plan.BackgroundRun = nil
		return
	}
	first := 0
	if b.StartingStep != nil {
		first = int(*b.StartingStep)
	}
	if p.index >= first && p.pausedFor(v1alpha1.PauseReasonInconclusiveAnalysis) == nil && p.needsRun(p.plan.BackgroundRun) {
		p.plan.BackgroundRun = p.start(b.RolloutAnalysis, v1alpha1.RolloutTypeBackground, "")
	}
}

// needsRun: there is none, it is gone, or a person resumed after an inconclusive one.
func (p *planner) needsRun(run *v1alpha1.RolloutAnalysisRunStatus) bool {
	return run == nil || p.run(run.Name) == nil || run.Status == v1alpha1.AnalysisPhaseInconclusive && p.resumedInconclusive()
}

// currentRun is the run status names, with the phase the run has now; nil when
// the run is gone, so that another one is started.
func (p *planner) currentRun(kind string) *v1alpha1.RolloutAnalysisRunStatus {
	named := runOf(&p.ro.Status, kind)
	if named == nil {
		return nil
	}
	run := p.run(named.Name)
	if run == nil || kind == v1alpha1.RolloutTypeStep && run.Labels[v1alpha1.LabelStepIndex] != strconv.Itoa(p.index) {
		return nil
	}
	return &v1alpha1.RolloutAnalysisRunStatus{Name: run.Name, Status: run.Status.Phase, Message: run.Status.Message}
}

// carriedRun is currentRun, or the name alone of one that is not there: a cache
// may be behind, and without its name its verdict would be that of a stranger.
func (p *planner) carriedRun(kind string) *v1alpha1.RolloutAnalysisRunStatus {
	if run := p.currentRun(kind); run != nil {
		return run
	}
	named := runOf(&p.ro.Status, kind)
	if named == nil || p.run(named.Name) != nil || !p.ours(named.Name, kind) {
		return nil
	}
	return named.DeepCopy()
}

// ours reports that a run of this update, and at this step, would have the name.
func (p *planner) ours(name, kind string) bool {
	base := p.runName("")
	switch kind {
	case v1alpha1.RolloutTypeStep:
		base = p.runName(strconv.Itoa(p.index))
	case v1alpha1.RolloutTypePrePromotion:
		base = p.runName("pre")
	case v1alpha1.RolloutTypePostPromotion:
		base = p.runName("post")
	}
	return name == base || strings.HasPrefix(name, base+".")
}

func (p *planner) runName(index string) string {
	name := p.ro.Name + "-" + p.hash + "-" + strconv.Itoa(p.plan.Revision)
	if index != "" {
		name += "-" + index
	}
	return name
}

// unfinished is the attempt under the name that measures the same and has not
// completed, e.g. one from before an edit of other steps, or else the name for
// another attempt.
func (p *planner) unfinished(base string, spec v1alpha1.AnalysisRunSpec) (found *v1alpha1.RolloutAnalysisRunStatus, free string) {
	name := base
	for n := 1; ; n++ {
		run := p.run(name)
		if run == nil {
			return nil, name
		}
		if !run.Status.Phase.Completed() && metav1.IsControlledBy(run, p.ro) && apiequality.Semantic.DeepEqual(run.Spec, spec) {
			return &v1alpha1.RolloutAnalysisRunStatus{Name: name, Status: run.Status.Phase, Message: run.Status.Message}, ""
		}
		name = base + "." + strconv.Itoa(n)
	}
}

func (p *planner) run(name string) *v1alpha1.AnalysisRun {
	for _, run := range p.s.AnalysisRuns {
		if run.Name == name {
			return run
		}
	}
	return nil
}

// start plans the run of this attempt. Its name follows from rollout, hash,
// revision and step, and a number when earlier attempts have completed. Status
// names the run before it is made: one that has completed before its name was
// recorded could not be told from that of an earlier attempt, and its verdict
// would be lost.
func (p *planner) start(a v1alpha1.RolloutAnalysis, kind, index string) *v1alpha1.RolloutAnalysisRunStatus {
	spec, err := p.runSpec(a)
	if err != nil {
		p.invalid("analysis", "%s", err)
		return nil
	}
	found, name := p.unfinished(p.runName(index), spec)
	if found != nil {
		return found
	}
	if !p.named(kind, name) {
		p.add(rollout.RecordIntent{Identity: rollout.Identity{OpID: "intent/" + rollout.OpID(name)}, What: "AnalysisRun " + name})
		return &v1alpha1.RolloutAnalysisRunStatus{Name: name}
	}
	p.add(rollout.CreateAnalysisRun{
		Identity: rollout.Identity{OpID: "run/" + rollout.OpID(name)},
		Run:      p.analysisRun(name, kind, index, a, spec),
	})
	return &v1alpha1.RolloutAnalysisRunStatus{Name: name}
}

// named reports that status already names the run.
func (p *planner) named(kind, name string) bool {
	run := runOf(&p.ro.Status, kind)
	return run != nil && run.Name == name
}

func (p *planner) resolveArgs(args []v1alpha1.AnalysisRunArgument) ([]v1alpha1.Argument, error) {
	return runspec.ResolveArgs(args, runspec.Source{Rollout: p.ro, StableHash: cmp.Or(p.stable, p.hash), LatestHash: p.hash})
}

// runSpec flattens the templates and fills the arguments in.
func (p *planner) runSpec(a v1alpha1.RolloutAnalysis) (v1alpha1.AnalysisRunSpec, error) {
	args, err := p.resolveArgs(a.Args)
	if err != nil {
		return v1alpha1.AnalysisRunSpec{}, err
	}
	return runspec.Build(runspec.Input{
		Refs: a.Templates, Templates: p.s.Templates, ClusterTemplates: p.s.ClusterTemplates,
		Args: args, DryRun: a.DryRun, MeasurementRetention: a.MeasurementRetention,
	})
}

func (p *planner) analysisRun(name, kind, index string, a v1alpha1.RolloutAnalysis, spec v1alpha1.AnalysisRunSpec) *v1alpha1.AnalysisRun {
	labels := map[string]string{v1alpha1.LabelPodTemplateHash: p.hash, v1alpha1.LabelRolloutType: kind}
	if kind == v1alpha1.RolloutTypeStep {
		labels[v1alpha1.LabelStepIndex] = index
	}
	if id := p.ro.Labels[v1alpha1.LabelInstanceID]; id != "" {
		labels[v1alpha1.LabelInstanceID] = id
	}
	maps.Copy(labels, a.AnalysisRunMetadata.Labels)
	if p.ro.Spec.Selector != nil {
		maps.Copy(labels, p.ro.Spec.Selector.MatchLabels)
	}
	annotations := map[string]string{v1alpha1.AnnotationRevision: strconv.Itoa(p.plan.Revision)}
	maps.Copy(annotations, a.AnalysisRunMetadata.Annotations)
	return &v1alpha1.AnalysisRun{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: p.ro.Namespace, Labels: labels, Annotations: annotations,
			OwnerReferences: []metav1.OwnerReference{*controllerRef(p.ro)},
		},
		Spec: spec,
	}
}

// current reports that the plan keeps the run as a current one.
func (p *planner) current(name string) bool {
	return p.purpose(name) != ""
}

// purpose is the kind of analysis that the plan names the run for.
func (p *planner) purpose(name string) string {
	for kind, run := range map[string]*v1alpha1.RolloutAnalysisRunStatus{
		v1alpha1.RolloutTypeStep: p.plan.StepRun, v1alpha1.RolloutTypeBackground: p.plan.BackgroundRun,
		v1alpha1.RolloutTypePrePromotion: p.plan.PreRun, v1alpha1.RolloutTypePostPromotion: p.plan.PostRun,
	} {
		if run != nil && run.Name == name {
			return kind
		}
	}
	return ""
}

// pending reports that the plan waits for the verdict of the run.
func (p *planner) pending(name string) bool {
	kind := p.purpose(name)
	return kind != "" && p.expected(kind)
}

func (p *planner) stopOthers() {
	for _, run := range p.s.AnalysisRuns {
		if run.Status.Phase.Completed() || run.Spec.Terminate || run.DeletionTimestamp != nil || p.pending(run.Name) {
			continue
		}
		p.add(rollout.TerminateAnalysisRun{
			Identity:        rollout.Identity{OpID: "terminate/" + rollout.OpID(run.Name)},
			Name:            run.Name,
			ResourceVersion: run.ResourceVersion,
		})
	}
}
