package plugins

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	trafficrouterv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

func TestWhatARouterThatCannotObserveSaysOfItsTraffic(t *testing.T) {
	writes := []*typesv1.Write{{}}
	for name, c := range map[string]struct {
		answer *trafficrouterv1.RouteResponse
		want   rollout.Convergence
	}{
		"nothing, as before there was the field": {&trafficrouterv1.RouteResponse{}, ""},
		"that nobody can tell":                   {&trafficrouterv1.RouteResponse{Convergence: trafficrouterv1.Convergence_CONVERGENCE_UNKNOWN}, ""},
		"not yet":                                {&trafficrouterv1.RouteResponse{Convergence: trafficrouterv1.Convergence_CONVERGENCE_PENDING}, rollout.ConvergencePending},
		"done":                                   {&trafficrouterv1.RouteResponse{Convergence: trafficrouterv1.Convergence_CONVERGENCE_DONE}, rollout.ConvergenceDone},
		"done, of what is only written now":      {&trafficrouterv1.RouteResponse{Convergence: trafficrouterv1.Convergence_CONVERGENCE_DONE, Writes: writes}, rollout.ConvergencePending},
		"what this host does not know":           {&trafficrouterv1.RouteResponse{Convergence: 99}, rollout.ConvergencePending},
	} {
		assert.Equal(t, c.want, routeConvergence(c.answer), name)
	}
}
