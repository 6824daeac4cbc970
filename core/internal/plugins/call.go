package plugins

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/status"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// call asks the plugin one thing, as one of its kinds. The call gets limit, or
// the entry's timeout, and never outlives ctx. use makes the request and reads
// the answer; what it returns is classified.
func (s *supervisor) call(ctx context.Context, kind Kind, method string, limit time.Duration,
	use func(context.Context, *instance) error,
) *rollout.Problem {
	inst, problem := s.acquire(ctx)
	if problem != nil {
		return problem
	}
	defer inst.leave()
	if !inst.offers[kind] {
		return refused("plugin %q is no %s", s.id, kind)
	}
	if problem := s.admit(); problem != nil {
		return problem
	}
	if t := inst.entry.timeout; t > 0 {
		limit = t
	}
	began := time.Now()
	err := s.ask(ctx, s.id, method, limit, func(ctx context.Context) error { return use(ctx, inst) })
	switch {
	case err == nil:
		s.answeredAtAll()
		s.answered()
		return nil
	case ctx.Err() != nil || lostConnection(err):
		s.unprobe()
	case time.Since(began) < limit:
		s.answeredAtAll() // With an error, maybe DEADLINE_EXCEEDED of its own.
	case s.missedDeadline():
		inst.giveUp(errNoAnswers)
	}
	problem = classify(s.id, method, err)
	if problem.Class != rollout.ProblemUnavailable {
		s.answered()
		return problem
	}
	if ctx.Err() == nil && (codeLabel(err) == "DeadlineExceeded" || lostConnection(err)) {
		// The plugin may hang as a whole, or have closed its socket for good; do
		// not wait for the next check.
		select {
		case inst.suspect <- struct{}{}:
		default:
		}
	}
	if retry := s.unanswered(); problem.Retry == 0 {
		problem.Retry = retry
	}
	return problem
}

// acquire begins a call on the running process. A plugin that is starting is
// waited for, briefly; the controller is told when it is ready.
func (s *supervisor) acquire(ctx context.Context) (*instance, *rollout.Problem) {
	s.need()
	limit := time.NewTimer(s.timing.startWait)
	defer limit.Stop()
	for {
		s.mu.Lock()
		inst, changed := s.current, s.changed
		problem := s.problem()
		s.mu.Unlock()
		if inst != nil && inst.enter() {
			return inst, nil
		}
		if inst == nil && problem.Class != rollout.ProblemWaiting {
			return nil, problem
		}
		select {
		case <-changed:
		case <-limit.C:
			return nil, waiting("plugin %q is being started", s.id)
		case <-ctx.Done():
			return nil, waiting("plugin %q is being started", s.id)
		}
	}
}

func (s *supervisor) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streak = 0
}

// unanswered says when to ask again: the more calls in a row failed, the later.
func (s *supervisor) unanswered() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streak++
	return s.pause(s.streak - 1)
}

// facts are the latest known, nil before the plugin ran for the first time.
func (s *supervisor) facts() *facts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// generation of the process that is asked now; "" while none is.
func (s *supervisor) currentGeneration() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return ""
	}
	return s.current.generation
}

// lostConnection tells errors of the connection from answers.
func lostConnection(err error) bool { return brokenConnection(status.Convert(err)) }

func statusMessage(err error) string {
	var bad *brokenContract
	if errors.As(err, &bad) {
		return bad.what
	}
	return status.Convert(err).Message()
}
