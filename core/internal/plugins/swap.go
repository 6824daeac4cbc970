package plugins

import (
	"context"
	"fmt"
	"time"
)

// swap replaces a running plugin when its entry changes: the new process is
// started and configured beside the old one, which answers until the new one is
// ready and stays if that fails. Used by serve only, from its goroutine.
type swap struct {
	s *supervisor
	// result is nil while no attempt runs.
	result  chan swapResult
	cancel  context.CancelFunc
	failed  int
	timer   *time.Timer
	attempt *entry
}

type swapResult struct {
	inst *instance
	err  error
}

func newSwap(s *supervisor) *swap { return &swap{s: s} }

// again fires when a failed attempt should be repeated; what was wrong may
// have been repaired without a change of the entry (a file, a digest).
func (w *swap) again() <-chan time.Time {
	if w.timer == nil {
		return nil
	}
	return w.timer.C
}

// begin starts an attempt if there is a newer entry. An attempt that runs for
// another entry is given up first.
func (w *swap) begin(ctx context.Context) {
	w.s.mu.Lock()
	next := w.s.next
	w.s.mu.Unlock()
	if next == w.attempt && w.result != nil {
		return
	}
	if next != w.attempt {
		w.failed = 0
	}
	w.abort()
	if w.attempt = next; next == nil {
		return
	}
	w.s.countStart()
	ctx, w.cancel = context.WithCancel(ctx)
	result := make(chan swapResult, 1)
	w.result = result
	go func() {
		inst, err := w.s.startInstance(ctx, next, func(State) {})
		result <- swapResult{inst, err}
	}()
}

// finish ends an attempt and returns the instance that is in force from now on.
func (w *swap) finish(ctx context.Context, old *instance, r swapResult) *instance {
	w.cancel()
	w.result = nil
	s := w.s
	if r.err != nil {
		s.mu.Lock()
		s.refused = w.attempt
		s.mu.Unlock()
		pause := s.pause(w.failed)
		w.failed++
		w.timer = time.NewTimer(pause)
		s.log.Info("New version of plugin failed, the old one stays", "plugin", s.id, "cause", r.err.Error(), "retry", pause.String())
		s.tell(Event{Warning: true, Reason: EventUpdateRefused, Message: fmt.Sprintf(
			"plugin %q keeps its old configuration, the new one failed: %s", s.id, sentence(r.err.Error()))})
		return old
	}
	s.mu.Lock()
	outdated := s.next != w.attempt
	if !outdated {
		s.next = nil
	}
	s.mu.Unlock()
	w.attempt = nil
	if outdated {
		r.inst.kill(s.timing.kill)
		s.nudge()
		return old
	}
	s.ready(r.inst)
	s.retiring.Go(func() { old.retire(ctx, s.deps) })
	return r.inst
}

// abort gives up the attempt that runs and forgets when to repeat it.
func (w *swap) abort() {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if w.result == nil {
		return
	}
	w.cancel()
	if r := <-w.result; r.inst != nil {
		r.inst.kill(w.s.timing.kill)
	}
	w.result = nil
}
