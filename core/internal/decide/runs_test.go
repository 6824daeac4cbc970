package decide

import (
	"testing"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// measuring is an update with an analysis of one metric, whose template declares
// what args gives.
func measuring(args ...v1alpha1.AnalysisRunArgument) (*planner, v1alpha1.RolloutAnalysis) {
	p := canaryOf(4, count{4, 4}, count{1, 1}, routing)
	spec := v1alpha1.AnalysisTemplateSpec{Metrics: []v1alpha1.Metric{{Name: "m", Provider: v1alpha1.MetricProvider{Web: &v1alpha1.WebMetric{URL: "http://x"}}}}}
	for _, arg := range args {
		spec.Args = append(spec.Args, v1alpha1.Argument{Name: arg.Name})
	}
	p.s.Templates = map[string]*v1alpha1.AnalysisTemplate{"t": {ObjectMeta: metav1.ObjectMeta{Name: "t"}, Spec: spec}}
	return p, v1alpha1.RolloutAnalysis{Templates: []v1alpha1.AnalysisTemplateRef{{TemplateName: "t"}}, Args: args}
}

// A run is made when status names it, with what tells it apart: revision, step, and
// the instance that its Rollout belongs to.
func TestARunIsLabelled(t *testing.T) {
	p, a := measuring()
	p.ro.Labels = map[string]string{v1alpha1.LabelInstanceID: "blue"}
	status := p.start(a, v1alpha1.RolloutTypeStep, "3")
	onlyOp[rollout.RecordIntent](t, p)
	p.ro.Status.Canary.CurrentStepAnalysisRunStatus, p.plan = status, &rollout.Plan{}
	p.start(a, v1alpha1.RolloutTypeStep, "3")
	onlyOp[rollout.CreateAnalysisRun](t, p)
	assert.Equal(t, map[string]string{v1alpha1.LabelPodTemplateHash: "canary", v1alpha1.LabelRolloutType: v1alpha1.RolloutTypeStep,
		v1alpha1.LabelStepIndex: "3", v1alpha1.LabelInstanceID: "blue"}, p.plan.Ops[0].(rollout.CreateAnalysisRun).Run.Labels)
}

// A run, or an Experiment, that cannot be made as the spec says is a mistake that is
// named; nothing is made instead.
func TestARunThatCannotBeMade(t *testing.T) {
	nowhere := v1alpha1.AnalysisRunArgument{Name: "team", ValueFrom: &v1alpha1.ArgumentValueFrom{FieldRef: &v1alpha1.FieldRef{FieldPath: "metadata.labels["}}}
	for name, told := range map[string]string{"an argument from nowhere": "metadata.labels[", "no such template": `"t"`} {
		p, a := measuring(nowhere)
		if name == "no such template" {
			p, a = measuring()
			p.s.Templates = nil
		}
		assert.Nil(t, p.start(a, v1alpha1.RolloutTypeStep, "0"), name)
		assert.Empty(t, p.plan.Ops, name)
		assert.Contains(t, p.plan.Invalid, told, name)
	}

	p, step := experimenting(nowhere)
	p.canary.Steps = []v1alpha1.CanaryStep{{Experiment: &step}}
	p.ro.Status.CurrentStepIndex = new(int32)
	p.work("canary")
	p.ro.Status.Canary.CurrentExperiment = p.runName("0")
	p.startExperiment()
	assert.Empty(t, p.plan.Ops)
	assert.Contains(t, p.plan.Invalid, "metadata.labels[")
}
