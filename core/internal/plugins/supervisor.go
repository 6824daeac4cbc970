package plugins

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// supervisor owns one plugin: it starts the process when it is first needed,
// watches it, replaces it when its entry changes, and starts it again when it
// ends. Its fields behind mu are all that calls share with it, and mu is never
// held while anything is waited for.
type supervisor struct {
	*deps
	// name and id as in entry; they never change.
	name, id string
	// wake tells run that wanted or next changed.
	wake chan struct{}
	// retiring counts replaced processes that still finish calls.
	retiring sync.WaitGroup

	mu      sync.Mutex
	state   State
	changed chan struct{} // closed and replaced with every change of state
	wanted  bool
	closed  bool
	// entry is in force; next, if not nil, is newer and not yet tried or
	// found bad. refused is the last one found bad while entry ran: it does
	// not take entry's place before it is ready.
	entry, next, refused *entry
	current              *instance
	// last facts known, also when no process runs.
	last *facts
	// why the last process or attempt failed, for everybody; "" after success.
	// retryAt is when the next attempt begins.
	why     string
	retryAt time.Time
	starts  int
	// streak counts calls in a row that could not be answered.
	streak int
	// breaker keeps calls away while none is answered.
	breaker breaker
	// said keeps events from repeating, by reason.
	said map[string]*occasionally
}

// errNoAnswers ends a process whose calls run into their deadlines, one after the
// other.
var errNoAnswers = errors.New("its calls are not answered, although its health checks are")

func newSupervisor(d *deps, e *entry) *supervisor {
	s := &supervisor{
		deps: d, name: e.name, id: e.id, entry: e, state: StateStopped,
		wake: make(chan struct{}, 1), changed: make(chan struct{}), said: map[string]*occasionally{},
	}
	d.metrics.is(s.id, StateStopped)
	return s
}

// run supervises until the context ends. When it returns, no process is left.
func (s *supervisor) run(ctx context.Context) {
	defer s.enterState(StateStopped)
	defer s.retiring.Wait()
	defer s.close()
	failures := 0
	for s.awaitNeed(ctx) {
		inst, err := s.start(ctx, s.adopt())
		if err != nil && ctx.Err() == nil {
			inst, err = s.startRefused(ctx, err)
		}
		if err == nil {
			began := time.Now()
			err = s.serve(ctx, inst)
			if time.Since(began) >= s.timing.steady {
				failures = 0
			}
		}
		if ctx.Err() != nil {
			return
		}
		if s.backOff(ctx, err, failures) {
			failures = 0
			continue
		}
		failures++
	}
}

// close makes later calls fail at once: a supervisor does not run twice.
func (s *supervisor) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// awaitNeed returns true when the plugin is wanted, false when ctx ends first.
func (s *supervisor) awaitNeed(ctx context.Context) bool {
	for {
		s.mu.Lock()
		wanted := s.wanted
		s.mu.Unlock()
		if ctx.Err() != nil || wanted {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		}
	}
}

// adopt takes the newest entry: while no process runs there is nothing to keep.
// One that failed beside a process that ran is no reason to lose what ran.
func (s *supervisor) adopt() *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil && !s.next.same(s.refused) {
		s.entry, s.next = s.next, nil
	}
	return s.entry
}

// startRefused tries the entry that was refused once the one that ran cannot be
// started any more, as when its file was replaced; err says why. It keeps err
// when that fails too.
func (s *supervisor) startRefused(ctx context.Context, err error) (*instance, error) {
	s.mu.Lock()
	next := s.next
	s.mu.Unlock()
	if next == nil || !next.same(s.refused) {
		return nil, err
	}
	inst, failed := s.start(ctx, next)
	if failed != nil {
		s.log.Info("New version of plugin failed as well", "plugin", s.id, "cause", failed.Error())
		return nil, err
	}
	s.mu.Lock()
	outdated := s.next != next
	if !outdated {
		s.next = nil
	}
	s.mu.Unlock()
	if outdated {
		inst.kill(s.timing.kill)
		return nil, err
	}
	return inst, nil
}

func (s *supervisor) start(ctx context.Context, e *entry) (*instance, error) {
	s.countStart()
	return s.startInstance(ctx, e, s.enterState)
}

func (s *supervisor) countStart() {
	s.mu.Lock()
	s.starts++
	again := s.starts > 1
	s.mu.Unlock()
	if again {
		s.metrics.restarts.WithLabelValues(s.id).Inc()
	}
}

// serve watches a running plugin until it ends for good, and says why. At the
// end of the context it finishes the calls in flight first.
func (s *supervisor) serve(ctx context.Context, inst *instance) error {
	s.ready(inst)
	health := time.NewTicker(s.timing.healthEvery)
	defer health.Stop()
	swap := newSwap(s)
	defer swap.abort()
	swap.begin(ctx) // What was refused beside an earlier process is tried beside this one.
	for {
		var err error
		select {
		case <-ctx.Done():
			s.lose(StateDraining)
			inst.retire(ctx, s.deps)
			return ctx.Err()
		case <-inst.proc.exited:
			err = inst.proc.fate("it ended")
		case <-health.C:
			err = inst.check(ctx, s.deps, s.timing.health)
		case <-inst.suspect:
			// It has had the deadline of a call already.
			err = inst.check(ctx, s.deps, s.timing.health/2)
		case err = <-inst.hopeless:
		case <-s.wake:
			swap.begin(ctx)
		case <-swap.again():
			swap.begin(ctx)
		case r := <-swap.result:
			inst = swap.finish(ctx, inst, r)
		}
		if why := inst.givenUp(); why != nil {
			err = why // What follows from it, such as its end, explains nothing.
		}
		if err != nil && ctx.Err() == nil {
			s.lose(StateBackoff)
			inst.kill(s.timing.kill)
			if end := inst.proc.ownFate("it ended"); end != nil {
				err = end // A health check may have been faster than the end it met.
			}
			return err
		}
	}
}

// ready makes the instance the one that is asked.
func (s *supervisor) ready(inst *instance) {
	s.mu.Lock()
	recovered := s.why != ""
	s.current, s.last, s.entry = inst, inst.facts, inst.entry
	s.why, s.streak, s.breaker = "", 0, breaker{}
	s.mu.Unlock()
	s.log.Info("Plugin is ready", "plugin", s.id, "generation", inst.generation)
	s.metrics.introduced(s.id, inst.facts.version)
	s.enterState(StateReady)
	if recovered {
		s.tell(Event{Reason: EventRecovered, Message: fmt.Sprintf("plugin %q is ready again", s.id)})
	}
	if inst.entry.unpinned {
		s.tell(Event{Warning: true, Reason: EventUnpinned, Message: fmt.Sprintf(
			"plugin %q runs without a digest: whoever can replace its file runs code with the controller's credentials; add sha256 to its entry in the plugin ConfigMap", s.id)})
	}
	if paste := grantsToPaste(inst.wants); !inst.entry.bundled && inst.entry.grants == nil && paste != "" {
		s.tell(Event{Warning: true, Reason: EventNoGrants, Message: fmt.Sprintf(
			"plugin %q is granted nothing; to give it all it asks for, add to its entry in the plugin ConfigMap:\n%s", s.id, paste)})
	}
	s.notify(s.name)
}

// lose takes the instance away from new calls.
func (s *supervisor) lose(next State) {
	s.mu.Lock()
	s.current = nil
	s.mu.Unlock()
	s.enterState(next)
	s.notify(s.name)
}

// backOff waits after a failure: 1 s, doubled with each failure in a row, at
// most 60 s, ±20 % so that plugins that fail together do not start together.
// True when a new entry ended the wait.
func (s *supervisor) backOff(ctx context.Context, err error, failures int) bool {
	pause := s.pause(failures)
	s.mu.Lock()
	s.why, s.retryAt = sentence(forEverybody(err)), time.Now().Add(pause)
	s.mu.Unlock()
	s.enterState(StateBackoff)
	s.log.Info("Plugin failed, it will be started again", "plugin", s.id, "cause", err.Error(), "in", pause.String())
	s.tell(Event{Warning: true, Reason: EventFailed, Message: fmt.Sprintf("plugin %q failed: %s", s.id, sentence(err.Error()))})
	s.notify(s.name)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return false
		case <-s.wake:
			if s.hasUntried() {
				return true
			}
		}
	}
}

func (s *supervisor) pause(failures int) time.Duration {
	pause := s.timing.backoffMin << min(failures, 20)
	pause = min(pause, s.timing.backoffMax)
	return time.Duration(float64(pause) * (0.8 + 0.4*rand.Float64()))
}

// hasUntried is whether adopt would take a newer entry.
func (s *supervisor) hasUntried() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next != nil && !s.next.same(s.refused)
}

func (s *supervisor) enterState(now State) {
	s.mu.Lock()
	s.state = now
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	s.metrics.is(s.id, now)
}

// tell emits an event unless it repeats the last one of its reason.
func (s *supervisor) tell(e Event) {
	s.mu.Lock()
	if s.said[e.Reason] == nil {
		s.said[e.Reason] = &occasionally{interval: eventInterval}
	}
	pass := s.said[e.Reason].pass(e.Message, time.Now())
	s.mu.Unlock()
	if pass {
		s.emit(e)
	}
}

// need makes sure that the plugin runs, soon.
func (s *supervisor) need() {
	s.mu.Lock()
	already := s.wanted
	s.wanted = true
	s.mu.Unlock()
	if !already {
		s.nudge()
	}
}

// propose hands over the catalog's entry. What differs from the one in force
// is tried beside it first.
func (s *supervisor) propose(e *entry) {
	s.mu.Lock()
	switch {
	case e.same(s.entry):
		s.next = nil
	case !e.same(s.next):
		s.next = e
	}
	s.mu.Unlock()
	s.nudge()
}

func (s *supervisor) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// problem says why no call can be made. Only with mu held and no current.
func (s *supervisor) problem() *rollout.Problem {
	switch {
	case s.closed || s.state == StateDraining:
		return unavailable("plugin %q is being stopped", s.id)
	case s.why != "":
		p := unavailable("plugin %q is down: %s", s.id, s.why)
		p.Retry = max(time.Until(s.retryAt), 0)
		return p
	}
	return waiting("plugin %q is being started", s.id)
}
