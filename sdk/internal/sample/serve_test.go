package sample_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/internal/sample"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
	metricv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
	stepv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/step/v1"
	routerv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
	"github.com/sluice-rollouts/sluice/sdk/step"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// What the SDK does for every plugin, seen from the host's side of the wire.

func connect(t *testing.T, info plugin.Info, services ...plugin.Service) *conformance.Connection {
	t.Helper()
	conn, err := conformance.InProcess(info, services...)(t.Context())
	require.NoError(t, err)
	t.Cleanup(conn.Close)

	return conn
}

func config(block string) *typesv1.RawConfig { return &typesv1.RawConfig{Json: []byte(block)} }

func TestDescribeTellsServicesAndKinds(t *testing.T) {
	t.Parallel()

	conn := connect(t, sample.Info(), trafficrouter.Service(&sample.Router{}).WithConfigSchema([]byte(`{}`)), step.Service(sample.Step{}))
	got, err := lifecyclev1.NewLifecycleClient(conn.Conn).Describe(t.Context(), &lifecyclev1.DescribeRequest{})
	require.NoError(t, err)
	assert.Equal(t, "sample", got.GetName())
	require.Len(t, got.GetServices(), 2)
	assert.Equal(t, "sluice.plugin.trafficrouter.v1.TrafficRouter", got.GetServices()[0].GetName())
	assert.JSONEq(t, `{}`, string(got.GetServices()[0].GetConfigSchema()))
	assert.Equal(t, "sluice.plugin.step.v1.Step", got.GetServices()[1].GetName())
	require.Len(t, got.GetKinds(), 2)
	assert.Equal(t, []lifecyclev1.Verb{plugin.Read, plugin.Update}, got.GetKinds()[0].GetVerbs())
}

func TestConfigure(t *testing.T) {
	t.Parallel()

	var got string
	info := sample.Info()
	without := lifecyclev1.NewLifecycleClient(connect(t, info, step.Service(sample.Step{})).Conn)
	info.Configure = func(_ context.Context, raw []byte) error {
		got = string(raw)

		return nil
	}
	with := lifecyclev1.NewLifecycleClient(connect(t, info, step.Service(sample.Step{})).Conn)

	_, err := with.Configure(t.Context(), &lifecyclev1.ConfigureRequest{Config: config(`{"a":1}`)})
	require.NoError(t, err)
	assert.JSONEq(t, `{"a":1}`, got)
	_, err = with.Close(t.Context(), &lifecyclev1.CloseRequest{})
	require.NoError(t, err)

	_, err = without.Configure(t.Context(), &lifecyclev1.ConfigureRequest{})
	require.NoError(t, err)
	_, err = without.Configure(t.Context(), &lifecyclev1.ConfigureRequest{Config: config(`{"a":1}`)})
	assert.Equal(t, codes.InvalidArgument, status.Code(err), "a setting that would do nothing is refused")
}

func TestAPanicIsOneCallsError(t *testing.T) {
	t.Parallel()

	conn := connect(t, sample.Info(), trafficrouter.Service(&sample.Router{Fault: sample.Panics}))
	client := routerv1.NewTrafficRouterClient(conn.Conn)
	for range 3 {
		_, err := client.Validate(t.Context(), &routerv1.ValidateRequest{Envelope: &routerv1.Envelope{TotalWeight: 100}})
		assert.Equal(t, codes.Internal, status.Code(err))
		assert.ErrorContains(t, err, "plugin panicked: on purpose")
	}
	got, err := client.Capabilities(t.Context(), &routerv1.CapabilitiesRequest{})
	require.NoError(t, err)
	assert.Equal(t, []routerv1.Capability{
		routerv1.Capability_CAPABILITY_OBSERVE, routerv1.Capability_CAPABILITY_HEADER_ROUTES,
	}, got.GetCapabilities())
}

func TestTheEnvelopeIsHeldAgainstTheRouter(t *testing.T) {
	t.Parallel()

	header := func(value *routerv1.StringMatch) []*routerv1.ManagedRoute {
		return []*routerv1.ManagedRoute{{Name: "h", Kind: &routerv1.ManagedRoute_Header{Header: &routerv1.HeaderRoute{
			Match: []*routerv1.HeaderMatch{{Name: "x", Value: value}},
		}}}}
	}
	tests := map[string]struct {
		envelope *routerv1.Envelope
		want     codes.Code
	}{
		"weights only":     {&routerv1.Envelope{TotalWeight: 100}, codes.OK},
		"a header route":   {&routerv1.Envelope{TotalWeight: 100, ManagedRoutes: header(&routerv1.StringMatch{Kind: &routerv1.StringMatch_Exact{Exact: "y"}})}, codes.OK},
		"a regex":          {&routerv1.Envelope{TotalWeight: 100, ManagedRoutes: header(&routerv1.StringMatch{Kind: &routerv1.StringMatch_Regex{Regex: "y"}})}, codes.InvalidArgument},
		"a mirror":         {&routerv1.Envelope{TotalWeight: 100, ManagedRoutes: []*routerv1.ManagedRoute{{Name: "m", Kind: &routerv1.ManagedRoute_Mirror{}}}}, codes.Unimplemented},
		"another total":    {&routerv1.Envelope{TotalWeight: 1000}, codes.InvalidArgument},
		"an experiment":    {&routerv1.Envelope{TotalWeight: 100, MaxExperimentDestinations: 1}, codes.InvalidArgument},
		"a kind to come":   {&routerv1.Envelope{TotalWeight: 100, ManagedRoutes: []*routerv1.ManagedRoute{{Name: "?"}}}, codes.Unimplemented},
		"no envelope sent": {nil, codes.InvalidArgument},
	}
	client := routerv1.NewTrafficRouterClient(connect(t, sample.Info(), trafficrouter.Service(&sample.Router{})).Conn)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer, err := client.Validate(t.Context(), &routerv1.ValidateRequest{
				Target: sampleTarget(), Config: config(`{"route":"web"}`), Envelope: test.envelope,
			})
			assert.Equal(t, test.want, status.Code(err), "%v", err)
			if err == nil {
				assert.Len(t, answer.GetNeeds(), 1, "nothing shown yet: the answer is what it needs")
			}
		})
	}
}

func sampleTarget() *typesv1.Target {
	return plugin.Target{Namespace: "shop", Name: "web", StableService: "s", CanaryService: "c"}.Proto()
}

func TestAnIntentFromTheFutureMovesNothing(t *testing.T) {
	t.Parallel()

	client := routerv1.NewTrafficRouterClient(connect(t, sample.Info(), trafficrouter.Service(&sample.Router{})).Conn)
	_, err := client.Route(t.Context(), &routerv1.RouteRequest{Target: sampleTarget(), Config: config(`{"route":"web"}`)})
	assert.Equal(t, codes.Unimplemented, status.Code(err))
}

func TestStepRunsToItsEnd(t *testing.T) {
	t.Parallel()

	client := stepv1.NewStepClient(connect(t, sample.Info(), step.Service(sample.Step{})).Conn)
	first, err := client.Run(t.Context(), &stepv1.RunRequest{Target: sampleTarget(), OperationId: "op-1"})
	require.NoError(t, err)
	assert.Equal(t, stepv1.Phase_PHASE_RUNNING, first.GetPhase())
	second, err := client.Run(t.Context(), &stepv1.RunRequest{Target: sampleTarget(), OperationId: "op-1", State: first.GetState()})
	require.NoError(t, err)
	assert.Equal(t, stepv1.Phase_PHASE_SUCCESSFUL, second.GetPhase())
	assert.Equal(t, "op-1", second.GetMessage())

	_, err = client.Validate(t.Context(), &stepv1.ValidateRequest{Config: config(`{"faill":true}`)})
	assert.Contains(t, plugin.Violations(err), "faill")
	_, err = client.Abort(t.Context(), &stepv1.AbortRequest{})
	assert.Equal(t, codes.Unimplemented, status.Code(err))
	has, err := client.Capabilities(t.Context(), &stepv1.CapabilitiesRequest{})
	require.NoError(t, err)
	assert.Empty(t, has.GetCapabilities())
}

func TestOneProcessServesSeveralKinds(t *testing.T) {
	t.Parallel()

	conn := connect(t, sample.Info(), trafficrouter.Service(&sample.Router{}), metricprovider.Service(sample.Provider{}), step.Service(sample.Step{}))
	answer, err := metricv1.NewMetricProviderClient(conn.Conn).Measure(t.Context(), &metricv1.MeasureRequest{Config: config(`{"value":1.5}`)})
	require.NoError(t, err)
	assert.InDelta(t, 1.5, answer.GetValue().GetScalar(), 0)
	_, err = stepv1.NewStepClient(conn.Conn).Run(t.Context(), &stepv1.RunRequest{})
	require.NoError(t, err)
}
