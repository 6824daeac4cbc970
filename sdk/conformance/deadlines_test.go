package conformance

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
	metricv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
	stepv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/step/v1"
	routerv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
)

// hangs answers no call before its deadline.
type hangs struct{ grpc.ClientConnInterface }

func (hangs) Invoke(ctx context.Context, _ string, _, _ any, _ ...grpc.CallOption) error {
	<-ctx.Done()

	return status.FromContextError(ctx.Err()).Err()
}

// Every method of the contract has a deadline of the host's, and a plugin that hangs is told by it.
func TestCallsHaveTheHostsDeadlines(t *testing.T) {
	for _, service := range []grpc.ServiceDesc{
		lifecyclev1.Lifecycle_ServiceDesc, routerv1.TrafficRouter_ServiceDesc, metricv1.MetricProvider_ServiceDesc, stepv1.Step_ServiceDesc,
	} {
		for _, method := range service.Methods {
			assert.Contains(t, deadlines, method.MethodName)
		}
	}
	saved := deadlines["Run"]
	deadlines["Run"] = 10 * time.Millisecond
	defer func() { deadlines["Run"] = saved }()
	_, err := stepv1.NewStepClient(bounded{hangs{}}).Run(t.Context(), &stepv1.RunRequest{})
	require.Equal(t, codes.DeadlineExceeded, status.Code(err))
	require.ErrorContains(t, err, "Run did not answer within 10ms, the host's deadline")

	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = stepv1.NewStepClient(bounded{hangs{}}).Run(short, &stepv1.RunRequest{})
	assert.NotContains(t, err.Error(), "the host's deadline", "it was the caller's own")
}
