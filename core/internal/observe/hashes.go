package observe

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// hashes remembers those of each Rollout until its spec changes. The zero value is
// ready to use.
type hashes struct {
	mu sync.Mutex
	of map[types.NamespacedName]hashed
}

type hashed struct {
	uid        types.UID
	generation int64
	collisions int32
	rollout.Hashes
}

// get computes them where they are not known. A template that comes from another
// object changes without the Rollout: nothing is remembered of those.
func (h *hashes) get(ro *v1alpha1.Rollout) rollout.Hashes {
	if ro.Spec.WorkloadRef != nil {
		return rollout.HashesOf(ro)
	}
	key := types.NamespacedName{Namespace: ro.Namespace, Name: ro.Name}
	now := hashed{uid: ro.UID, generation: ro.Generation}
	if n := ro.Status.CollisionCount; n != nil {
		now.collisions = *n + 1 // none is not 0: only a count is part of the hash
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.of[key]
	if now.Hashes = known.Hashes; now == known {
		return known.Hashes
	}
	now.Hashes = rollout.HashesOf(ro)
	if h.of == nil {
		h.of = map[types.NamespacedName]hashed{}
	}
	h.of[key] = now
	return now.Hashes
}

func (h *hashes) forget(key types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.of, key)
}
