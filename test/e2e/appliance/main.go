// Command appliance is a traffic router for stories: it steers a load balancer outside the cluster that cannot be asked what
// it does. The load balancer is a folder, its argument: `asked` has a line for each request, and while there is a file
// `busy` it does not serve yet what was asked for.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

func main() {
	trafficrouter.Serve(plugin.Info{Name: "appliance", Version: "0.1.0"}, balancer{folder: os.Args[1]})
}

// block is the router's configuration.
type block struct {
	// Pool of the load balancer. Required.
	Pool string `json:"pool"`
}

// balancer is no Observer.
type balancer struct{ folder string }

// ExternalSystem names what Route changes.
func (balancer) ExternalSystem() string { return "appliance" }

// Validate checks the configuration.
func (balancer) Validate(_ context.Context, req *trafficrouter.ValidateRequest) error {
	return check(req.Config)
}

func check(raw []byte) error {
	b, err := config.Decode[block](raw)
	if err != nil {
		return err
	}
	if b.Pool == "" {
		return plugin.InvalidConfig("pool", "is required")
	}

	return nil
}

// Route asks the load balancer; it serves at once, unless it is busy.
func (l balancer) Route(_ context.Context, req *trafficrouter.RouteRequest) (*trafficrouter.Stage, error) {
	if err := check(req.Config); err != nil {
		return nil, err
	}
	line := fmt.Sprintf("%d/%d %s\n", req.Traffic.Weight(trafficrouter.RoleStable), req.Traffic.Weight(trafficrouter.RoleCanary), req.OperationID)
	if req.Release {
		line = "released " + line
	}
	f, err := os.OpenFile(filepath.Join(l.folder, "asked"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteString(line); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(l.folder, "busy")); err == nil {
		return &trafficrouter.Stage{Convergence: trafficrouter.Pending, Message: "the load balancer is busy"}, nil
	}

	return &trafficrouter.Stage{Convergence: trafficrouter.Done}, nil
}
