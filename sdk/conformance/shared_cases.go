package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sluice-rollouts/sluice/sdk/handshake"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	routerv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
)

// healthTimeout is what the host gives a plugin to say that it is alive.
const healthTimeout = 2 * time.Second

// parallel is how many targets the suites drive at once, and how many calls they cancel.
const parallel = 8

func healthy(ctx context.Context, conn *Connection) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	answer, err := healthv1.NewHealthClient(conn.Conn).Check(ctx, &healthv1.HealthCheckRequest{Service: handshake.HealthService})
	if err != nil {
		return fmt.Errorf("checking health: %w", err)
	}
	if answer.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		return fmt.Errorf("health of %q is %v", handshake.HealthService, answer.GetStatus())
	}

	return nil
}

// unknownField returns the block to refuse and the path to refuse it with.
func unknownField(config, given, path string) (string, string, error) {
	if given != "" {
		return given, path, nil
	}
	block := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(config), &block); err != nil {
		return "", "", fmt.Errorf("fixture's configuration: %w", err)
	}
	const name = "conformanceUnknown"
	block[name] = json.RawMessage("1")
	raw, err := json.Marshal(block)

	return string(raw), name, err
}

func wantPath(err error, path string) error {
	violations := plugin.Violations(err)
	if _, ok := violations[path]; !ok || !isInvalid(err) {
		return fmt.Errorf("want INVALID_ARGUMENT with a field violation at %q, got %w with violations %v", path, orNil(err), violations)
	}

	return nil
}

// orNil makes "no error" printable.
func orNil(err error) error {
	if err == nil {
		return errors.New("no error")
	}

	return err
}

// together runs n jobs at once and joins their errors.
func together(n int, job func(i int) error) error {
	var (
		group sync.WaitGroup
		errs  = make([]error, n)
	)
	for i := range n {
		group.Go(func() { errs[i] = job(i) })
	}
	group.Wait()

	return errors.Join(errs...)
}

func checkConcurrent(ctx context.Context, s *routerSuite) error {
	states := s.states()

	return together(parallel, func(i int) error {
		session, err := s.session()
		if err != nil {
			return err
		}
		session.target.Uid = fmt.Sprintf("%s-%d", session.target.GetUid(), i)
		for step := range 2 * len(states) {
			// Each target is somewhere else at any time.
			if err := session.settle(ctx, states[(step+i)%len(states)].traffic, false); err != nil {
				return fmt.Errorf("target %d of %d: %w", i+1, parallel, err)
			}
		}

		return nil
	})
}

func checkCancel(ctx context.Context, s *routerSuite) error {
	session, err := s.session()
	if err != nil {
		return err
	}
	if err := session.settle(ctx, s.weights(1), false); err != nil {
		return err
	}
	inputs, err := session.cluster.answer(session.needs)
	if err != nil {
		return err
	}
	// Whether a call is cancelled before, in or after its work is chance; none may leave a trace.
	_ = together(parallel, func(int) error {
		cancelled, cancel := context.WithCancel(ctx)
		go cancel()
		_, err := s.client.Route(cancelled, &routerv1.RouteRequest{
			Target: session.target, Config: rawConfig(s.fixture.Config), Inputs: inputs,
			Intent: &routerv1.RouteRequest_Desired{Desired: s.weights(s.fixture.TotalWeight).Proto()},
		})

		return err
	})
	if err := healthy(ctx, s.conn); err != nil {
		return err
	}
	seen, err := session.observeIfItCan(ctx)
	if err != nil || seen == nil {
		return err
	}
	if err := differs(seen, s.weights(1).Proto()); err != nil {
		return fmt.Errorf("nothing was written, but %w", err)
	}

	return session.settle(ctx, s.weights(0), false)
}

func (s *routerSession) observeIfItCan(ctx context.Context) (*routerv1.ObserveResponse, error) {
	if s.suite.needsObserve() != nil {
		return nil, nil // no observation and no error is what it promises
	}

	return s.observe(ctx)
}
