package decide

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// experiments starts the Experiment of the current step and ends every other
// one, after traffic has left it.
func (p *planner) experiments() {
	p.plan.Experiment = ""
	if p.analysing() {
		if ex := p.experiment(); ex != nil {
			p.plan.Experiment = ex.Name
		}
		if !p.moved() && !p.veto && !p.halted() && len(p.ro.Status.PauseConditions) == 0 {
			p.startExperiment()
		}
	}
	for _, ex := range p.s.Experiments {
		if ex.Name == p.plan.Experiment || ex.Status.Phase.Completed() || ex.Spec.Terminate || ex.DeletionTimestamp != nil || p.carries(ex) {
			continue
		}
		p.add(rollout.TerminateExperiment{
			Identity:        rollout.Identity{OpID: "terminate-experiment/" + rollout.OpID(ex.Name)},
			Name:            ex.Name,
			ResourceVersion: ex.ResourceVersion,
		})
	}
}

// experiment is that of the current step, nil before it exists.
func (p *planner) experiment() *v1alpha1.Experiment {
	step, name := p.step(), p.ro.Status.Canary.CurrentExperiment
	if step == nil || step.Experiment == nil || name == "" {
		return nil
	}
	base := p.runName(strconv.Itoa(p.index))
	if name != base && !strings.HasPrefix(name, base+"-") {
		return nil
	}
	return p.experimentNamed(name)
}

func (p *planner) experimentNamed(name string) *v1alpha1.Experiment {
	for _, ex := range p.s.Experiments {
		if ex.Name == name {
			return ex
		}
	}
	return nil
}

// startExperiment makes the Experiment of the current step. Status names it
// first, as it does an AnalysisRun: one that ends before its name is recorded
// could not be told from that of an earlier attempt.
func (p *planner) startExperiment() {
	step := p.step()
	if step == nil || step.Experiment == nil {
		return
	}
	if ex := p.experiment(); ex != nil && !(ex.Status.Phase == v1alpha1.AnalysisPhaseInconclusive && p.resumedInconclusive()) {
		return
	}
	name := p.ro.Status.Canary.CurrentExperiment
	base := p.runName(strconv.Itoa(p.index))
	if name != base && !strings.HasPrefix(name, base+"-") || p.experimentNamed(name) != nil {
		name = p.freeExperiment(base)
		p.add(rollout.RecordIntent{Identity: rollout.Identity{OpID: "intent/" + rollout.OpID(name)}, What: "Experiment " + name})
		p.plan.Experiment = name
		return
	}
	ex, err := p.newExperiment(name, *step.Experiment)
	if err != nil {
		p.invalid("experiment", "%s", err)
		return
	}
	p.plan.Experiment = name
	p.add(rollout.CreateExperiment{Identity: rollout.Identity{OpID: "experiment/" + rollout.OpID(name)}, Experiment: ex})
}

// freeExperiment is the first name of the step that is not taken.
func (p *planner) freeExperiment(base string) string {
	name := base
	for n := 1; p.experimentNamed(name) != nil; n++ {
		name = base + "-" + strconv.Itoa(n)
	}
	return name
}

// failedExperiment turns a bad verdict of the current Experiment into an abort
// or a pause.
func (p *planner) failedExperiment() bool {
	ex := p.experiment()
	if ex == nil || !p.moving() || p.hurried() {
		return false
	}
	switch ex.Status.Phase {
	case v1alpha1.AnalysisPhaseFailed, v1alpha1.AnalysisPhaseError:
		message := "Experiment analysis phase is error/failed"
		if ex.Status.Message != "" {
			message += ": " + ex.Status.Message
		}
		p.move(rollout.Transition{Kind: rollout.TransitionAbort, Index: p.restart(), Message: message})
		return true
	case v1alpha1.AnalysisPhaseInconclusive:
		if p.pausedFor(v1alpha1.PauseReasonInconclusiveExperiment) == nil && !p.resumedInconclusive() {
			p.move(rollout.Transition{Kind: rollout.TransitionPause, Index: p.ro.Status.CurrentStepIndex,
				Pause: v1alpha1.PauseReasonInconclusiveExperiment})
			return true
		}
	}
	return false
}

// experimentDone reports whether the Experiment of the current step succeeded
// and its weights are gone.
func (p *planner) experimentDone() bool {
	ex := p.experiment()
	if ex != nil && ex.Status.Phase == v1alpha1.AnalysisPhaseSuccessful && !p.carries(ex) {
		return true
	}
	what, by := "the experiment of step "+p.stepName(), "its Experiment completing"
	if ex != nil && ex.Status.Phase == v1alpha1.AnalysisPhaseInconclusive {
		what, by = "the experiment of step "+p.stepName()+" could not tell", "a promote, or an abort"
	}
	p.hold(rollout.Hold{Reason: rollout.HoldWaitingForRun, What: what, EndedBy: by})
	return false
}

// carries reports that traffic goes, or may go, to the pods of the Experiment.
func (p *planner) carries(ex *v1alpha1.Experiment) bool {
	for _, t := range ex.Status.TemplateStatuses {
		if t.ServiceName != "" && (p.blind || !p.drained() || p.s.ServiceWeight(t.ServiceName) > 0) {
			return true
		}
	}
	return false
}

// shares are the weights of the current Experiment's templates, beside those of
// stable and canary. It has traffic only while all its pods are there.
func (p *planner) shares() []rollout.Destination {
	ex := p.experiment()
	if ex == nil || ex.Status.Phase != v1alpha1.AnalysisPhaseRunning || ex.Spec.Terminate || !p.analysing() || p.plan.Invalid != "" {
		return nil
	}
	var out []rollout.Destination
	for _, t := range p.step().Experiment.Templates {
		at := slices.IndexFunc(ex.Status.TemplateStatuses, func(s v1alpha1.TemplateStatus) bool { return s.Name == t.Name })
		if t.Weight == nil || at < 0 {
			continue
		}
		if s := ex.Status.TemplateStatuses[at]; s.ServiceName != "" && s.AvailableReplicas > 0 {
			out = append(out, rollout.Destination{Role: rollout.RoleExperiment, Service: s.ServiceName, Hash: s.PodTemplateHash, Weight: *t.Weight})
		}
	}
	return out
}

// experimental is what a router should give to the Experiment now. A new share
// comes only when weights may be raised.
func (p *planner) experimental(r rollout.Router) []rollout.Destination {
	want := p.shares()
	raise := !p.veto && !p.blind && !p.moved() && !p.halted()
	return slices.DeleteFunc(want, func(d rollout.Destination) bool { return !raise && !present(r, d) })
}

// present reports that every place of the router has the share already.
func present(r rollout.Router, d rollout.Destination) bool {
	for _, at := range r.Observation.Observed {
		if !slices.ContainsFunc(at.Traffic.Destinations, func(o rollout.Destination) bool { return o.Service == d.Service && o.Weight >= d.Weight }) {
			return false
		}
	}
	return len(r.Observation.Observed) > 0
}

// newExperiment is the object a step describes: the templates of the two
// revisions under other names, and the analyses with the values the Rollout
// gives them.
func (p *planner) newExperiment(name string, step v1alpha1.RolloutExperimentStep) (*v1alpha1.Experiment, error) {
	spec := v1alpha1.ExperimentSpec{
		Duration: step.Duration, ProgressDeadlineSeconds: p.ro.Spec.ProgressDeadlineSeconds, DryRun: step.DryRun,
		AnalysisRunMetadata: step.AnalysisRunMetadata, ScaleDownDelaySeconds: step.ScaleDownDelaySeconds,
	}
	for _, t := range step.Templates {
		spec.Templates = append(spec.Templates, p.experimentTemplate(t))
	}
	for _, a := range step.Analyses {
		args, err := p.resolveArgs(a.Args)
		if err != nil {
			return nil, err
		}
		spec.Analyses = append(spec.Analyses, v1alpha1.ExperimentAnalysisTemplateRef{Name: a.Name, TemplateName: a.TemplateName,
			ClusterScope: a.ClusterScope, Args: args, RequiredForCompletion: a.RequiredForCompletion})
	}
	labels := withHash(p.ro.Labels, p.hash)
	return &v1alpha1.Experiment{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: p.ro.Namespace, Labels: labels,
			Annotations:     map[string]string{v1alpha1.AnnotationRevision: strconv.Itoa(p.plan.Revision)},
			OwnerReferences: []metav1.OwnerReference{*controllerRef(p.ro)},
		},
		Spec: spec,
	}, nil
}

func (p *planner) experimentTemplate(t v1alpha1.RolloutExperimentTemplate) v1alpha1.TemplateSpec {
	rs := p.newRS
	if t.SpecRef == v1alpha1.StableSpecRef {
		rs = p.stableRS
	}
	out := v1alpha1.TemplateSpec{Name: t.Name, Replicas: t.Replicas, Service: t.Service, Selector: &metav1.LabelSelector{}}
	if t.Weight != nil && t.Service == nil {
		out.Service = &v1alpha1.TemplateService{}
	}
	if rs != nil {
		out.MinReadySeconds, out.Template = rs.Spec.MinReadySeconds, *rs.Spec.Template.DeepCopy()
		out.Selector = rs.Spec.Selector.DeepCopy()
	}
	if t.Selector != nil {
		out.Selector = t.Selector.DeepCopy()
	}
	delete(out.Template.Labels, v1alpha1.LabelPodTemplateHash)
	delete(out.Selector.MatchLabels, v1alpha1.LabelPodTemplateHash)
	out.Template.Labels = joined(out.Template.Labels, t.Metadata.Labels)
	out.Template.Annotations = joined(out.Template.Annotations, t.Metadata.Annotations)
	out.Selector.MatchLabels = joined(out.Selector.MatchLabels, t.Metadata.Labels)
	return out
}

func joined(a, b map[string]string) map[string]string {
	if len(b) == 0 {
		return a
	}
	out := maps.Clone(a)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, b)
	return out
}

// trimExperiments deletes completed Experiments as trimRuns does runs: the
// limits count them apart.
func (p *planner) trimExperiments() {
	good, bad := p.ro.Spec.SuccessfulRunHistoryLimitOrDefault(), p.ro.Spec.UnsuccessfulRunHistoryLimitOrDefault()
	var done []*v1alpha1.Experiment
	for _, ex := range p.s.Experiments {
		if ex.Status.Phase.Completed() && ex.DeletionTimestamp == nil && ex.Name != p.plan.Experiment && !p.carries(ex) {
			done = append(done, ex)
		}
	}
	slices.SortFunc(done, func(a, b *v1alpha1.Experiment) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(b.Name, a.Name))
	})
	for _, ex := range done {
		left := &bad
		if ex.Status.Phase == v1alpha1.AnalysisPhaseSuccessful {
			left = &good
		}
		*left--
		if *left >= 0 && p.s.ByHash(ex.Labels[v1alpha1.LabelPodTemplateHash]) != nil {
			continue
		}
		p.add(rollout.DeleteExperiment{Identity: rollout.Identity{OpID: "delete-experiment/" + rollout.OpID(ex.Name)},
			Name: ex.Name, UID: string(ex.UID), ResourceVersion: ex.ResourceVersion})
	}
}
