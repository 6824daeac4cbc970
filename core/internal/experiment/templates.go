package experiment

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// assessTemplates says what each template has come to. One that ends badly ends
// its siblings in the same pass.
func (p *planner) assessTemplates() {
	for {
		statuses := make([]v1alpha1.TemplateStatus, len(p.ex.Spec.Templates))
		for i, t := range p.ex.Spec.Templates {
			statuses[i] = p.assessTemplate(t)
		}
		p.plan.Status.TemplateStatuses = statuses
		if p.ending || p.badTemplate() == nil {
			return
		}
		p.ending = true
	}
}

func (p *planner) assessTemplate(t v1alpha1.TemplateSpec) v1alpha1.TemplateStatus {
	rs := p.sets[t.Name]
	st := v1alpha1.TemplateStatus{Name: t.Name}
	if before := templateStatus(p.plan.Status, t.Name); before != nil {
		st = *before.DeepCopy()
	}
	count(&st, rs)
	st.ServiceName = ""
	if svc := p.services[t.Name]; svc != nil {
		st.ServiceName = svc.Name
	}
	if st.Status.Completed() {
		return st
	}
	switch waits := p.waits(t, rs); {
	case p.ending:
		p.transition(&st, v1alpha1.TemplateStatusSuccessful, "")
	case waits == "":
		p.transition(&st, v1alpha1.TemplateStatusRunning, p.remark(t))
	default:
		p.transition(&st, v1alpha1.TemplateStatusProgressing, waits)
		p.deadline(&st)
	}
	return st
}

func count(st *v1alpha1.TemplateStatus, rs *appsv1.ReplicaSet) {
	st.Replicas, st.UpdatedReplicas, st.ReadyReplicas, st.AvailableReplicas = 0, 0, 0, 0
	if rs == nil {
		return
	}
	st.Replicas, st.UpdatedReplicas = rs.Status.Replicas, rs.Status.Replicas
	st.ReadyReplicas, st.AvailableReplicas = rs.Status.ReadyReplicas, rs.Status.AvailableReplicas
	st.PodTemplateHash = rollout.Hash(rs)
}

// waits says what is missing until a template runs, "" when it does.
func (p *planner) waits(t v1alpha1.TemplateSpec, rs *appsv1.ReplicaSet) string {
	want := t.ReplicasOrDefault()
	switch {
	case rs == nil:
		return "waiting for its ReplicaSet"
	case rollout.SpecReplicas(rs) != want || !rollout.Reported(rs):
		return fmt.Sprintf("waiting for ReplicaSet %s to be scaled to %d", rs.Name, want)
	case rollout.Available(rs) < want:
		return fmt.Sprintf("%d of %d pods are available%s", rollout.Available(rs), want, failure(rs))
	case wantsService(t) && p.services[t.Name] == nil:
		return "waiting for its Service"
	}
	return ""
}

// failure is why a ReplicaSet cannot make pods.
func failure(rs *appsv1.ReplicaSet) string {
	for _, c := range rs.Status.Conditions {
		if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == "True" {
			return ": " + shorten(c.Message)
		}
	}
	return ""
}

// remark explains a Service that was asked for and cannot be.
func (p *planner) remark(t v1alpha1.TemplateSpec) string {
	if t.Service != nil && !wantsService(t) {
		return "no Service was created: no container of the template declares a port"
	}
	return ""
}

func (p *planner) transition(st *v1alpha1.TemplateStatus, to v1alpha1.TemplateStatusCode, message string) {
	if st.Status != to {
		now := metav1.NewTime(p.s.Now)
		st.LastTransitionTime = &now
	}
	st.Status, st.Message = to, message
}

// deadline fails a template that has not become available in time. It counts
// from when the template began to progress.
func (p *planner) deadline(st *v1alpha1.TemplateStatus) {
	if st.LastTransitionTime == nil {
		now := metav1.NewTime(p.s.Now)
		st.LastTransitionTime = &now
	}
	limit := p.ex.Spec.ProgressDeadlineSecondsOrDefault()
	end := st.LastTransitionTime.Add(time.Duration(limit) * time.Second)
	if p.s.Now.Before(end) {
		p.wake(end)
		return
	}
	waited := st.Message
	p.transition(st, v1alpha1.TemplateStatusFailed, fmt.Sprintf("Template '%s' exceeded its progressDeadlineSeconds (%d)", st.Name, limit))
	if waited != "" {
		st.Message += ": " + waited
	}
}

func templateStatus(st v1alpha1.ExperimentStatus, name string) *v1alpha1.TemplateStatus {
	for i := range st.TemplateStatuses {
		if st.TemplateStatuses[i].Name == name {
			return &st.TemplateStatuses[i]
		}
	}
	return nil
}

// badTemplate is the worst of those that ended badly, nil when none did.
func (p *planner) badTemplate() *v1alpha1.TemplateStatus {
	return worstTemplate(p.plan.Status)
}

func worstTemplate(st v1alpha1.ExperimentStatus) *v1alpha1.TemplateStatus {
	var worst *v1alpha1.TemplateStatus
	for i := range st.TemplateStatuses {
		t := &st.TemplateStatuses[i]
		switch {
		case t.Status == v1alpha1.TemplateStatusFailed && (worst == nil || worst.Status != t.Status),
			t.Status == v1alpha1.TemplateStatusError && worst == nil:
			worst = t
		}
	}
	return worst
}
