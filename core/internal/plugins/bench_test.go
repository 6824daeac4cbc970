package plugins

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// BenchmarkRouteOverTheBoundary is one Route call to a process that answers at
// once with one write: gRPC, TLS, a unix socket, and the check of the answer.
func BenchmarkRouteOverTheBoundary(b *testing.B) {
	w := newWorld(b, nil, "evil")
	r, problem := w.Router("evil")
	if problem != nil {
		b.Fatal(problem)
	}
	req := rollout.RouteRequest{
		Config: request("").Config, Desired: argoTraffic(10, beta),
		Inputs: []rollout.NeedResult{{State: rollout.NeedSynced, Objects: []rollout.Object{{JSON: make([]byte, 4<<10)}}}},
	}
	for _, problem := r.Route(context.Background(), req); problem != nil; _, problem = r.Route(context.Background(), req) {
		time.Sleep(time.Millisecond) // It is being started.
	}
	const calls = 2000
	took := make([]time.Duration, 0, calls)
	b.ReportAllocs()
	allocs := testing.AllocsPerRun(100, func() { _, _ = r.Route(context.Background(), req) })
	for b.Loop() {
		for range calls {
			began := time.Now()
			if _, problem := r.Route(context.Background(), req); problem != nil {
				b.Fatal(problem)
			}
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	b.ReportMetric(0, "ns/op") // meaningless here
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(allocs, "allocs/call")
	fmt.Printf("Route over the process boundary: %d calls, %.0f allocations each\n", len(took), allocs)
}
