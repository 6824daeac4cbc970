package conformance

import (
	"context"
	"fmt"

	routerv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
)

// checkKept shortens the block in the middle of an update: the router goes on with a part, and releases the rest with the
// block that named it. Neither may undo what the other does.
func checkKept(ctx context.Context, s *routerSuite) error {
	if s.fixture.Shorter == "" {
		return skip("the fixture has no shorter block")
	}
	if err := s.needsObserve(); err != nil {
		return err
	}
	for _, st := range s.states() {
		if err := s.shorten(ctx, st); err != nil {
			return fmt.Errorf("shortened at %q: %w", st.name, err)
		}
	}

	return nil
}

func (s *routerSuite) shorten(ctx context.Context, st state) error {
	session, err := s.session()
	if err != nil {
		return err
	}
	before, err := session.cluster.snapshot()
	if err != nil {
		return err
	}
	part, err := session.part(ctx, st)
	if err != nil {
		return err
	}
	session.turn(s.fixture.Config, part...)
	if err := session.settle(ctx, s.weights(0), true); err != nil {
		return fmt.Errorf("releasing the rest: %w", err)
	}
	if err := session.untouched(ctx, st); err != nil {
		return err
	}
	if err := session.settle(ctx, s.weights(0), true); err != nil {
		return fmt.Errorf("releasing the shorter block: %w", err)
	}
	if err := session.cluster.restored(before); err != nil {
		return fmt.Errorf("when both parts were released, %w", err)
	}

	return nil
}

// part brings the traffic to the state with the whole block and goes on with the shorter one, which claims what is
// returned.
func (s *routerSession) part(ctx context.Context, st state) ([]*routerv1.Claim, error) {
	if err := s.settle(ctx, st.traffic, false); err != nil {
		return nil, err
	}
	all, err := s.observe(ctx)
	if err != nil {
		return nil, err
	}
	s.turn(s.suite.fixture.Shorter)
	if err := s.settle(ctx, st.traffic, false); err != nil {
		return nil, fmt.Errorf("with the shorter block: %w", err)
	}
	part, err := s.observe(ctx)
	if err != nil {
		return nil, err
	}
	if len(part.GetClaims()) == 0 || len(part.GetClaims()) >= len(all.GetClaims()) {
		return nil, fmt.Errorf("the fixture's Shorter claims %d parts, and Config %d: it has to name some of them", len(part.GetClaims()), len(all.GetClaims()))
	}

	return part.GetClaims(), nil
}

// untouched goes on with the shorter block: the release of the rest has left its traffic alone.
func (s *routerSession) untouched(ctx context.Context, st state) error {
	s.turn(s.suite.fixture.Shorter)
	s.releasing = false
	stage, err := s.route(ctx, st.traffic.Proto(), false)
	if err != nil {
		return fmt.Errorf("with the shorter block, after the rest was released: %w", err)
	}
	if len(stage.GetWrites()) > 0 {
		return fmt.Errorf("the release of the rest has undone what is kept: it is written again, %s", stage.GetWrites()[0].GetJson())
	}
	again, err := s.observe(ctx)
	if err != nil {
		return err
	}
	if err := differs(again, st.traffic.Proto()); err != nil {
		return fmt.Errorf("the release of the rest has changed what is kept: %w", err)
	}

	return nil
}

// turn goes on with another block; a release with it leaves what is kept.
func (s *routerSession) turn(block string, kept ...*routerv1.Claim) {
	s.block, s.kept, s.needs = block, kept, nil
}
