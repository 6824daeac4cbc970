package broker

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

const (
	// writtenFor bounds the memory of own writes. Informers get a bookmark
	// every minute at least, so after five they are past any write of before,
	// or so far behind that their own re-listing is what helps.
	writtenFor = 5 * time.Minute
	// drainTime is how long an event may sit between the informer's
	// connection and its store. It takes milliseconds; 5 s are ample.
	drainTime = 5 * time.Second
)

// written is what this process last did to an object.
type written struct {
	uid types.UID
	// rv is the resourceVersion the write produced; empty for a deletion.
	rv string
	// base is the resourceVersion the write was computed from; empty for a
	// creation.
	base    string
	labels  labels.Set
	deleted bool
	at      time.Time
}

// reached reports whether a state with the resourceVersion includes the write.
// Kubernetes compares resourceVersions of one kind as numbers. Where they are
// none, any version other than the base counts: the write carried the base as
// precondition, so it was the first change after it.
func (w written) reached(rv string) bool {
	if rv == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(rv, w.rv)
	if err != nil {
		return rv != w.base
	}
	return order >= 0
}

// writes remembers own writes by object.
type writes struct {
	mu sync.Mutex
	by map[objectKey]written
}

func (w *writes) remember(key objectKey, one written) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = map[objectKey]written{}
	}
	w.by[key] = one
}

// each calls f for every remembered write that the watch may have to show,
// until it returns false.
func (w *writes) each(scope watchKey, f func(objectKey, written) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, one := range w.by {
		if key.Group != scope.group || key.Kind != scope.kind || key.Namespace != scope.namespace {
			continue
		}
		if !f(key, one) {
			return
		}
	}
}

func (w *writes) expire(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, one := range w.by {
		if now.Sub(one.at) > writtenFor {
			delete(w.by, key)
		}
	}
}
