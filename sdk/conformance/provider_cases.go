package conformance

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
	metricv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

func providerChecks() []check[*providerSuite] {
	return []check[*providerSuite]{
		{caseHealth, func(ctx context.Context, s *providerSuite) error { return healthy(ctx, s.conn) }},
		{"what the fixture has is valid", func(ctx context.Context, s *providerSuite) error {
			return s.validate(ctx, s.fixture.Config)
		}},
		{"a measurement has an outcome", func(ctx context.Context, s *providerSuite) error { return s.measures(ctx, "m-1") }},
		{"a measurement that is started again is the same one", checkRepeated},
		{"a system that fails is an Error outcome", checkFailing},
		{"a system that cannot be asked is an error status", checkUnreachable},
		{"a system that hangs holds up nobody else", checkHanging},
		{caseUnknown, checkProviderUnknown},
		{"a reference to nothing is refused as such", checkProviderMissing},
		{"a measurement never started can be cancelled", checkProviderCancel},
		{"collecting ends", checkCollect},
		{"measurements do not affect each other", func(ctx context.Context, s *providerSuite) error {
			return together(parallel, func(i int) error { return s.measures(ctx, fmt.Sprintf("m-parallel-%d", i)) })
		}},
	}
}

func checkRepeated(ctx context.Context, s *providerSuite) error {
	c, err := newCluster(s.fixture.Objects, s.wanted)
	if err != nil {
		return err
	}
	var count int
	for n := range 2 {
		answer, err := s.measure(ctx, c, "m-again", s.fixture.Config)
		if err != nil {
			return err
		}
		if err := s.check(answer); err != nil {
			return err
		}
		if n == 0 {
			count = len(c.objects)
		} else if len(c.objects) != count {
			return fmt.Errorf("started again, it made %d more objects", len(c.objects)-count)
		}
	}

	return nil
}

func checkFailing(ctx context.Context, s *providerSuite) error {
	if s.fixture.Failing == "" {
		return skip("the fixture has no Failing")
	}
	c, err := newCluster(s.fixture.Objects, s.wanted)
	if err != nil {
		return err
	}
	answer, err := s.measure(ctx, c, "m-failing", s.fixture.Failing)
	if err != nil {
		return fmt.Errorf("want an Error outcome, got an error status: %w", err)
	}
	if answer.GetError().GetMessage() == "" {
		return fmt.Errorf("want an Error outcome with a message, got %v", answer)
	}

	return nil
}

func checkUnreachable(ctx context.Context, s *providerSuite) error {
	if s.fixture.Unreachable == "" {
		return skip("the fixture has no Unreachable")
	}
	c, err := newCluster(s.fixture.Objects, s.wanted)
	if err != nil {
		return err
	}
	if answer, err := s.measure(ctx, c, "m-unreachable", s.fixture.Unreachable); err == nil {
		return fmt.Errorf("want an error status, got %v", answer)
	}

	return nil
}

// hangTimeout is the deadline of calls that are meant to run into it.
const hangTimeout = 500 * time.Millisecond

func checkHanging(ctx context.Context, s *providerSuite) error {
	if s.fixture.Hanging == "" {
		return skip("the fixture has no Hanging")
	}
	short, cancel := context.WithTimeout(ctx, hangTimeout)
	defer cancel()

	return together(parallel+1, func(i int) error {
		if i == parallel {
			return s.measures(ctx, "m-beside-hanging")
		}
		c, err := newCluster(s.fixture.Objects, s.wanted)
		if err != nil {
			return err
		}
		if answer, err := s.measure(short, c, fmt.Sprintf("m-hanging-%d", i), s.fixture.Hanging); err == nil {
			return fmt.Errorf("want DEADLINE_EXCEEDED, got %v", answer)
		}

		return nil
	})
}

func checkProviderUnknown(ctx context.Context, s *providerSuite) error {
	block, path, err := unknownField(s.fixture.Config, s.fixture.UnknownField, s.fixture.UnknownPath)
	if err != nil {
		return err
	}

	return wantPath(s.validate(ctx, block), path)
}

func checkProviderMissing(ctx context.Context, s *providerSuite) error {
	if s.fixture.Missing == "" {
		return skip("the fixture has no Missing")
	}
	if err := s.validate(ctx, s.fixture.Missing); !plugin.IsReferenceNotFound(err) {
		return fmt.Errorf("want NOT_FOUND with reason %s, got %w", plugin.ReasonReferenceNotFound, orNil(err))
	}

	return nil
}

func checkProviderCancel(ctx context.Context, s *providerSuite) error {
	if !s.can(metricv1.Capability_CAPABILITY_CANCEL) {
		return skip("the provider does not cancel")
	}
	c, err := newCluster(s.fixture.Objects, s.wanted)
	if err != nil {
		return err
	}

	return s.cleanup(c, func(inputs []*typesv1.NeedResult) (cleanupAnswer, error) {
		return s.client.Cancel(ctx, &metricv1.CancelRequest{
			Target: s.fixture.Target.Proto(), Metric: "conformance", MeasurementId: "m-never",
			Config: rawConfig(s.fixture.Config), Inputs: inputs,
		})
	})
}

func checkCollect(ctx context.Context, s *providerSuite) error {
	if !s.can(metricv1.Capability_CAPABILITY_COLLECT) {
		return skip("the provider does not collect")
	}
	c, err := newCluster(s.fixture.Objects, s.wanted)
	if err != nil {
		return err
	}
	if _, err := s.measure(ctx, c, "m-collect", s.fixture.Config); err != nil {
		return err
	}
	err = s.cleanup(c, func(inputs []*typesv1.NeedResult) (cleanupAnswer, error) {
		return s.client.Collect(ctx, &metricv1.CollectRequest{
			Target: s.fixture.Target.Proto(), Metric: "conformance", Config: rawConfig(s.fixture.Config), Inputs: inputs,
		})
	})
	if err != nil {
		return err
	}
	for ref := range c.created {
		if _, left := c.objects[ref]; left {
			return fmt.Errorf("%v of a measurement that is not kept is still there", ref)
		}
	}

	return nil
}

// cleanupAnswer is what CancelResponse and CollectResponse share.
type cleanupAnswer interface {
	proto.Message
	GetDone() bool
	GetNeeds() []*typesv1.Need
	GetWrites() []*typesv1.Write
}

// cleanup repeats a call until it is done.
func (s *providerSuite) cleanup(c *cluster, call func([]*typesv1.NeedResult) (cleanupAnswer, error)) error {
	var needs []*typesv1.Need
	for range maxResumes {
		var answer cleanupAnswer
		err := feed(c, &needs, func(inputs []*typesv1.NeedResult) ([]*typesv1.Need, error) {
			var err error
			if answer, err = call(inputs); err != nil {
				return nil, err
			}

			return answer.GetNeeds(), nil
		})
		if err != nil {
			return err
		}
		if err := c.apply(s.fixture.Target.Namespace, s.fixture.Target.UID, answer.GetWrites()); err != nil {
			return err
		}
		if answer.GetDone() {
			return nil
		}
	}

	return fmt.Errorf("not done after %d calls", maxResumes)
}
