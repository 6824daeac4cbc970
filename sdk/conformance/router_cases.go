package conformance

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
	routerv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

func routerChecks() []check[*routerSuite] {
	return []check[*routerSuite]{
		{caseHealth, func(ctx context.Context, s *routerSuite) error { return healthy(ctx, s.conn) }},
		{"what the fixture has is valid", checkValid},
		{"an observation has no effect and names places and claims", checkObservation},
		{"every pair of states is reached", checkPairs},
		{"a state that is reached is not written again", checkNoop},
		{"a change interrupted between stages ends in the next", checkInterrupted},
		{"an observation says what is there, not what was asked for", checkHandEdit},
		{"what was there before the plugin started is observed", checkRestart},
		{"a release leaves nothing", checkRelease},
		{"a release leaves what is kept", checkKept},
		{caseSums, checkSums},
		{caseUnknown, checkUnknownField},
		{"a reference to nothing is refused as such", checkMissing},
		{"objects that cannot be shown yet are needs, not errors", checkNotReady},
		{"targets do not affect each other", checkConcurrent},
		{"a call that is cancelled hurts no other", checkCancel},
	}
}

func (s *routerSuite) envelope() *routerv1.Envelope {
	envelope := &routerv1.Envelope{TotalWeight: s.fixture.TotalWeight}
	for _, st := range s.states() {
		traffic := st.traffic.Proto()
		envelope.ManagedRoutes = append(envelope.ManagedRoutes, traffic.GetManagedRoutes()...)
		envelope.MaxExperimentDestinations = max(envelope.GetMaxExperimentDestinations(), int32(len(traffic.GetDestinations())-2)) // a handful
	}

	return envelope
}

func (s *routerSuite) needsObserve() error {
	if s.can(routerv1.Capability_CAPABILITY_OBSERVE) {
		return nil
	}

	return skip("the router does not observe")
}

func checkValid(ctx context.Context, s *routerSuite) error {
	session, err := s.session()
	if err != nil {
		return err
	}

	return session.validate(ctx, s.fixture.Config, s.envelope())
}

func checkObservation(ctx context.Context, s *routerSuite) error {
	if err := s.needsObserve(); err != nil {
		return err
	}
	session, err := s.session()
	if err != nil {
		return err
	}
	first, err := session.observe(ctx)
	if err != nil {
		return err
	}
	again, err := session.observe(ctx)
	if err != nil {
		return err
	}
	if !proto.Equal(first, again) {
		return fmt.Errorf("two observations of the same objects differ:\n%v\n%v", first, again)
	}
	if err := differs(first, s.weights(0).Proto()); err != nil {
		return fmt.Errorf("the fixture's objects should route everything to stable, but %w", err)
	}
	places := map[string]bool{}
	for _, observed := range first.GetObserved() {
		if observed.GetPlace() == "" || places[observed.GetPlace()] {
			return fmt.Errorf("place %q is empty or not unique", observed.GetPlace())
		}
		places[observed.GetPlace()] = true
	}
	if len(first.GetClaims()) == 0 && !s.can(routerv1.Capability_CAPABILITY_EXTERNAL_EFFECTS) {
		return errors.New("no claim: two rollouts could steer the same thing")
	}
	claims := map[string]bool{}
	for _, claim := range first.GetClaims() {
		key := claim.GetObject().String() + claim.GetKey()
		if claim.GetObject().GetName() == "" || claim.GetKey() == "" || claims[key] {
			return fmt.Errorf("claim %v is incomplete or not unique", claim)
		}
		claims[key] = true
	}

	return nil
}

func checkPairs(ctx context.Context, s *routerSuite) error {
	session, err := s.session()
	if err != nil {
		return err
	}
	for _, from := range s.states() {
		for _, to := range s.states() {
			if err := session.settle(ctx, from.traffic, false); err != nil {
				return fmt.Errorf("to %q: %w", from.name, err)
			}
			if err := session.settle(ctx, to.traffic, false); err != nil {
				return fmt.Errorf("from %q to %q: %w", from.name, to.name, err)
			}
		}
	}

	return nil
}

func checkNoop(ctx context.Context, s *routerSuite) error {
	session, err := s.session()
	if err != nil {
		return err
	}
	for _, st := range s.states() {
		if err := session.settle(ctx, st.traffic, false); err != nil {
			return fmt.Errorf("to %q: %w", st.name, err)
		}
		for n := range 3 {
			stage, err := session.route(ctx, st.traffic.Proto(), false)
			if err != nil {
				return fmt.Errorf("%q, repeated: %w", st.name, err)
			}
			if len(stage.GetWrites()) > 0 {
				return fmt.Errorf("%q, repetition %d: writes %s", st.name, n+1, stage.GetWrites()[0].GetJson())
			}
		}
	}

	return nil
}

func checkInterrupted(ctx context.Context, s *routerSuite) error {
	states := s.states()
	for i, to := range states {
		for j, then := range states {
			session, err := s.session()
			if err != nil {
				return err
			}
			from := states[(i+j)%len(states)]
			if err := session.settle(ctx, from.traffic, false); err != nil {
				return fmt.Errorf("to %q: %w", from.name, err)
			}
			// One stage only, and the data plane has not taken over when the next state is asked for.
			if _, err := session.stage(ctx, to.traffic.Proto(), false); err != nil {
				return fmt.Errorf("from %q to %q: %w", from.name, to.name, err)
			}
			if err := session.settle(ctx, then.traffic, false); err != nil {
				return fmt.Errorf("from %q towards %q, then to %q: %w", from.name, to.name, then.name, err)
			}
		}
	}

	return nil
}

func checkHandEdit(ctx context.Context, s *routerSuite) error {
	if err := s.needsObserve(); err != nil {
		return err
	}
	session, err := s.session()
	if err != nil {
		return err
	}
	earlier, later := s.weights(1), s.weights(s.fixture.TotalWeight/3)
	if err := session.settle(ctx, earlier, false); err != nil {
		return err
	}
	raws, err := session.cluster.raws()
	if err != nil {
		return err
	}
	if err := session.settle(ctx, later, false); err != nil {
		return err
	}
	if err := session.cluster.replace(raws); err != nil {
		return err
	}
	seen, err := session.observe(ctx)
	if err != nil {
		return err
	}
	if err := differs(seen, earlier.Proto()); err != nil {
		return fmt.Errorf("after somebody put the objects back: %w", err)
	}

	return session.settle(ctx, later, false)
}

func checkRestart(ctx context.Context, s *routerSuite) error {
	if err := s.needsObserve(); err != nil {
		return err
	}
	session, err := s.session()
	if err != nil {
		return err
	}
	states := s.states()
	want := states[len(states)-1]
	if err := session.settle(ctx, want.traffic, false); err != nil {
		return err
	}
	other, err := s.launch(ctx)
	if err != nil {
		return fmt.Errorf("starting a second process: %w", err)
	}
	defer other.Close()
	if _, err := introduce(ctx, other, s.fixture.Process, routerv1.TrafficRouter_ServiceDesc.ServiceName); err != nil {
		return fmt.Errorf("second process: %w", err)
	}
	session.client = routerv1.NewTrafficRouterClient(other.Conn)
	seen, err := session.observe(ctx)
	if err != nil {
		return fmt.Errorf("second process: %w", err)
	}
	if err := differs(seen, want.traffic.Proto()); err != nil {
		return fmt.Errorf("second process, at %q: %w", want.name, err)
	}

	return session.settle(ctx, s.weights(0), true)
}

func checkRelease(ctx context.Context, s *routerSuite) error {
	for _, st := range s.states() {
		session, err := s.session()
		if err != nil {
			return err
		}
		before, err := session.cluster.snapshot()
		if err != nil {
			return err
		}
		if err := session.settle(ctx, st.traffic, false); err != nil {
			return fmt.Errorf("to %q: %w", st.name, err)
		}
		if err := session.settle(ctx, s.weights(0), true); err != nil {
			return fmt.Errorf("releasing from %q: %w", st.name, err)
		}
		if err := session.cluster.restored(before); err != nil {
			return fmt.Errorf("released from %q, %w", st.name, err)
		}
		stage, err := session.route(ctx, s.weights(0).Proto(), true)
		if err != nil {
			return fmt.Errorf("releasing again: %w", err)
		}
		if len(stage.GetWrites()) > 0 {
			return fmt.Errorf("released from %q, a second release writes %s", st.name, stage.GetWrites()[0].GetJson())
		}
	}

	return nil
}

func checkSums(ctx context.Context, s *routerSuite) error {
	for name, weights := range map[string][2]int32{
		"too much":    {s.fixture.TotalWeight, 1},
		"too little":  {s.fixture.TotalWeight - 2, 1},
		"negative":    {s.fixture.TotalWeight + 5, -5},
		"overflowing": {1<<31 - 1, 1<<31 - 1},
	} {
		session, err := s.session()
		if err != nil {
			return err
		}
		traffic := s.weights(0).Proto()
		for i, weight := range weights {
			traffic.GetDestinations()[i].Weight = weight
		}
		stage, err := session.route(ctx, traffic, false)
		if !isInvalid(err) {
			return fmt.Errorf("%s (%v): want INVALID_ARGUMENT, got %d writes and %w", name, weights, len(stage.GetWrites()), orNil(err))
		}
	}

	return nil
}

func checkUnknownField(ctx context.Context, s *routerSuite) error {
	session, err := s.session()
	if err != nil {
		return err
	}
	block, path, err := unknownField(s.fixture.Config, s.fixture.UnknownField, s.fixture.UnknownPath)
	if err != nil {
		return err
	}

	return wantPath(session.validate(ctx, block, s.envelope()), path)
}

func checkMissing(ctx context.Context, s *routerSuite) error {
	session, err := s.session()
	if err != nil {
		return err
	}
	block := s.fixture.Missing
	if block == "" {
		block = s.fixture.Config
		if session.cluster, err = newCluster(nil, s.wanted); err != nil {
			return err
		}
	}
	if err := session.validate(ctx, block, s.envelope()); !plugin.IsReferenceNotFound(err) {
		return fmt.Errorf("want NOT_FOUND with reason %s, got %w", plugin.ReasonReferenceNotFound, orNil(err))
	}

	return nil
}

func checkNotReady(ctx context.Context, s *routerSuite) error {
	if err := s.needsObserve(); err != nil {
		return err
	}
	for _, state := range []typesv1.NeedResult_State{
		typesv1.NeedResult_STATE_UNSPECIFIED,
		typesv1.NeedResult_STATE_SYNCING, typesv1.NeedResult_STATE_FORBIDDEN,
		typesv1.NeedResult_STATE_NOT_SERVED, typesv1.NeedResult_STATE_DENIED,
	} {
		session, err := s.session()
		if err != nil {
			return err
		}
		if _, err := session.observe(ctx); err != nil {
			return err
		}
		if len(session.needs) == 0 {
			return skip("the router needs no objects")
		}
		inputs, err := session.cluster.answer(session.needs)
		if err != nil {
			return err
		}
		for _, result := range inputs {
			result.State, result.Objects = state, nil
		}
		answer, err := s.client.Observe(ctx, session.observeRequest(inputs))
		if err != nil {
			return fmt.Errorf("needs that are %v: %w", state, err)
		}
		if len(answer.GetObserved()) > 0 {
			return fmt.Errorf("needs that are %v: observed %v", state, answer.GetObserved())
		}
		if len(answer.GetNeeds()) == 0 {
			return fmt.Errorf("needs that are %v: the answer lists none, so they would no longer be watched", state)
		}
	}

	return nil
}

func isInvalid(err error) bool {
	code := status.Code(err)

	return code == codes.InvalidArgument || code == codes.OutOfRange
}
