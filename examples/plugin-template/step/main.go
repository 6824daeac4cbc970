// Command step waits for an approval from an external service. It is a start for a step of your own that starts something
// elsewhere and waits for it: what is about the service is in approvals.go, what is about the contract is here.
package main

import (
	"context"
	"time"

	"github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/step"
)

func main() {
	a := &approval{}
	step.Serve(a.info(), a)
}

// block is what users write in their Rollout.
type block struct {
	// Queue decides who may approve. Required.
	Queue string `json:"queue"`
	// Note is shown to them. Empty: none.
	Note string `json:"note,omitempty"`
}

// again is how long the core waits before it asks how a request is going. The plugin itself never waits.
const again = 10 * time.Second

// approval knows where the service is, and nothing about requests: those are known to the service, by operation ID.
type approval struct{ service service }

func (a *approval) info() plugin.Info {
	return plugin.Info{Name: "approval", Version: "0.1.0", Configure: a.service.configure}
}

// Validate is asked before the rollout starts, and calls nobody.
func (a *approval) Validate(_ context.Context, req *step.ValidateRequest) error {
	_, err := parse(req.Config)

	return err
}

// Run asks for an approval, or how the request is going: it is one call, because the service knows requests by their ID.
// The core asks again with the same operation ID when it does not know what came of a call, and the service must not be
// asked for a second approval then.
func (a *approval) Run(ctx context.Context, req *step.Request) (*step.Progress, error) {
	b, err := parse(req.Config)
	if err != nil {
		return nil, err
	}
	r, err := a.service.request(ctx, b, req.OperationID, req.Target.Namespace+"/"+req.Target.Name)
	if err != nil {
		return nil, err
	}
	switch r.Status {
	case "approved":
		return &step.Progress{Phase: step.Successful, Message: "approved by " + r.By}, nil
	case "denied":
		return &step.Progress{Phase: step.Failed, Message: "denied by " + r.By}, nil
	default:
		return &step.Progress{Phase: step.Running, Message: "waiting for an approval in " + b.Queue, RequeueAfter: again}, nil
	}
}

// Terminate withdraws the request, because the step is skipped or the rollout promoted past it.
func (a *approval) Terminate(ctx context.Context, req *step.Request) (*step.Progress, error) {
	return a.withdraw(ctx, req)
}

// Abort withdraws it as well, because the rollout is aborted. The core may not have called Run before.
func (a *approval) Abort(ctx context.Context, req *step.Request) (*step.Progress, error) {
	return a.withdraw(ctx, req)
}

func (a *approval) withdraw(ctx context.Context, req *step.Request) (*step.Progress, error) {
	b, err := parse(req.Config)
	if err != nil {
		return nil, err
	}
	if err := a.service.withdraw(ctx, b, req.OperationID); err != nil {
		return nil, err
	}

	return &step.Progress{Phase: step.Successful, Message: "withdrawn"}, nil
}

func parse(raw []byte) (block, error) {
	b, err := config.Decode[block](raw)
	if err == nil && b.Queue == "" {
		err = plugin.InvalidConfig("queue", "is required")
	}

	return b, err
}
