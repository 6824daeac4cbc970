package experiment

import (
	"sort"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// planner holds what one Decide works with.
type planner struct {
	s    *Snapshot
	ex   *v1alpha1.Experiment
	plan Plan
	// sets and services by template; spare are ReplicaSets no template needs.
	sets     map[string]*appsv1.ReplicaSet
	services map[string]*corev1.Service
	spare    []*appsv1.ReplicaSet
	// ending: nothing is started any more, what runs is wound down.
	ending bool
}

// Decide is pure: it says what has become of templates and analyses, what that
// makes of the experiment, and which objects have to change. A completed
// experiment is only wound down.
func Decide(s *Snapshot) Plan {
	p := &planner{s: s, ex: s.Experiment}
	p.plan.Status = *s.Experiment.Status.DeepCopy()
	p.plan.Invalid = invalid(s.Experiment)
	p.match()
	if p.plan.Invalid != "" && !p.ex.Spec.Terminate && !p.ex.Status.Phase.Completed() {
		p.refuse()
		return p.plan
	}
	p.analyses()
	p.ending = p.over()
	p.assessTemplates()
	p.conclude()
	p.scale()
	p.expose()
	p.startRuns()
	p.stopRuns()
	return p.plan
}

// refuse leaves everything as it is until the spec is corrected.
func (p *planner) refuse() {
	st := &p.plan.Status
	st.Message = "InvalidSpec: " + p.plan.Invalid
	if st.Phase == "" {
		st.Phase = v1alpha1.AnalysisPhasePending
	}
}

// match finds the ReplicaSet and the Service of each template. Of two for one
// template the older one counts.
func (p *planner) match() {
	p.sets, p.services = map[string]*appsv1.ReplicaSet{}, map[string]*corev1.Service{}
	wanted := map[string]bool{}
	for _, t := range p.ex.Spec.Templates {
		wanted[t.Name] = true
	}
	sets := append([]*appsv1.ReplicaSet(nil), p.s.ReplicaSets...)
	sort.Slice(sets, func(i, j int) bool {
		a, b := sets[i], sets[j]
		if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
			return a.CreationTimestamp.Before(&b.CreationTimestamp)
		}
		return a.Name < b.Name
	})
	for _, rs := range sets {
		name := rs.Annotations[v1alpha1.AnnotationExperimentTemplateName]
		if !wanted[name] || p.sets[name] != nil {
			p.spare = append(p.spare, rs)
			continue
		}
		p.sets[name] = rs
	}
	for _, svc := range p.s.Services {
		p.services[svc.Annotations[v1alpha1.AnnotationExperimentTemplateName]] = svc
	}
}

// over reports whether the experiment winds down, whatever its templates do.
func (p *planner) over() bool {
	return p.ex.Status.Phase.Completed() || p.badAnalysis() != nil || p.done()
}

// done: it has been asked to end or has run for as long as it should. Pods run
// on while a required analysis still measures them.
func (p *planner) done() bool {
	pending, successful := p.required()
	return p.ex.Spec.Terminate || successful || p.passed() && !pending
}

// passed reports whether the duration is over, and looks again when it will be.
func (p *planner) passed() bool {
	end, ok := finishAt(p.ex, p.plan.Status)
	if !ok {
		return false
	}
	if p.s.Now.Before(end) {
		p.wake(end)
		return false
	}
	return true
}

// finishAt is availableAt and the duration; false while either is not known.
func finishAt(ex *v1alpha1.Experiment, st v1alpha1.ExperimentStatus) (time.Time, bool) {
	if st.AvailableAt == nil || ex.Spec.Duration == "" {
		return time.Time{}, false
	}
	d, err := ex.Spec.Duration.Duration()
	if err != nil {
		return time.Time{}, false
	}
	return st.AvailableAt.Add(d), true
}
