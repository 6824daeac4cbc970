package conformance_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// balancer is a router of a system that nobody can look into. It says that traffic follows when it was asked for it often
// enough.
type balancer struct {
	often int

	mu sync.Mutex
	at map[string]turn // by target
}

type turn struct {
	weight int32
	times  int
}

func (*balancer) ExternalSystem() string { return "a balancer" }

func (*balancer) Validate(_ context.Context, req *trafficrouter.ValidateRequest) error {
	return zoned(req.Config)
}

func (b *balancer) Route(_ context.Context, req *trafficrouter.RouteRequest) (*trafficrouter.Stage, error) {
	if err := zoned(req.Config); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	target, weight := req.Target.UID, req.Traffic.Weight(trafficrouter.RoleCanary)
	at := b.at[target]
	if weight != at.weight {
		at = turn{weight: weight}
	}
	at.times++
	b.at[target] = at
	if at.times < b.often {
		return &trafficrouter.Stage{Convergence: trafficrouter.Pending, Message: "the balancer turns"}, nil
	}

	return &trafficrouter.Stage{Convergence: trafficrouter.Done}, nil
}

func zoned(raw []byte) error {
	block, err := config.Decode[struct {
		Zone string `json:"zone"`
	}](raw)
	switch {
	case err != nil:
	case block.Zone == "":
		err = plugin.InvalidConfig("zone", "is required")
	case block.Zone != "a":
		err = plugin.ReferenceNotFound("Zone", "", block.Zone)
	}

	return err
}

func launch(b *balancer) conformance.Launcher {
	return conformance.InProcess(plugin.Info{Name: "balancer", Version: "0.1.0"}, trafficrouter.Service(b))
}

func TestARouterThatCannotObserveSaysWhenTrafficFollows(t *testing.T) {
	t.Parallel()
	conformance.TestTrafficRouter(t, launch(&balancer{often: 3, at: map[string]turn{}}),
		conformance.RouterFixture{Config: `{"zone":"a"}`, Missing: `{"zone":"z"}`})
}

func TestARouterWhoseTrafficNeverFollowsIsFound(t *testing.T) {
	t.Parallel()
	report, err := conformance.TrafficRouter(t.Context(), launch(&balancer{often: 1000, at: map[string]turn{}}), conformance.RouterFixture{Config: `{"zone":"a"}`})
	require.NoError(t, err)
	failed := map[string]string{}
	for _, result := range report.Failures() {
		failed[result.Case] = result.Detail
	}
	assert.Contains(t, failed["every pair of states is reached"], "convergence is PENDING after the same was asked for")
}
