package observe

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// experiments lists the Experiments of the Rollout's steps.
func (o *Observer) experiments(ctx context.Context, s *rollout.Snapshot) error {
	var list v1alpha1.ExperimentList
	if err := o.list(ctx, &list, s.Rollout.Namespace, string(s.Rollout.UID)); err != nil {
		return err
	}
	for i := range list.Items {
		ex := &list.Items[i]
		if !metav1.IsControlledBy(ex, s.Rollout) {
			continue
		}
		if o.Written.Behind(v1alpha1.KindExperiment, ex) {
			return ErrBehind
		}
		s.Experiments = append(s.Experiments, ex)
	}
	if o.Written.Unseen(v1alpha1.KindExperiment, s.Rollout.UID, func(name string) bool {
		return slices.ContainsFunc(s.Experiments, func(ex *v1alpha1.Experiment) bool { return ex.Name == name })
	}) {
		return ErrBehind
	}
	return nil
}

// stepPlugins notes which plugins of the steps cannot be asked.
func (o *Observer) stepPlugins(ctx context.Context, s *rollout.Snapshot) error {
	s.StepPlugins = map[string]rollout.Problem{}
	if o.StepChecks != nil {
		s.StepChecks = o.StepChecks.CheckSteps(ctx, s.Rollout)
		s.StepObjectsChanged = o.StepChecks.StepObjectsChanged(s.Rollout)
	}
	if o.StepPlugins == nil {
		return nil
	}
	for _, name := range rollout.StepPluginNames(s.Rollout) {
		if problem := o.StepPlugins.StepProblem(name); problem != nil {
			s.StepPlugins[name] = *problem
		}
	}
	return nil
}
