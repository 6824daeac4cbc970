package sample

import (
	"context"

	"github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/step"
)

// Step runs for one call and then succeeds.
type Step struct{}

type stepConfig struct {
	Fail bool `json:"fail,omitempty"`
}

// Validate checks the configuration.
func (Step) Validate(_ context.Context, req *step.ValidateRequest) error {
	_, err := config.Decode[stepConfig](req.Config)

	return err
}

// Run starts with the first call and ends with the second.
func (Step) Run(_ context.Context, req *step.Request) (*step.Progress, error) {
	block, err := config.Decode[stepConfig](req.Config)
	switch {
	case err != nil:
		return nil, err
	case len(req.State) == 0:
		return &step.Progress{Phase: step.Running, State: []byte("started"), RequeueAfter: 1}, nil
	case block.Fail:
		return &step.Progress{Phase: step.Failed, Message: "on purpose"}, nil
	default:
		return &step.Progress{Phase: step.Successful, Message: req.OperationID}, nil
	}
}
