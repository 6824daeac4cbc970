package decide

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// experimenting is an update whose step compares both revisions, with an analysis.
func experimenting(args ...v1alpha1.AnalysisRunArgument) (*planner, v1alpha1.RolloutExperimentStep) {
	p := canaryOf(4, count{4, 4}, count{1, 1}, routing)
	for _, rs := range p.s.ReplicaSets {
		own := map[string]string{"app": "x", v1alpha1.LabelPodTemplateHash: rs.Name}
		rs.Spec.Template.Labels, rs.Spec.Selector = own, &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x", v1alpha1.LabelPodTemplateHash: rs.Name}}
	}
	return p, v1alpha1.RolloutExperimentStep{
		Templates: []v1alpha1.RolloutExperimentTemplate{
			{Name: "baseline", SpecRef: v1alpha1.StableSpecRef, Weight: new(int32(10)),
				Metadata: v1alpha1.PodTemplateMetadata{Labels: map[string]string{"arm": "a"}, Annotations: map[string]string{"note": "b"}}},
			{Name: "candidate", SpecRef: v1alpha1.CanarySpecRef, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "z"}}},
		},
		Analyses: []v1alpha1.RolloutExperimentStepAnalysisTemplateRef{{Name: "compare", TemplateName: "t", ClusterScope: true, RequiredForCompletion: true, Args: args}},
	}
}

// The Experiment of a step has the templates of both revisions without the hash
// that tells them apart, with what the step adds, and its arguments filled in.
func TestAnExperimentIsWhatItsStepSays(t *testing.T) {
	latest := v1alpha1.PodTemplateHashLatest
	p, step := experimenting(v1alpha1.AnalysisRunArgument{Name: "hash", ValueFrom: &v1alpha1.ArgumentValueFrom{PodTemplateHashValue: &latest}})
	ex, err := p.newExperiment("x-1-0", step)
	require.NoError(t, err)
	baseline, candidate := ex.Spec.Templates[0], ex.Spec.Templates[1]
	assert.Equal(t, map[string]string{"app": "x", "arm": "a"}, baseline.Template.Labels)
	assert.Equal(t, map[string]string{"app": "x", "arm": "a"}, baseline.Selector.MatchLabels)
	assert.Equal(t, map[string]string{"note": "b"}, baseline.Template.Annotations)
	assert.NotNil(t, baseline.Service, "a weight needs one")
	assert.Equal(t, map[string]string{"app": "z"}, candidate.Selector.MatchLabels)
	assert.Nil(t, candidate.Service)
	require.Len(t, ex.Spec.Analyses, 1)
	a := ex.Spec.Analyses[0]
	assert.True(t, a.ClusterScope && a.RequiredForCompletion)
	assert.Equal(t, "canary", *a.Args[0].Value)
	assert.Equal(t, "x", p.stableRS.Spec.Template.Labels["app"], "the ReplicaSet keeps its own")
	assert.Equal(t, "stable", p.stableRS.Spec.Template.Labels[v1alpha1.LabelPodTemplateHash])
}

// An argument that names no field of the Rollout is told, and no Experiment is made.
func TestAnExperimentWithAnArgumentFromNowhere(t *testing.T) {
	p, step := experimenting(v1alpha1.AnalysisRunArgument{Name: "team", ValueFrom: &v1alpha1.ArgumentValueFrom{
		FieldRef: &v1alpha1.FieldRef{FieldPath: "metadata.labels["}}})
	_, err := p.newExperiment("x-1-0", step)
	require.ErrorContains(t, err, "metadata.labels[")
}

// The Experiment that status names is that of the step, or of a later attempt: after
// the steps were edited it may be one of another step.
func TestAnExperimentOfAnotherStep(t *testing.T) {
	p, step := experimenting()
	p.canary.Steps = []v1alpha1.CanaryStep{{Experiment: &step}}
	p.ro.Status.CurrentStepIndex = new(int32)
	p.work("canary")
	base := p.runName("0")
	for name, found := range map[string]bool{base: true, base + "-1": true, p.runName("1"): false, "": false} {
		p.ro.Status.Canary.CurrentExperiment = name
		p.s.Experiments = []*v1alpha1.Experiment{{ObjectMeta: metav1.ObjectMeta{Name: name}}}
		assert.Equal(t, found, p.experiment() != nil, name)
	}
}

// An Experiment has weight for the templates that say one and whose Service has
// pods. Where all of them and the canary would have more than everything, they have
// none: the spec was edited, and the weight is the users'.
func TestWhatAnExperimentGets(t *testing.T) {
	p, step := experimenting()
	p.carry(0)
	ten := int32(10)
	step.Templates = append(step.Templates, v1alpha1.RolloutExperimentTemplate{Name: "late", SpecRef: v1alpha1.CanarySpecRef, Weight: &ten})
	p.canary.Steps = []v1alpha1.CanaryStep{{Experiment: &step}}
	p.ro.Status.CurrentStepIndex = new(int32)
	p.work("canary")
	name := p.runName("0")
	p.ro.Status.Canary.CurrentExperiment = name
	p.s.Experiments = []*v1alpha1.Experiment{{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1alpha1.ExperimentStatus{Phase: v1alpha1.AnalysisPhaseRunning,
		TemplateStatuses: []v1alpha1.TemplateStatus{{Name: "baseline", ServiceName: "b", AvailableReplicas: 1}, {Name: "candidate", ServiceName: "d", AvailableReplicas: 1}}}}}
	weights := func(canary int32) (out []int32) {
		for _, d := range p.desired(p.s.Routers[0], canary).Destinations {
			out = append(out, d.Weight)
		}
		return out
	}
	assert.Equal(t, []int32{70, 20, 10}, weights(20), "stable, canary, and the one template that has a weight and pods")
	assert.Equal(t, []int32{5, 95}, weights(95), "there is no room for 10")
}
