package trafficrouter

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	routerv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
)

// Serve runs a process that is this one router. See plugin.Serve.
func Serve(info plugin.Info, router Router) { plugin.Serve(info, Service(router)) }

// Service offers a router, alone or beside other kinds.
func Service(router Router) plugin.Service {
	return plugin.Service{
		Name: routerv1.TrafficRouter_ServiceDesc.ServiceName,
		Register: func(s *grpc.Server) {
			routerv1.RegisterTrafficRouterServer(s, &server{router: router})
		},
	}
}

// server is the wire's side of a Router.
type server struct {
	routerv1.UnimplementedTrafficRouterServer

	router Router
}

func (s *server) Capabilities(context.Context, *routerv1.CapabilitiesRequest) (*routerv1.CapabilitiesResponse, error) {
	var has []routerv1.Capability
	if _, ok := s.router.(Observer); ok {
		has = append(has, routerv1.Capability_CAPABILITY_OBSERVE)
	}
	if _, ok := s.router.(HeaderRouter); ok {
		has = append(has, routerv1.Capability_CAPABILITY_HEADER_ROUTES)
	}
	if _, ok := s.router.(MirrorRouter); ok {
		has = append(has, routerv1.Capability_CAPABILITY_MIRROR_ROUTES)
	}
	if _, ok := s.router.(Experimenter); ok {
		has = append(has, routerv1.Capability_CAPABILITY_EXPERIMENTS)
	}
	if _, ok := s.router.(WeightScaler); ok {
		has = append(has, routerv1.Capability_CAPABILITY_MAX_WEIGHT)
	}
	if _, ok := s.router.(External); ok {
		has = append(has, routerv1.Capability_CAPABILITY_EXTERNAL_EFFECTS)
	}

	return &routerv1.CapabilitiesResponse{Capabilities: has}, nil
}

func (s *server) Validate(ctx context.Context, in *routerv1.ValidateRequest) (*routerv1.ValidateResponse, error) {
	inputs, err := objects.NewInputs(in.GetInputs())
	if err != nil {
		return nil, err
	}
	routes, err := managedFrom(in.GetEnvelope().GetManagedRoutes())
	if err != nil {
		return nil, err
	}
	req := &ValidateRequest{
		Target: plugin.TargetFrom(in.GetTarget()),
		Config: in.GetConfig().GetJson(),
		Envelope: Envelope{
			TotalWeight:    in.GetEnvelope().GetTotalWeight(),
			ManagedRoutes:  routes,
			MaxExperiments: in.GetEnvelope().GetMaxExperimentDestinations(),
			PingPong:       in.GetEnvelope().GetPingPong(),
		},
		Inputs: inputs,
	}
	if err := s.checkEnvelope(req.Envelope); err != nil {
		return nil, err
	}
	err = s.router.Validate(ctx, req)
	if err != nil && !objects.IsNotReady(err) {
		return nil, err
	}

	return &routerv1.ValidateResponse{Needs: inputs.Needs(err != nil), Message: req.warning}, nil
}

// checkEnvelope refuses what the router's interfaces say it cannot do. The host has checked the capabilities; the limits
// inside them only the router knows.
func (s *server) checkEnvelope(envelope Envelope) error {
	for i, route := range envelope.ManagedRoutes {
		if err := s.checkManaged(route); err != nil {
			return fmt.Errorf("managed route %d, %q: %w", i, route.Name, err)
		}
	}
	if n := envelope.MaxExperiments; n > 0 {
		most := 0
		if e, ok := s.router.(Experimenter); ok {
			most = e.MaxExperiments()
		}
		if int(n) > most {
			return plugin.InvalidConfig("", "router takes at most %d experiment destinations, the rollout has %d", most, n)
		}
	}
	if w := envelope.TotalWeight; w != 100 {
		most := int32(100)
		scaler, ok := s.router.(WeightScaler)
		if ok {
			most = scaler.MaxTotalWeight()
		}
		if !ok || w > most || w < 1 {
			return plugin.InvalidConfig("", "router cannot split a total weight of %d; its largest is %d", w, most)
		}
	}

	return nil
}

func (s *server) checkManaged(route ManagedRoute) error {
	switch {
	case route.Header != nil:
		h, ok := s.router.(HeaderRouter)
		if !ok {
			return plugin.Unsupported("router has no header routes")
		}

		return h.CheckHeaderRoute(*route.Header)
	case route.Mirror != nil:
		m, ok := s.router.(MirrorRouter)
		if !ok {
			return plugin.Unsupported("router has no mirror routes")
		}

		return m.CheckMirrorRoute(*route.Mirror)
	}

	return nil
}

func (s *server) Observe(ctx context.Context, in *routerv1.ObserveRequest) (*routerv1.ObserveResponse, error) {
	observer, ok := s.router.(Observer)
	if !ok {
		return nil, plugin.Unsupported("router does not observe")
	}
	inputs, err := objects.NewInputs(in.GetInputs())
	if err != nil {
		return nil, err
	}
	observation, err := observer.Observe(ctx, &ObserveRequest{
		Target:       plugin.TargetFrom(in.GetTarget()),
		Config:       in.GetConfig().GetJson(),
		ManagedNames: in.GetManagedNames(),
		TotalWeight:  cmp.Or(in.GetTotalWeight(), 100),
		Releasing:    in.GetReleasing(),
		Kept:         claimsFrom(in.GetKept()),
		Inputs:       inputs,
	})
	switch {
	case objects.IsNotReady(err):
		return &routerv1.ObserveResponse{Needs: inputs.Needs(true), Message: err.Error()}, nil
	case err != nil:
		return nil, err
	case observation == nil:
		return nil, fmt.Errorf("router returned no observation")
	}
	answer := observation.proto()
	answer.Needs = inputs.Needs(false)

	return answer, nil
}

func (o *Observation) proto() *routerv1.ObserveResponse {
	answer := &routerv1.ObserveResponse{
		Convergence:  convergenceProto(o.Convergence),
		Settle:       duration(o.Settle),
		RecheckAfter: duration(o.RecheckAfter),
		Message:      o.Message,
	}
	for _, observed := range o.Observed {
		answer.Observed = append(answer.Observed, &routerv1.Observed{
			Place: observed.Place, Traffic: observed.Traffic.Proto(), Residue: observed.Residue,
		})
	}
	slices.SortStableFunc(answer.GetObserved(), func(a, b *routerv1.Observed) int {
		return cmp.Compare(a.GetPlace(), b.GetPlace())
	})
	for _, claim := range o.Claims {
		answer.Claims = append(answer.Claims, &routerv1.Claim{Object: claim.Object.Proto(), Key: claim.Key})
	}

	return answer
}

func (s *server) Route(ctx context.Context, in *routerv1.RouteRequest) (*routerv1.RouteResponse, error) {
	inputs, err := objects.NewInputs(in.GetInputs())
	if err != nil {
		return nil, err
	}
	req := &RouteRequest{
		Target:      plugin.TargetFrom(in.GetTarget()),
		Config:      in.GetConfig().GetJson(),
		Inputs:      inputs,
		OperationID: in.GetOperationId(),
	}
	switch intent := in.GetIntent().(type) {
	case *routerv1.RouteRequest_Desired:
		req.Traffic, err = trafficFrom(intent.Desired)
	case *routerv1.RouteRequest_Release:
		req.Release, req.Kept = true, claimsFrom(intent.Release.GetKept())
		req.Traffic, err = trafficFrom(intent.Release.GetTraffic())
	default:
		err = plugin.Unsupported("the intent is of a kind this plugin does not know")
	}
	if err != nil {
		return nil, err
	}
	if err := req.Traffic.check(); err != nil {
		return nil, err
	}

	stage, err := s.router.Route(ctx, req)
	switch {
	case objects.IsNotReady(err):
		return &routerv1.RouteResponse{Needs: inputs.Needs(true), Message: err.Error()}, nil
	case err != nil:
		return nil, err
	case stage == nil:
		stage = &Stage{}
	}

	return &routerv1.RouteResponse{
		Needs:       inputs.Needs(false),
		Writes:      objects.Protos(stage.Writes),
		Message:     stage.Message,
		Convergence: convergenceProto(stage.Convergence),
	}, nil
}

// duration leaves the zero value off the wire.
func duration(d time.Duration) *durationpb.Duration {
	if d <= 0 {
		return nil
	}

	return durationpb.New(d)
}
