package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// size is a number from the environment, so that a small machine can measure
// less; the default is what the bars are about.
func size(b *testing.B, name string, normal int) int {
	b.Helper()
	s := os.Getenv(name)
	if s == "" {
		return normal
	}
	n, err := strconv.Atoi(s)
	require.NoError(b, err, name)
	return n
}

// bar prints a figure beside what it has to stay under.
func bar(b *testing.B, what string, have, most float64) {
	b.Helper()
	mark := "ok"
	if have > most {
		mark = "ABOVE THE BAR"
	}
	fmt.Printf("%-52s %10.1f  (bar %.3g) %s\n", b.Name()+": "+what, have, most, mark)
}

// quiet waits until the controller asks nothing of the API server any more, the
// recorder's events included, and returns its counters.
func quiet(b *testing.B, c *stage.Controller) stage.Counters {
	b.Helper()
	last := c.Counters(b)
	for since, end := time.Now(), time.Now().Add(5*time.Minute); time.Since(since) < 3*time.Second; time.Sleep(500 * time.Millisecond) {
		require.True(b, time.Now().Before(end), "the controller does not come to rest")
		now := c.Counters(b)
		if moved := now.Since(last); len(moved.Writes)+len(moved.Reads) > 0 || moved.Events > 0 {
			last, since = now, time.Now()
		}
	}
	return last
}

// BenchmarkBasicCanaries updates many canaries without traffic routing at once.
// Argo Rollouts: 20 requests and 10 for events, 63 ms CPU, half done after
// 114 s, 128 MB; 9.1 requests on creation. With SLUICE_BENCH_REFERENCE, the path
// of its controller, that does the same work first, and CPU and memory are held
// against what it took on this machine.
func BenchmarkBasicCanaries(b *testing.B) {
	n, s := size(b, "SLUICE_BENCH_BASIC", 300), shape{replicas: 2, steps: measured}
	most := cost{requests: 15, cpu: 20, half: 20, memory: 80}
	reference := stage.Reference(os.Getenv("SLUICE_BENCH_REFERENCE"))
	if reference == "" {
		updateFleet(b, n, s, "").judge(b, most)
		return
	}
	var theirs cost
	b.Run("Reference", func(b *testing.B) { theirs = updateFleet(b, n, s, reference) })
	b.Run("Sluice", func(b *testing.B) {
		require.NotZero(b, theirs.requests, "the reference was measured")
		ours := updateFleet(b, n, s, "")
		ours.judge(b, cost{requests: most.requests, cpu: most.cpu / 63 * theirs.cpu, half: most.half, memory: most.memory / 128 * theirs.memory})
		bar(b, "CPU, % of the reference's", 100*ours.cpu/theirs.cpu, 100*most.cpu/63)
		bar(b, "memory, % of the reference's", 100*ours.memory/theirs.memory, 100*most.memory/128)
	})
	// Of a fleet's the reference drops some, so the events are those of one alone.
	b.Run("ReferenceAlone", func(b *testing.B) { theirs = updateFleet(b, 1, s, reference) })
	b.Run("SluiceAlone", func(b *testing.B) {
		ours := updateFleet(b, 1, s, "")
		require.Equal(b, theirs.reasons, ours.reasons, "the reasons of the events, in order")
		fmt.Printf("%s: %d events for the same reasons in the same order: %s\n", b.Name(), len(ours.reasons), strings.Join(ours.reasons, ", "))
	})
}

// BenchmarkRoutedCanaries updates canaries behind the Gateway API. Argo
// Rollouts: 60 requests, 170 ms CPU, half done after 363 s.
func BenchmarkRoutedCanaries(b *testing.B) {
	updateFleet(b, size(b, "SLUICE_BENCH_ROUTED", 100), shape{replicas: 2, routed: true, steps: measured}, "").
		judge(b, cost{requests: 24, cpu: 170, half: 25, memory: 128})
}

// cost of one update: requests besides events, CPU milliseconds, seconds until
// half of the fleet are done; the megabytes of the controller afterwards; and
// the reasons of one rollout's events in their order.
type cost struct {
	requests, cpu, half, memory float64
	reasons                     []string
}

// judge prints the cost beside what it has to stay under.
func (c cost) judge(b *testing.B, most cost) {
	b.Helper()
	bar(b, "requests besides events/update", c.requests, most.requests)
	bar(b, "CPU ms/update", c.cpu, most.cpu)
	bar(b, "seconds until half are done", c.half, most.half)
	bar(b, "memory MB", c.memory, most.memory)
}

// updateFleet creates n Rollouts and updates them all at once.
func updateFleet(b *testing.B, n int, s shape, by stage.Reference) (out cost) {
	c := on.NewController(b, stage.ControllerOptions{Instance: "fleet", Reference: by})
	c.Start(b)
	f := newFleet(b, c, n, s)
	start := quiet(b, c)
	f.create()
	f.await(10 * time.Minute)
	before := quiet(b, c)
	created := before.Since(start)
	updates := 0
	for b.Loop() {
		updates++
		require.Equal(b, 1, updates, "run with -benchtime 1x")
		f.update("v2")
		times := f.await(15 * time.Minute)
		after := quiet(b, c)
		moved := after.Since(before)
		require.Empty(b, moved.Violations)
		count := float64(n)
		out = cost{
			requests: (total(moved.Writes) + total(moved.Reads)) / count,
			cpu:      1000 * moved.CPU / count,
			half:     percentile(times, 0.5).Seconds(),
			memory:   after.Memory / 1e6,
			reasons:  f.reasons("app-0"),
		}
		fmt.Printf("%s: one update:%s\n", b.Name(), list(merge(moved.Writes, moved.Reads), n))
		fmt.Printf("%s: one creation:%s events %.1f\n", b.Name(), list(merge(created.Writes, created.Reads), n), created.Events/count)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(out.requests, "requests/update")
		b.ReportMetric(moved.Events/count, "events/update")
		b.ReportMetric((total(created.Writes)+total(created.Reads))/count, "requests/creation")
		b.ReportMetric(total(moved.Passes)/count, "passes/update")
		b.ReportMetric(total(moved.Calls)/count, "plugin-calls/update")
		b.ReportMetric(out.cpu, "cpu-ms/update")
		b.ReportMetric(out.half, "half-s")
		b.ReportMetric(percentile(times, 1).Seconds(), "all-s")
		b.ReportMetric(out.memory, "MB")
	}
	return out
}

func merge(a, b map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for _, m := range []map[string]float64{a, b} {
		for k, v := range m {
			out[k] += v
		}
	}
	return out
}

// BenchmarkRest counts what many Rollouts at rest ask of the API server, over
// SLUICE_BENCH_REST_SECONDS (600).
func BenchmarkRest(b *testing.B) {
	n, seconds := size(b, "SLUICE_BENCH_RESTING", 50), size(b, "SLUICE_BENCH_REST_SECONDS", 600)
	c := on.NewController(b, stage.ControllerOptions{Instance: "resting"})
	c.Start(b)
	f := newFleet(b, c, n, shape{replicas: 1, routed: true, steps: measured})
	f.create()
	f.await(5 * time.Minute)
	for b.Loop() {
		before := quiet(b, c)
		time.Sleep(time.Duration(seconds) * time.Second)
		moved := c.Counters(b).Since(before)
		bar(b, fmt.Sprintf("requests in %d s", seconds), total(moved.Writes)+total(moved.Reads)+moved.Events, 0)
		bar(b, "plugin calls", total(moved.Calls), 0)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(total(moved.Writes)+total(moved.Reads)+moved.Events, "requests")
		b.ReportMetric(1000*moved.CPU/float64(n), "cpu-ms/rollout")
	}
}

// BenchmarkColdStart starts a controller among SLUICE_BENCH_COLD (5,000)
// Rollouts at rest: how long until it asks nothing any more, and its memory.
func BenchmarkColdStart(b *testing.B) {
	n := size(b, "SLUICE_BENCH_COLD", 5000)
	c := on.NewController(b, stage.ControllerOptions{Instance: "cold"})
	c.Start(b)
	// Without pods: what a rollout costs at rest does not depend on them.
	f := newFleet(b, c, n, shape{replicas: 0, routed: false, steps: measured})
	f.create()
	f.await(30 * time.Minute)
	quiet(b, c)
	for b.Loop() {
		c.Stop(b)
		began := time.Now()
		c.Start(b)
		after := quiet(b, c)
		bar(b, "seconds until quiet", time.Since(began).Seconds()-3, 60)
		bar(b, "memory MB", after.Memory/1e6, 400)
		bar(b, "writes besides events", total(after.Writes), 0)
		bar(b, "events missing", float64(n)-after.Events, 0)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(time.Since(began).Seconds()-3, "quiet-s")
		b.ReportMetric(after.Memory/1e6, "MB")
		b.ReportMetric(after.CPU, "cpu-s")
	}
}

// BenchmarkMisbehaving updates Rollouts alone, and again beside others that fail
// at every attempt, one in a thousand and at least one: the queue serves every
// key.
func BenchmarkMisbehaving(b *testing.B) {
	n := size(b, "SLUICE_BENCH_ROUTED", 100)
	c := on.NewController(b, stage.ControllerOptions{Instance: "beside"})
	c.Start(b)
	f := newFleet(b, c, n, shape{replicas: 1, routed: true, steps: measured})
	f.create()
	f.await(10 * time.Minute)
	for b.Loop() {
		f.update("v2")
		alone := percentile(f.await(15*time.Minute), 0.99)
		bad := newFleet(b, c, max(1, n/1000), shape{replicas: 1, routed: true, steps: measured, broken: true})
		bad.create()
		before := c.Counters(b)
		f.update("v3")
		beside := percentile(f.await(15*time.Minute), 0.99)
		failed := c.Counters(b).Since(before).Writes["post replicasets"] - float64(n)
		require.Positive(b, failed, "the misbehaving rollouts failed all the while")
		bar(b, "99 of 100 are done, beside a failing one / alone", beside.Seconds()/alone.Seconds(), 1.5)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(alone.Seconds(), "alone-s")
		b.ReportMetric(beside.Seconds(), "beside-s")
		b.ReportMetric(failed, "failures")
	}
}
