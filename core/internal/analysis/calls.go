package analysis

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

const (
	// measureTimeout and cancelTimeout are backstops behind the deadlines of the
	// plugin host. Those are 60 s and 10 s, but the timeout of a plugin's entry
	// replaces both with up to 5 min, and a backstop that came first would end
	// an honest call each time: the run would wait for ever.
	measureTimeout = 5*time.Minute + 10*time.Second
	cancelTimeout  = 5*time.Minute + 10*time.Second
	// callsPerPlugin bounds the calls in flight to one plugin; more wait in
	// line, without holding up other plugins.
	callsPerPlugin = 64

	firstRetry = 2 * time.Second
	lastRetry  = 60 * time.Second
)

// Options are what Calls needs; all but Jitter are required.
type Options struct {
	Providers Providers
	Secrets   Secrets
	// Now is the clock.
	Now func() time.Time
	// Notify is called, from any goroutine, when a run has a new result.
	Notify func(run types.NamespacedName)
	// Jitter spreads retries: a factor for the delay. Nil means 0.75 to 1.25.
	Jitter func() float64
}

// Calls holds the calls to providers that are under way or whose result is not
// yet recorded. Nothing in it survives a restart: a measurement whose result
// was not written is taken again under the same id. It is safe for concurrent
// use, and no lock is held across a call.
type Calls struct {
	options Options
	base    context.Context //nolint:containedctx // calls outlive the reconcile that starts them; Close ends them
	stop    context.CancelFunc
	running sync.WaitGroup
	judging sync.Mutex

	mu    sync.Mutex
	slots map[string]chan struct{}
	runs  map[types.NamespacedName]map[string]*flight
}

// flight is one call with its attempts so far.
type flight struct {
	run      types.UID
	call     Call
	attempts int
	cancel   context.CancelFunc
	done     chan struct{}
}

// NewCalls returns an empty set; Close ends it.
func NewCalls(options Options) *Calls {
	if options.Jitter == nil {
		options.Jitter = func() float64 { return 0.75 + rand.Float64()/2 }
	}
	base, stop := context.WithCancel(context.Background())
	return &Calls{
		options: options, base: base, stop: stop,
		slots: map[string]chan struct{}{}, runs: map[types.NamespacedName]map[string]*flight{},
	}
}

// Close ends every call and waits for it. Results that come now are dropped.
func (c *Calls) Close() {
	c.stop()
	c.running.Wait()
}

// Of returns the calls of a run by metric. Those of an earlier run of the same
// name are ended.
func (c *Calls) Of(run *v1alpha1.AnalysisRun) map[string]Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := map[string]Call{}
	key := keyOf(run)
	for metric, f := range c.runs[key] {
		if f.run != run.UID {
			f.cancel()
			delete(c.runs[key], metric)
			continue
		}
		calls[metric] = f.call
	}
	return calls
}

// Done forgets the calls whose results were recorded. One that is under way
// again is left alone only if its id differs.
func (c *Calls) Done(run types.NamespacedName, used map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for metric, id := range used {
		if f := c.runs[run][metric]; f != nil && f.call.MeasurementID == id {
			f.cancel()
			delete(c.runs[run], metric)
		}
	}
	if len(c.runs[run]) == 0 {
		delete(c.runs, run)
	}
}

// Drop ends and forgets every call of a run that no longer exists.
func (c *Calls) Drop(run types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.runs[run] {
		f.cancel()
	}
	delete(c.runs, run)
}

// Waiting lists the runs with a call that got no answer, for when a plugin
// becomes ready. Their next attempt is due at once.
func (c *Calls) Waiting() []types.NamespacedName {
	c.mu.Lock()
	defer c.mu.Unlock()
	var waiting []types.NamespacedName
	for run, flights := range c.runs {
		found := false
		for _, f := range flights {
			if f.call.Result != nil && f.call.Result.Waiting != "" {
				retried := *f.call.Result
				retried.RetryAt = time.Time{}
				f.call.Result = &retried
				found = true
			}
		}
		if found {
			waiting = append(waiting, run)
		}
	}
	return waiting
}

// start makes a call unless the same one is under way. A Cancel first ends the
// Measure that is under way and waits for it.
func (c *Calls) start(run *v1alpha1.AnalysisRun, op Op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := keyOf(run)
	before := c.runs[key][op.Metric]
	f := &flight{run: run.UID, call: Call{Verb: op.Verb, MeasurementID: op.MeasurementID}, done: make(chan struct{})}
	if before != nil {
		if before.call.Result == nil && before.call.Verb == op.Verb {
			return
		}
		before.cancel()
		f.call.Waited = before.call.waiting()
		if before.call.Verb == op.Verb && before.call.MeasurementID == op.MeasurementID {
			f.attempts = before.attempts
		}
	}
	ctx, cancel := context.WithCancel(c.base)
	f.cancel = cancel
	if c.runs[key] == nil {
		c.runs[key] = map[string]*flight{}
	}
	c.runs[key][op.Metric] = f
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		defer close(f.done)
		defer cancel()
		if before != nil {
			<-before.done
		}
		c.land(key, op.Metric, f, c.fly(ctx, run, op))
	}()
}

// collect is not remembered: see Plan.trim.
func (c *Calls) collect(run *v1alpha1.AnalysisRun, op Op) {
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		c.fly(c.base, run, op)
	}()
}

// fly makes the call once a slot of the plugin is free.
func (c *Calls) fly(ctx context.Context, run *v1alpha1.AnalysisRun, op Op) (result *Result) {
	defer func() {
		if r := recover(); r != nil {
			result = &Result{Waiting: fmt.Sprintf("waiting: measuring %s failed: %v", op.Metric, r)}
		}
	}()
	slot := c.slot(run, op)
	select {
	case slot <- struct{}{}:
		defer func() { <-slot }()
	case <-ctx.Done():
		return &Result{Waiting: "waiting for the controller"}
	}
	timeout := cancelTimeout
	if op.Verb == VerbMeasure {
		timeout = measureTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch op.Verb {
	case VerbMeasure:
		return c.measure(ctx, run, op)
	case VerbCancel:
		return c.cancel(ctx, run, op)
	}
	if a, decided := c.prepare(ctx, run, op); decided == nil {
		_ = a.provider.Collect(ctx, a.request, op.Keep) // the next Collect makes up for it
	}
	return nil
}

// land keeps the result of a flight, unless it was replaced or dropped.
func (c *Calls) land(run types.NamespacedName, metric string, f *flight, result *Result) {
	c.mu.Lock()
	current := c.runs[run][metric] == f && c.base.Err() == nil
	if current {
		if result.Waiting != "" {
			f.attempts++
			result.RetryAt = c.options.Now().Add(c.delay(f.attempts, result.RetryAfter))
		}
		f.call.Result = result
	}
	c.mu.Unlock()
	if current {
		c.options.Notify(run)
	}
}

func (c *Calls) delay(attempts int, asked time.Duration) time.Duration {
	delay := asked
	if delay <= 0 {
		delay = min(firstRetry<<min(attempts-1, 10), lastRetry)
	}
	return time.Duration(float64(delay) * c.options.Jitter())
}

// slot is the line of the plugin a metric uses, so that a plugin that hangs
// only holds up its own metrics.
func (c *Calls) slot(run *v1alpha1.AnalysisRun, op Op) chan struct{} {
	plugin, _, _ := ProviderName(run.Spec.Metrics[op.Index].Provider) // an error has a line of its own
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slots[plugin] == nil {
		c.slots[plugin] = make(chan struct{}, callsPerPlugin)
	}
	return c.slots[plugin]
}

func keyOf(run *v1alpha1.AnalysisRun) types.NamespacedName {
	return types.NamespacedName{Namespace: run.Namespace, Name: run.Name}
}

// len is the number of calls remembered, for tests.
func (c *Calls) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for flights := range maps.Values(c.runs) {
		n += len(flights)
	}
	return n
}
