package experiment

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// conclude says what templates and analyses make of the experiment.
func (p *planner) conclude() {
	st := &p.plan.Status
	if st.Phase.Completed() {
		return
	}
	if st.AvailableAt == nil && !p.ending && p.allRun() {
		now := metav1.NewTime(p.s.Now)
		st.AvailableAt = &now
		p.passed() // looks again when the duration is over
	}
	bad, run := p.badTemplate(), p.badAnalysis()
	switch {
	case bad != nil:
		st.Phase, st.Message = v1alpha1.AnalysisPhase(bad.Status), bad.Message
	case run != nil:
		st.Phase, st.Message = run.Phase, p.blame(*run)
	case p.ending:
		p.settle()
	case st.AvailableAt != nil:
		st.Phase, st.Message = v1alpha1.AnalysisPhaseRunning, ""
	default:
		st.Phase, st.Message = v1alpha1.AnalysisPhasePending, ""
	}
}

// settle ends the experiment well once its analyses have ended: one that is
// called Successful while it is still measured would be promoted on evidence
// nobody has seen.
func (p *planner) settle() {
	st := &p.plan.Status
	var open []string
	for _, run := range p.s.AnalysisRuns {
		if !run.Status.Phase.Completed() && run.DeletionTimestamp == nil {
			open = append(open, run.Name)
		}
	}
	if len(open) == 0 {
		st.Phase, st.Message = v1alpha1.AnalysisPhaseSuccessful, ""
		return
	}
	if st.Phase == "" {
		st.Phase = v1alpha1.AnalysisPhasePending
	}
	st.Message = "waiting for the end of AnalysisRun " + strings.Join(open, ", ")
}

func (p *planner) allRun() bool {
	for _, t := range p.plan.Status.TemplateStatuses {
		if t.Status != v1alpha1.TemplateStatusRunning {
			return false
		}
	}
	return true
}

func (p *planner) blame(a v1alpha1.ExperimentAnalysisRunStatus) string {
	message := fmt.Sprintf("Analysis %q assessed %s", a.Name, a.Phase)
	if a.Message != "" {
		message += ": " + a.Message
	}
	return shorten(message)
}
