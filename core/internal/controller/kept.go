package controller

import (
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/internal/record"
)

// kept remembers since when a status that may wait is kept back. Losing it
// costs nothing: every pass computes the whole status anew. The zero value is
// ready to use.
type kept struct {
	mu    sync.Mutex
	since map[client.ObjectKey]time.Time
}

// until is when the status of the Rollout has to be written at the latest.
func (k *kept) until(key client.ObjectKey, now time.Time) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.since == nil {
		k.since = map[client.ObjectKey]time.Time{}
	}
	if _, ok := k.since[key]; !ok {
		k.since[key] = now
	}
	return k.since[key].Add(record.Patience)
}

// forget is called when the status says everything.
func (k *kept) forget(key client.ObjectKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.since, key)
}
