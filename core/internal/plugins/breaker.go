package plugins

import (
	"fmt"
	"time"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// tolerated is how many calls in a row may run into their deadline before a
// plugin is not asked any more.
const tolerated = 5

// breaker keeps callers from waiting for a plugin that answers its health check
// and nothing else. After five deadlines in a row no call is made for a pause;
// then one is, and when that is not answered either the process is replaced.
// Guarded by the supervisor's mu; the zero value is closed.
type breaker struct {
	// missed deadlines in a row.
	missed int
	// until is when the next call may be made; zero while closed.
	until time.Time
	// probing: that call is being made.
	probing bool
}

// admit says why no call is made now; nil lets it pass.
func (s *supervisor) admit() *rollout.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.breaker
	if b.missed < tolerated {
		return nil
	}
	rest := time.Until(b.until)
	if rest <= 0 && !b.probing {
		b.probing = true
		return nil
	}
	p := unavailable("plugin %q does not answer: %d calls in a row ran into their deadline", s.id, tolerated)
	p.Retry = max(rest, time.Second)
	return p
}

// answeredAtAll closes the breaker.
func (s *supervisor) answeredAtAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breaker = breaker{}
}

// missedDeadline counts a call that was not answered. True: the breaker was open
// already, and the call was the one to find out whether that has changed.
func (s *supervisor) missedDeadline() (hopeless bool) {
	s.mu.Lock()
	b := &s.breaker
	hopeless, b.probing = b.probing, false
	b.missed++
	opened := b.missed == tolerated
	if opened {
		b.until = time.Now().Add(s.pause(0))
	}
	s.mu.Unlock()
	if opened {
		s.tell(Event{Warning: true, Reason: EventNotAnswering, Message: fmt.Sprintf(
			"plugin %q does not answer: %d calls in a row ran into their deadline; it gets no more calls for a moment, and is started again if that does not help", s.id, tolerated)})
	}
	return hopeless
}

// unprobe lets another call find out, after one that did not get that far.
func (s *supervisor) unprobe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breaker.probing = false
}
