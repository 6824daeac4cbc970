package observe

import (
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Written remembers the resourceVersion of this process's own last write to
// each object until a cache has shown it. The zero value is ready to use.
type Written struct {
	mu sync.Mutex
	// last by kind and UID.
	last map[writtenKey]uint64
	// created by kind and owner: names not yet seen in a list.
	created map[writtenKey]map[string]time.Time
}

// unseenFor bounds how long a created object is waited for: one that was
// deleted before the cache saw it would otherwise be waited for for ever.
// Watches deliver within milliseconds; a second creation attempt after 10 s
// only finds AlreadyExists.
const unseenFor = 10 * time.Second

type writtenKey struct {
	kind string
	uid  types.UID
}

// Wrote notes that this process has written the object.
func (w *Written) Wrote(kind string, obj metav1.Object) {
	version, err := strconv.ParseUint(obj.GetResourceVersion(), 10, 64)
	if err != nil {
		return // not comparable: the write's own precondition is what protects
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = map[writtenKey]uint64{}
	}
	k := writtenKey{kind, obj.GetUID()}
	w.last[k] = max(w.last[k], version)
}

// Created notes an object that must appear in the next listing of its owner.
func (w *Written) Created(kind string, owner types.UID, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.created == nil {
		w.created = map[writtenKey]map[string]time.Time{}
	}
	k := writtenKey{kind, owner}
	if w.created[k] == nil {
		w.created[k] = map[string]time.Time{}
	}
	w.created[k][name] = time.Now()
}

// Behind reports whether the cached object is older than this process's last
// write to it. Resource versions of one kind are ordered (Kubernetes promises
// it since 1.35, etcd has always given it).
func (w *Written) Behind(kind string, cached metav1.Object) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := writtenKey{kind, cached.GetUID()}
	last, ok := w.last[k]
	if !ok {
		return false
	}
	have, err := strconv.ParseUint(cached.GetResourceVersion(), 10, 64)
	if err == nil && have < last {
		return true
	}
	delete(w.last, k)
	return false
}

// Own reports whether the object is as this process's last write left it, and no
// pass has seen it since: false is no promise that somebody else wrote it.
func (w *Written) Own(kind string, obj metav1.Object) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, ok := w.last[writtenKey{kind, obj.GetUID()}]
	have, err := strconv.ParseUint(obj.GetResourceVersion(), 10, 64)
	return ok && err == nil && have == last
}

// Unseen reports whether an object this process created for the owner is
// missing in the listing. Each is asked for once it was seen, so a later
// deletion by somebody else is not taken for a stale cache.
func (w *Written) Unseen(kind string, owner types.UID, listed func(name string) bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := writtenKey{kind, owner}
	for name, at := range w.created[k] {
		if !listed(name) && time.Since(at) < unseenFor {
			return true
		}
		delete(w.created[k], name)
	}
	delete(w.created, k)
	return false
}

// Forget drops the memory of objects created for an owner that is gone.
func (w *Written) Forget(owner types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range w.created {
		if k.uid == owner {
			delete(w.created, k)
		}
	}
	for k := range w.last {
		if k.uid == owner {
			delete(w.last, k)
		}
	}
}
