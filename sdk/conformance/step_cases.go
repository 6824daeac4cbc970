package conformance

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
	stepv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/step/v1"
)

func stepChecks() []check[*stepSuite] {
	return []check[*stepSuite]{
		{caseHealth, func(ctx context.Context, s *stepSuite) error { return healthy(ctx, s.conn) }},
		{"what the fixture has is valid", func(ctx context.Context, s *stepSuite) error {
			return s.validate(ctx, s.fixture.Config)
		}},
		{"a step ends well", func(ctx context.Context, s *stepSuite) error { return s.succeeds(ctx, "op-1") }},
		{"a call that is repeated because its answer was lost is the same step", checkStepRepeated},
		{"a step that fails says so", checkStepFailing},
		{"a running step can be terminated", checkTerminate},
		{"a step that was successful is undone by an abort", checkAbort},
		{"an abort of what never ran ends", checkAbortOfNothing},
		{caseUnknown, checkStepUnknown},
		{"a reference to nothing is refused as such", checkStepMissing},
		{"steps of different rollouts do not affect each other", func(ctx context.Context, s *stepSuite) error {
			return together(parallel, func(i int) error { return s.succeeds(ctx, fmt.Sprintf("op-parallel-%d", i)) })
		}},
	}
}

func (s *stepSuite) succeeds(ctx context.Context, id string) error {
	e, err := s.execution(id, s.fixture.Config)
	if err != nil {
		return err
	}
	answer, err := e.follow(ctx, run)

	return wantPhase(answer, err, stepv1.Phase_PHASE_SUCCESSFUL)
}

func wantPhase(answer stepAnswer, err error, want stepv1.Phase) error {
	if err != nil {
		return err
	}
	if got := answer.GetPhase(); got != want {
		return fmt.Errorf("want %v, got %v (%s)", want, got, answer.GetMessage())
	}

	return nil
}

func checkStepRepeated(ctx context.Context, s *stepSuite) error {
	e, err := s.execution("op-again", s.fixture.Config)
	if err != nil {
		return err
	}
	if _, err := e.once(ctx, run, false); err != nil {
		return err
	}
	made := len(e.cluster.objects)
	if _, err := e.once(ctx, run, true); err != nil {
		return err
	}
	if more := len(e.cluster.objects) - made; more > 0 {
		return fmt.Errorf("repeated under the same operation id, it made %d more objects", more)
	}
	answer, err := e.follow(ctx, run)

	return wantPhase(answer, err, stepv1.Phase_PHASE_SUCCESSFUL)
}

func checkStepFailing(ctx context.Context, s *stepSuite) error {
	if s.fixture.Failing == "" {
		return skip("the fixture has no Failing")
	}
	e, err := s.execution("op-failing", s.fixture.Failing)
	if err != nil {
		return err
	}
	answer, err := e.follow(ctx, run)
	if err := wantPhase(answer, err, stepv1.Phase_PHASE_FAILED); err != nil {
		return err
	}
	if answer.GetMessage() == "" {
		return fmt.Errorf("it failed without a message")
	}

	return nil
}

func checkTerminate(ctx context.Context, s *stepSuite) error {
	if !s.can(stepv1.Capability_CAPABILITY_TERMINATE) {
		return skip("the step cannot be terminated")
	}
	e, err := s.execution("op-terminated", s.fixture.Config)
	if err != nil {
		return err
	}
	if _, err := e.once(ctx, run, true); err != nil {
		return err
	}
	answer, err := e.follow(ctx, terminate)

	return wantPhase(answer, err, stepv1.Phase_PHASE_SUCCESSFUL)
}

func checkAbort(ctx context.Context, s *stepSuite) error {
	if !s.can(stepv1.Capability_CAPABILITY_ABORT) {
		return skip("the step cannot be aborted")
	}
	e, err := s.execution("op-aborted", s.fixture.Config)
	if err != nil {
		return err
	}
	before, err := e.cluster.snapshot()
	if err != nil {
		return err
	}
	answer, err := e.follow(ctx, run)
	if err := wantPhase(answer, err, stepv1.Phase_PHASE_SUCCESSFUL); err != nil {
		return err
	}
	answer, err = e.follow(ctx, abort)
	if err := wantPhase(answer, err, stepv1.Phase_PHASE_SUCCESSFUL); err != nil {
		return err
	}
	if s.fixture.Undone != nil {
		after, err := e.cluster.snapshot()
		if err != nil {
			return err
		}
		return s.fixture.Undone(slices.Sorted(maps.Values(after)))
	}
	if err := e.cluster.restored(before); err != nil {
		return fmt.Errorf("after the abort, %w", err)
	}

	return nil
}

func checkAbortOfNothing(ctx context.Context, s *stepSuite) error {
	if !s.can(stepv1.Capability_CAPABILITY_ABORT) {
		return skip("the step cannot be aborted")
	}
	e, err := s.execution("op-never", s.fixture.Config)
	if err != nil {
		return err
	}
	// The intent to run was recorded, and the host ended before it called.
	answer, err := e.follow(ctx, abort)

	return wantPhase(answer, err, stepv1.Phase_PHASE_SUCCESSFUL)
}

func checkStepUnknown(ctx context.Context, s *stepSuite) error {
	block, path, err := unknownField(s.fixture.Config, s.fixture.UnknownField, s.fixture.UnknownPath)
	if err != nil {
		return err
	}

	return wantPath(s.validate(ctx, block), path)
}

func checkStepMissing(ctx context.Context, s *stepSuite) error {
	if s.fixture.Missing == "" {
		return skip("the fixture has no Missing")
	}
	if err := s.validate(ctx, s.fixture.Missing); !plugin.IsReferenceNotFound(err) {
		return fmt.Errorf("want NOT_FOUND with reason %s, got %w", plugin.ReasonReferenceNotFound, orNil(err))
	}

	return nil
}
