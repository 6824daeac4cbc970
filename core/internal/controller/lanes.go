package controller

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

const (
	// patience is how long a worker waits for one plugin in one pass. What takes
	// longer is answered in a later pass.
	patience = 250 * time.Millisecond
	// laneWidth is how many calls one plugin gets at once. More of them wait in
	// line, where they hold up nobody but the objects they are about.
	laneWidth = 4
	// laneWaiters is how many workers wait that long for one plugin at a time.
	// The others wait for a fifth of it: there are ten workers, and a plugin that
	// stops answering must not take all of them at once.
	laneWaiters = 3
)

// Lanes keep calls of plugins off the workers: a plugin that answers late, or
// never, costs a worker its patience and the other plugins nothing. The zero
// value is ready for use; share one among everything that calls plugins.
type Lanes struct {
	// Patience is how long a worker waits; 0 means 250 ms.
	Patience time.Duration

	mu sync.Mutex
	by map[string]*lane
}

// lane is one plugin's line.
type lane struct {
	patience, brief time.Duration
	slots           chan struct{}
	waiters         chan struct{}
	// late counts the calls that are being made and that somebody has given up
	// waiting for.
	late atomic.Int32
	// slow: the call that ended last had taken longer than patience, as every
	// call of a plugin that hangs does until it is killed.
	slow atomic.Bool
}

// of returns the lane of a plugin.
func (l *Lanes) of(plugin string) *lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[string]*lane{}
	}
	if l.by[plugin] == nil {
		wait := l.Patience
		if wait == 0 {
			wait = patience
		}
		l.by[plugin] = newLane(wait, wait/5)
	}
	return l.by[plugin]
}

func newLane(patience, brief time.Duration) *lane {
	return &lane{patience: patience, brief: brief, slots: make(chan struct{}, laneWidth), waiters: make(chan struct{}, laneWaiters)}
}

// wait reports whether done was closed in time: briefly for every worker, and as
// long as ctx lasts for a few of them.
func (l *lane) wait(ctx context.Context, done <-chan struct{}) bool {
	brief := time.NewTimer(l.brief)
	defer brief.Stop()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	case <-brief.C:
	}
	select {
	case l.waiters <- struct{}{}:
		defer func() { <-l.waiters }()
	default:
		return false
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// stuck reports that every call the plugin can take is overdue.
func (l *lane) stuck() bool { return l.late.Load() >= laneWidth }

// vain reports that waiting for another call would most likely cost a worker its
// patience for nothing. A plugin that hangs again after each restart would
// otherwise be given ten workers each time, and updates of other plugins a pause:
// beside it the slowest step in a hundred took 2.2 times as long.
func (l *lane) vain() bool { return l.slow.Load() || l.stuck() }

// flight is a call, under way or answered.
type flight struct {
	// key identifies the question: fingerprint and all.
	key string
	// answer is written before done is closed.
	answer any
	done   chan struct{}
	state  atomic.Int32
}

const (
	flying int32 = iota
	landed
	overdue
)

// fly makes the call once the lane has room. ring is called after the answer of
// a call that somebody gave up waiting for.
func (l *lane) fly(f *flight, ring func(), call func() any) {
	defer func() {
		if r := recover(); r != nil {
			f.answer = r
		}
		close(f.done)
		if !f.state.CompareAndSwap(flying, landed) {
			l.late.Add(-1)
			ring()
		}
	}()
	l.slots <- struct{}{}
	defer func() { <-l.slots }()
	began := time.Now()
	defer func() { l.slow.Store(time.Since(began) > l.patience) }()
	f.answer = call()
}

// ask makes a call about one object and waits for it, but not longer than ctx
// lasts. What is not answered by then is late: the call goes on by itself, its
// answer is kept in at, and ring is called. Asked again with the same key, that
// answer is returned; with another key it is dropped and the call made anew.
// While a call is under way, no other one is made for the same at, which
// belongs to the caller. The call must end by itself.
func ask[T any](ctx context.Context, l *lane, at **flight, key string, ring func(), call func(context.Context) T) (answer T, late bool) {
	f := *at
	if f != nil {
		select {
		case <-f.done:
			*at = nil
			if f.key == key {
				return unpack[T](f), false
			}
		default:
			return answer, true
		}
	}
	f = &flight{key: key, done: make(chan struct{})}
	*at = f
	detached := context.WithoutCancel(ctx)
	go l.fly(f, ring, func() any { return call(detached) })
	if !l.vain() && l.wait(ctx, f.done) {
		*at = nil
		return unpack[T](f), false
	}
	l.late.Add(1)
	if !f.state.CompareAndSwap(flying, overdue) {
		l.late.Add(-1)
		<-f.done
		*at = nil
		return unpack[T](f), false
	}
	return answer, true
}

// unpack returns the answer, and hands on the panic of a call that had one to
// the pass that asked.
func unpack[T any](f *flight) T {
	answer, ok := f.answer.(T)
	if !ok {
		panic(f.answer)
	}
	return answer
}

// asked is the hold of a pass whose question is not answered yet.
func asked(plugin string) *rollout.Problem {
	return &rollout.Problem{
		Class: rollout.ProblemWaiting, Reason: string(rollout.HoldWaitingForPlugin),
		Message: fmt.Sprintf("plugin %s has been asked and has not answered yet", plugin),
	}
}
