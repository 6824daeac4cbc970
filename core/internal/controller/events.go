package controller

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Bounds of the event recorder.
const (
	// eventWriters write events side by side; those about one object always
	// come through the same one, so their order is kept.
	eventWriters = 8
	// eventWindow is how many events of one writer are inside client-go's
	// broadcaster, which drops what comes when it holds 1,000.
	eventWindow = 500
	// eventMemory is how many kinds of events each writer remembers in each of
	// the correlator's caches, to count one up that is repeated. The eight hold
	// together what one of client-go's would (4,096), else they are a tenth of
	// the heap.
	eventMemory = 512
	// eventPatience is how long the recorder goes on writing what is queued when
	// the controller ends.
	eventPatience = 5 * time.Second
)

// Events is the one event recorder: client-go's, behind a queue that forgets
// nothing. A controller that finds 5,000 Rollouts when it starts tells of each.
type Events struct {
	writers  [eventWriters]*eventWriter
	counters *Metrics // nil counts nothing
	log      logr.Logger
}

var _ record.EventRecorder = (*Events)(nil)

// NewEvents returns a recorder that writes through the client until it is shut
// down. It neither drops nor combines: clients compare the whole ordered list
// of a rollout's events (21 in one abort and retry), and by default an eleventh
// step within ten minutes would only be "combined from similar events". One
// object may have 500 events at once, then one every five minutes.
func NewEvents(scheme *runtime.Scheme, client typedcorev1.EventsGetter, counters *Metrics, log logr.Logger) *Events {
	e := &Events{counters: counters, log: log}
	for i := range e.writers {
		w := &eventWriter{
			broadcaster: record.NewBroadcaster(),
			correlator:  record.NewEventCorrelatorWithOptions(record.CorrelatorOptions{BurstSize: 500, MaxEvents: 500, LRUCacheSize: eventMemory}),
			sink:        &typedcorev1.EventSinkImpl{Interface: client.Events("")},
			window:      make(chan struct{}, eventWindow),
			ended:       make(chan struct{}),
			log:         log,
		}
		w.ctx, w.stop = context.WithCancel(context.Background())
		w.more = sync.NewCond(&w.mu)
		w.recorder = w.broadcaster.NewRecorder(scheme, corev1.EventSource{Component: "rollouts-controller"})
		w.broadcaster.StartEventWatcher(w.write)
		go w.feed()
		e.writers[i] = w
	}
	return e
}

// Event implements record.EventRecorder.
func (e *Events) Event(about runtime.Object, eventType, reason, message string) {
	e.AnnotatedEventf(about, nil, eventType, reason, "%s", message)
}

// Eventf implements record.EventRecorder.
func (e *Events) Eventf(about runtime.Object, eventType, reason, format string, args ...any) {
	e.AnnotatedEventf(about, nil, eventType, reason, format, args...)
}

// AnnotatedEventf implements record.EventRecorder.
func (e *Events) AnnotatedEventf(about runtime.Object, annotations map[string]string, eventType, reason, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if ro, ok := about.(*v1alpha1.Rollout); ok && e.counters != nil {
		e.counters.events.WithLabelValues(ro.Namespace, eventType, reason).Inc()
	}
	w := e.writers[shard(about)]
	w.add(func() { w.recorder.AnnotatedEventf(about, annotations, eventType, reason, "%s", message) })
}

func shard(about runtime.Object) uint32 {
	h := fnv.New32a()
	if m, err := meta.Accessor(about); err == nil {
		_, _ = h.Write([]byte(m.GetUID()))
		_, _ = h.Write([]byte(m.GetNamespace()))
		_, _ = h.Write([]byte(m.GetName()))
	}
	return h.Sum32() % eventWriters
}

// Shutdown writes what is queued, for as long as eventPatience.
func (e *Events) Shutdown() {
	limit := time.AfterFunc(eventPatience, func() {
		for _, w := range e.writers {
			w.stop()
		}
	})
	defer limit.Stop()
	left := 0
	for _, w := range e.writers {
		left += w.end()
	}
	if left > 0 {
		e.log.Info("events were not written before the end", "number", left)
	}
}

// eventWriter writes the events of some objects one after the other.
type eventWriter struct {
	broadcaster record.EventBroadcaster
	recorder    record.EventRecorder
	correlator  *record.EventCorrelator
	sink        record.EventSink
	log         logr.Logger
	// window holds a token for each event inside the broadcaster.
	window chan struct{}
	ctx    context.Context
	stop   context.CancelFunc
	ended  chan struct{}

	mu     sync.Mutex
	more   *sync.Cond
	queue  []func()
	closed bool
}

func (w *eventWriter) add(event func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, event)
	w.more.Signal()
}

// feed hands the queue to the broadcaster as fast as it is written.
func (w *eventWriter) feed() {
	defer close(w.ended)
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && !w.closed {
			w.more.Wait()
		}
		if len(w.queue) == 0 {
			w.mu.Unlock()
			return
		}
		event := w.queue[0]
		w.queue = w.queue[1:]
		w.mu.Unlock()
		select {
		case w.window <- struct{}{}:
			event()
		case <-w.ctx.Done():
			return
		}
	}
}

// end waits until everything is written or nobody waits any longer; it returns
// how many events were left.
func (w *eventWriter) end() int {
	w.mu.Lock()
	w.closed = true
	w.more.Signal()
	w.mu.Unlock()
	<-w.ended
	for range eventWindow { // all tokens are back when all events are written
		select {
		case w.window <- struct{}{}:
		case <-w.ctx.Done():
		}
	}
	w.broadcaster.Shutdown()
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
}

// write sends one event; what the API server refuses is not sent again.
func (w *eventWriter) write(event *corev1.Event) {
	defer func() { <-w.window }()
	result, err := w.correlator.EventCorrelate(event.DeepCopy())
	if err != nil || result.Skip {
		return // more than the burst of one object
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		if err = w.send(result); err == nil || final(err) {
			break
		}
		select {
		case <-time.After(wait):
		case <-w.ctx.Done():
			return
		}
	}
	if err != nil && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		w.log.Error(err, "the API server refuses an event", "reason", event.Reason, "object", event.InvolvedObject.Name)
	}
}

func (w *eventWriter) send(result *record.EventCorrelateResult) error {
	var sent *corev1.Event
	var err error
	if result.Event.Count > 1 {
		sent, err = w.sink.Patch(result.Event, result.Patch)
	}
	if result.Event.Count <= 1 || apierrors.IsNotFound(err) {
		result.Event.ResourceVersion = ""
		sent, err = w.sink.Create(result.Event)
	}
	if err == nil {
		w.correlator.UpdateState(sent)
	}
	return err
}

// final: the API server has answered, and will not answer otherwise.
func final(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && !apierrors.IsTooManyRequests(err) && !apierrors.IsServerTimeout(err) && !apierrors.IsInternalError(err)
}
