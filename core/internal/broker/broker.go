package broker

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Options of New. Client and Discovery are required.
type Options struct {
	Client    dynamic.Interface
	Discovery Discovery
	// Notify is told that the answer to a subscriber's needs may have changed.
	// It is called from informer goroutines and has to return at once. Nil
	// means that nobody wants to know.
	Notify func(subscriber string)
	// Log is told once per change of state why something cannot be read.
	Log logr.Logger
	// FieldManager signs the writes. Empty means "sluice".
	FieldManager string
	// Idle is how long an informer that nobody needs is kept. Zero means five
	// minutes, which bridges a plugin's restart.
	Idle time.Duration
}

// retry is how a refused informer is tried again: after 1 s, then up to 18 s
// apart, so that a new CRD or permission is noticed within 20 s.
var retry = wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.2, Steps: 10, Cap: 15 * time.Second}

// Broker shows and changes objects on behalf of plugins. All methods may be
// called at any time by any number of goroutines.
type Broker struct {
	options Options
	kinds   *kinds
	own     writes
	retry   wait.Backoff

	mu sync.Mutex
	// lifetime is nil before Run and after it has ended.
	lifetime context.Context
	running  sync.WaitGroup
	watches  map[watchKey]*subscribed
	// needed holds the keys each subscriber's last Resolve asked for.
	needed map[string]sets.Set[watchKey]
}

// subscribed is a watch with those who need it.
type subscribed struct {
	*watch
	subscribers sets.Set[string]
	// idleSince is when the last subscriber left; zero while there is one.
	idleSince time.Time
	// stop ends the informer; nil before Run.
	stop context.CancelFunc
}

// New returns a Broker that watches nothing yet. Run it.
func New(o Options) *Broker {
	if o.Notify == nil {
		o.Notify = func(string) {}
	}
	if o.FieldManager == "" {
		o.FieldManager = "sluice"
	}
	if o.Idle == 0 {
		o.Idle = 5 * time.Minute
	}
	if o.Log.GetSink() == nil {
		o.Log = logr.Discard()
	}
	return &Broker{
		options: o,
		kinds:   newKinds(o.Discovery),
		retry:   retry,
		watches: map[watchKey]*subscribed{},
		needed:  map[string]sets.Set[watchKey]{},
	}
}

// Run keeps the informers going until the context ends, and returns when all
// have stopped. Before and after, every need is SYNCING. It is called once.
func (b *Broker) Run(ctx context.Context) error {
	b.mu.Lock()
	b.lifetime = ctx
	for _, s := range b.watches {
		b.start(s)
	}
	b.mu.Unlock()

	ticker := time.NewTicker(b.options.Idle / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			b.mu.Lock()
			b.lifetime = nil
			clear(b.watches)
			clear(b.needed)
			b.mu.Unlock()
			b.running.Wait()
			return nil
		case now := <-ticker.C:
			b.sweep(now)
			b.own.expire(now)
		}
	}
}

// Resolve answers the needs in order, from caches. It never waits: what is not
// there yet is SYNCING, and the subscriber is notified when that changes.
//
// The needs are all that the subscriber needs from now on; what its previous
// call listed and this one does not is no longer watched on its behalf. Results
// and the bytes in them are shared and must not be modified.
func (b *Broker) Resolve(caller rollout.Caller, subscriber string, grant rollout.Grant, needs []rollout.Need) []rollout.NeedResult {
	b.mu.Lock()
	results := make([]rollout.NeedResult, len(needs))
	found := make([]*watch, len(needs))
	wanted := sets.Set[watchKey]{}
	now := time.Now()
	for i, need := range needs {
		state, message := b.admit(caller, subscriber, grant, need, wanted)
		if state == rollout.NeedSynced {
			found[i], message = b.need(subscriber, need, wanted)
			if found[i] == nil {
				state = rollout.NeedDenied
			}
		}
		results[i] = rollout.NeedResult{State: state, Message: message}
	}
	b.release(subscriber, b.needed[subscriber].Difference(wanted))
	b.needed[subscriber] = wanted
	b.mu.Unlock()

	for i, w := range found {
		if w != nil {
			results[i] = w.answer(&b.own, now)
			if results[i].State == rollout.NeedForbidden {
				results[i].Message += "; " + rbacCure(grant, w.kindServed())
			}
		}
		results[i].Need = needs[i]
	}
	return results
}

// Forget drops everything the subscriber needed. Unknown subscribers are fine.
func (b *Broker) Forget(subscriber string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.release(subscriber, b.needed[subscriber])
	delete(b.needed, subscriber)
}

// admit decides whether the caller may read what it needs: SYNCED means yes.
// Needs of the broker's own that the decision depends on are added to wanted.
// The lock is held.
func (b *Broker) admit(caller rollout.Caller, subscriber string, grant rollout.Grant, need rollout.Need, wanted sets.Set[watchKey]) (rollout.NeedState, string) {
	gk := schema.GroupKind{Group: need.Group, Kind: need.Kind}
	if refusal := checkKind(grant, verbRead, gk); refusal != "" {
		return rollout.NeedDenied, refusal
	}
	if namespaceGranted(caller, grant, need.Namespace) {
		return rollout.NeedSynced, ""
	}
	grants, message := b.need(subscriber, referenceGrants(need.Namespace), wanted)
	if grants == nil {
		return rollout.NeedDenied, message
	}
	return permitted(grants.answer(&b.own, time.Now()), caller, gk, need.Namespace, need.Name)
}

// need returns the watch that answers the need and makes the subscriber one of
// its; nil with a message when the need makes no sense. The lock is held.
func (b *Broker) need(subscriber string, need rollout.Need, wanted sets.Set[watchKey]) (*watch, string) {
	key, selector, err := keyOfNeed(need)
	if err != nil {
		return nil, err.Error()
	}
	s := b.watches[key]
	if s == nil {
		s = &subscribed{subscribers: sets.New[string](), watch: &watch{
			key: key, selector: selector, client: b.options.Client, kinds: b.kinds, log: b.options.Log,
			retry: b.retry, changed: b.changed, state: rollout.NeedSyncing,
		}}
		b.watches[key] = s
		b.start(s)
	}
	s.subscribers.Insert(subscriber)
	s.idleSince = time.Time{}
	wanted.Insert(key)
	return s.watch, ""
}

// start begins watching, if the broker runs. The lock is held.
func (b *Broker) start(s *subscribed) {
	if b.lifetime == nil {
		return
	}
	ctx, stop := context.WithCancel(b.lifetime)
	s.stop = stop
	b.running.Go(func() {
		defer stop()
		s.run(ctx)
	})
}

// release takes the subscriber off the watches. The lock is held.
func (b *Broker) release(subscriber string, keys sets.Set[watchKey]) {
	for key := range keys {
		s := b.watches[key]
		if s == nil {
			continue
		}
		s.subscribers.Delete(subscriber)
		if s.subscribers.Len() == 0 && s.idleSince.IsZero() {
			s.idleSince = time.Now()
		}
	}
}

// sweep stops informers nobody has needed for a while.
func (b *Broker) sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, s := range b.watches {
		if s.idleSince.IsZero() || now.Sub(s.idleSince) < b.options.Idle {
			continue
		}
		delete(b.watches, key)
		if s.stop != nil {
			s.stop()
		}
	}
}

// changed tells everybody who needs the watch.
func (b *Broker) changed(w *watch) {
	b.mu.Lock()
	var tell []string
	if s := b.watches[w.key]; s != nil && s.watch == w {
		tell = s.subscribers.UnsortedList()
	}
	b.mu.Unlock()
	for _, subscriber := range tell {
		b.options.Notify(subscriber)
	}
}
