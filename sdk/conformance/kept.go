package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

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
	if err := session.settle(ctx, st.traffic, false); err != nil {
		return err
	}
	all, err := session.observe(ctx)
	if err != nil {
		return err
	}
	session.turn(s.fixture.Shorter)
	if err := session.settle(ctx, st.traffic, false); err != nil {
		return fmt.Errorf("with the shorter block: %w", err)
	}
	part, err := session.observe(ctx)
	if err != nil {
		return err
	}
	if len(part.GetClaims()) == 0 || len(part.GetClaims()) >= len(all.GetClaims()) {
		return fmt.Errorf("the fixture's Shorter claims %d parts, and Config %d: it has to name some of them", len(part.GetClaims()), len(all.GetClaims()))
	}

	session.turn(s.fixture.Config, part.GetClaims()...)
	if err := session.settle(ctx, s.weights(0), true); err != nil {
		return fmt.Errorf("releasing the rest: %w", err)
	}
	session.turn(s.fixture.Shorter)
	session.releasing = false
	writes, err := session.route(ctx, st.traffic.Proto(), false)
	if err != nil {
		return fmt.Errorf("with the shorter block, after the rest was released: %w", err)
	}
	if len(writes) > 0 {
		return fmt.Errorf("the release of the rest has undone what is kept: it is written again, %s", writes[0].GetJson())
	}
	again, err := session.observe(ctx)
	if err != nil {
		return err
	}
	if err := differs(again, st.traffic.Proto()); err != nil {
		return fmt.Errorf("the release of the rest has changed what is kept: %w", err)
	}
	if err := session.settle(ctx, s.weights(0), true); err != nil {
		return fmt.Errorf("releasing the shorter block: %w", err)
	}
	after, err := session.cluster.snapshot()
	if err != nil {
		return err
	}
	if !maps.Equal(before, after) {
		for _, name := range slices.Sorted(maps.Keys(before)) {
			if before[name] != after[name] {
				return fmt.Errorf("when both parts were released, %s is\n%s\nand was\n%s", name, after[name], before[name])
			}
		}

		return errors.New("when both parts were released, an object is left")
	}

	return nil
}

// turn goes on with another block; a release with it leaves what is kept.
func (s *routerSession) turn(block string, kept ...*routerv1.Claim) {
	s.block, s.kept, s.needs = block, kept, nil
}
