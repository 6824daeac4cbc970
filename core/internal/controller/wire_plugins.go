package controller

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/plugins"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// routersOf makes routers of the host's plugins and the broker's objects.
func routersOf(host *plugins.Host, objects Objects, lanes *Lanes, rollouts *doorbell, reader client.Reader) *Routers {
	return NewRouters(RoutersOptions{
		Plugin: func(name string) (RouterPlugin, *rollout.Problem) {
			r, problem := host.Router(name)
			if problem != nil {
				return nil, problem
			}
			return r, nil
		},
		Objects:  objects,
		Rollouts: func() []*v1alpha1.Rollout { return allRollouts(reader) },
		Lanes:    lanes,
		Ring:     rollouts.ring,
	})
}

// stepsOf makes steps of the host's plugins and the broker's objects.
func stepsOf(host *plugins.Host, objects Objects, lanes *Lanes, rollouts *doorbell) *Steps {
	return NewSteps(StepsOptions{
		Plugin: func(name string) (StepPlugin, *rollout.Problem) {
			s, problem := host.Step(name)
			if problem != nil {
				return nil, problem
			}
			return s, nil
		},
		Disabled: func(name string) bool { return host.Disabled(name, plugins.KindStep) },
		Objects:  objects,
		Lanes:    lanes,
		Ring:     rollouts.ring,
	})
}
