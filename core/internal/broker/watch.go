package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// watchKey is what two needs have in common when one informer answers both.
type watchKey struct {
	group, kind, versions, namespace, name, selector string
}

// keyOfNeed normalises a need: equal selectors have equal keys.
func keyOfNeed(n rollout.Need) (watchKey, labels.Selector, error) {
	key := watchKey{
		group: n.Group, kind: n.Kind, versions: strings.Join(n.Versions, ","),
		namespace: n.Namespace, name: n.Name,
	}
	switch {
	case n.Kind == "":
		return key, nil, errors.New("a need without kind")
	case n.Name != "" && n.Selector != nil, n.Name == "" && n.Selector == nil:
		return key, nil, fmt.Errorf("a need for %s has to set exactly one of name and selector", n.Kind)
	case n.Name != "":
		return key, labels.Everything(), nil
	}
	selector, err := metav1.LabelSelectorAsSelector(n.Selector)
	if err != nil {
		return key, nil, fmt.Errorf("selector of the need for %s: %w", n.Kind, err)
	}
	// A selector that selects everything prints as ""; with the name empty too
	// that is still unambiguous, because one of them is always set.
	key.selector = selector.String()
	return key, selector, nil
}

// String names what is watched, for messages.
func (k watchKey) String() string {
	what := k.kind
	if k.group != "" {
		what += "." + k.group
	}
	where := k.name
	if k.name == "" {
		where = "with labels " + cmp.Or(k.selector, "<any>")
	}
	if k.namespace == "" {
		return what + " " + where
	}
	if k.name == "" {
		return what + " " + where + " in namespace " + k.namespace
	}
	return what + " " + k.namespace + "/" + where
}

// watch keeps one informer going, and knows how far it is. It outlives the
// informer: one that the API server refuses is stopped and tried again.
type watch struct {
	key      watchKey
	selector labels.Selector
	client   dynamic.Interface
	kinds    *kinds
	log      logr.Logger
	retry    wait.Backoff
	// changed is called without locks after every change a subscriber wants to
	// know: of state, or of an object.
	changed func(*watch)

	mu       sync.RWMutex
	state    rollout.NeedState
	message  string
	served   kind
	informer cache.SharedIndexInformer
	// seen is the highest resourceVersion an event brought.
	seen string
}

// run watches until the context ends.
func (w *watch) run(ctx context.Context) {
	backoff := w.retry
	for ctx.Err() == nil {
		synced, err := w.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if synced {
			backoff = w.retry
		}
		w.fail(err)
		select {
		case <-ctx.Done():
		case <-time.After(backoff.Step()):
		}
	}
}

// session runs one informer until the API server refuses it. The error says
// why; synced says whether it had listed before.
func (w *watch) session(ctx context.Context) (synced bool, err error) {
	var versions []string
	if w.key.versions != "" {
		versions = strings.Split(w.key.versions, ",")
	}
	served, err := w.kinds.find(ctx, schema.GroupKind{Group: w.key.group, Kind: w.key.kind}, versions)
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	w.served, w.seen = served, ""
	w.mu.Unlock()
	if served.Namespaced != (w.key.namespace != "") {
		return false, &scopeError{served}
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	synced, err = w.follow(ctx, cancel, w.newInformer(served))
	if gone := (*goneError)(nil); errors.As(err, &gone) {
		w.kinds.forget(served)
	}
	return synced, err
}

// newInformer is client-go's dynamic informer, built here because its package
// links the typed informers of every built-in kind.
func (w *watch) newInformer(served kind) cache.SharedIndexInformer {
	resource := w.client.Resource(served.gvr()).Namespace(w.key.namespace)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, w.narrow(o))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			return resource.Watch(ctx, w.narrow(o))
		},
	}
	return cache.NewSharedIndexInformerWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, w.client),
		&unstructured.Unstructured{}, cache.SharedIndexInformerOptions{ObjectDescription: w.key.String()})
}

// narrow restricts a request to what the key names.
func (w *watch) narrow(o metav1.ListOptions) metav1.ListOptions {
	if w.key.name != "" {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", w.key.name).String()
	}
	o.LabelSelector = w.key.selector
	return o
}

// follow runs the informer until it is refused or the context ends.
func (w *watch) follow(ctx context.Context, cancel context.CancelCauseFunc, informer cache.SharedIndexInformer) (synced bool, err error) {
	if err := informer.SetTransform(trim); err != nil {
		return false, err
	}
	if err := informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		switch {
		case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			cancel(err)
		case apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err):
			cancel(&goneError{err})
		default:
			// The informer tries again by itself, at most 30 s apart.
			w.stumble(err)
		}
	}); err != nil {
		return false, err
	}
	registration, err := informer.AddEventHandler(w.handler())
	if err != nil {
		return false, err
	}

	var running sync.WaitGroup
	running.Go(func() { informer.RunWithContext(ctx) })
	defer running.Wait()
	select {
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-registration.HasSyncedChecker().Done():
	}
	w.mu.Lock()
	w.state, w.message, w.informer = rollout.NeedSynced, "", informer
	w.mu.Unlock()
	w.changed(w)
	<-ctx.Done()
	return true, context.Cause(ctx)
}

// handler notes how far the informer is and passes changes on. What the first
// listing brings is not a change: being synced is.
func (w *watch) handler() cache.ResourceEventHandler {
	note := func(obj any) {
		if c, ok := obj.(*cached); ok {
			w.mark(c.GetResourceVersion())
		}
		w.mu.RLock()
		synced := w.state == rollout.NeedSynced
		w.mu.RUnlock()
		if synced {
			w.changed(w)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    note,
		UpdateFunc: func(_, obj any) { note(obj) },
		DeleteFunc: note,
	}
}

func (w *watch) mark(rv string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if order, err := resourceversion.CompareResourceVersion(rv, w.seen); err != nil || order > 0 {
		w.seen = rv
	}
}

// goneError wraps the API server's answer that the resource does not exist.
type goneError struct{ err error }

func (e *goneError) Error() string { return e.err.Error() }
func (e *goneError) Unwrap() error { return e.err }

// scopeError says that namespace and scope of a kind do not fit.
type scopeError struct{ kind kind }

func (e *scopeError) Error() string {
	if e.kind.Namespaced {
		return fmt.Sprintf("%s lives in namespaces: the need has to name one", e.kind.Kind)
	}
	return fmt.Sprintf("%s is cluster-scoped: the need must not name a namespace", e.kind.Kind)
}

// fail records why a session ended.
func (w *watch) fail(err error) {
	state, message := rollout.NeedSyncing, fmt.Sprintf("reading %s: %v", w.key, err)
	notServed, gone, scope := (*notServedError)(nil), (*goneError)(nil), (*scopeError)(nil)
	switch {
	case errors.As(err, &notServed), errors.As(err, &gone):
		state, message = rollout.NeedNotServed, err.Error()
	case errors.As(err, &scope):
		state, message = rollout.NeedDenied, err.Error()
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		state, message = rollout.NeedForbidden, err.Error()
	}
	w.set(state, message)
}

// stumble records an error the informer itself will get over. A listing that
// is complete stays in use: what it shows may be old, and writes computed from
// it conflict if it is.
func (w *watch) stumble(err error) {
	w.mu.RLock()
	state := w.state
	w.mu.RUnlock()
	if state == rollout.NeedSyncing {
		w.set(state, fmt.Sprintf("reading %s: %v", w.key, err))
	}
}

func (w *watch) set(state rollout.NeedState, message string) {
	w.mu.Lock()
	same := w.state == state && w.message == message
	w.state, w.message, w.informer = state, message, nil
	w.mu.Unlock()
	if same {
		return
	}
	w.log.Info("Objects for plugins cannot be read yet", "objects", w.key.String(), "state", state, "reason", message)
	w.changed(w)
}

// answer is the NeedResult of this moment, without the Need.
func (w *watch) answer(own *writes, now time.Time) rollout.NeedResult {
	w.mu.RLock()
	defer w.mu.RUnlock()
	result := rollout.NeedResult{State: w.state, Message: w.message}
	if w.state != rollout.NeedSynced {
		if w.state == rollout.NeedSyncing && w.message == "" {
			result.Message = fmt.Sprintf("listing %s", w.key)
		}
		return result
	}
	result.APIVersion = w.served.apiVersion()
	if key, behind := w.behind(own, now); behind {
		result.State = rollout.NeedSyncing
		result.Message = fmt.Sprintf("the cache is behind this controller's own write to %s", key)
		return result
	}
	result.Objects = w.objects()
	return result
}

// objects lists the store by namespace and name.
func (w *watch) objects() []rollout.Object {
	items := w.informer.GetStore().List()
	slices.SortFunc(items, func(a, b any) int {
		x, y := a.(*cached), b.(*cached)
		return cmp.Or(cmp.Compare(x.GetNamespace(), y.GetNamespace()), cmp.Compare(x.GetName(), y.GetName()))
	})
	shown := make([]rollout.Object, 0, len(items))
	for _, item := range items {
		shown = append(shown, item.(*cached).shown())
	}
	return shown
}

// behind reports whether the informer has yet to see a write of this process
// to an object it shows or will show.
func (w *watch) behind(own *writes, now time.Time) (objectKey, bool) {
	var late objectKey
	found := false
	own.each(w.key, func(key objectKey, one written) bool {
		if w.key.name == "" || w.key.name == key.Name {
			found = !w.includes(key, one, now)
			late = key
		}
		return !found
	})
	return late, found
}

func (w *watch) includes(key objectKey, one written, now time.Time) bool {
	obj, exists, _ := w.informer.GetStore().GetByKey(cache.NewObjectName(key.Namespace, key.Name).String())
	if c, ok := obj.(*cached); exists && ok {
		if one.deleted {
			return c.GetUID() != one.uid || c.GetDeletionTimestamp() != nil
		}
		return one.reached(c.GetResourceVersion())
	}
	if one.deleted || !w.selector.Matches(one.labels) {
		return true
	}
	// The object matches and is not there: either its event is still to come,
	// or it has come and gone.
	return one.reached(w.seen) ||
		now.Sub(one.at) > drainTime && one.reached(w.informer.LastSyncResourceVersion())
}

func (w *watch) kindServed() kind {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.served
}
