package bench

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// The steps of 200 Rollouts are set going one after the other, at a pace that
// leaves two cores room: what is measured is how long a step takes, not how many
// fit. Pace and settling matter: on two cores the median ratio was 1.16 with 60 ms
// and 4 s, and 0.99 with 100 ms and 8 s, whose turns differed by 8 % among
// themselves. The first seconds of the hang fall into the settling.
const (
	besides = 50 // Rollouts of the plugin that hangs
	pace    = 100 * time.Millisecond
	rounds  = 3 // alone and beside it, in turns
	// settling comes before each turn, for what creating and deleting the others costs.
	settling = 8 * time.Second
)

// BenchmarkStepsBesideAHungPlugin measures the time from the end of a pause to
// the next one, with a weight between them, for SLUICE_BENCH_STEPPED (200) routed
// Rollouts: alone, and beside 50 others whose router answers nothing, for ever.
func BenchmarkStepsBesideAHungPlugin(b *testing.B) {
	out, err := exec.CommandContext(b.Context(), "go", "build", "-buildvcs=false", "-o", filepath.Join(on.PluginDir(), "hangs"), "../../core/internal/plugins/evilplugin").CombinedOutput()
	require.NoError(b, err, "%s", out)
	c := on.NewController(b, stage.ControllerOptions{Instance: "hung", Plugins: []string{"gatewayapi", "hangs"}})
	c.Start(b)
	var steps []string
	for weight := range 2*rounds + 2 {
		steps = append(steps, fmt.Sprintf("{setWeight: %d}, {pause: {}}", 10+weight))
	}
	f := newFleet(b, c, size(b, "SLUICE_BENCH_STEPPED", 200), shape{replicas: 1, routed: true, steps: "[" + strings.Join(steps, ", ") + "]"})
	f.create()
	f.await(10 * time.Minute)
	p := newPacer(f)
	f.update("v2")
	p.await("at their first pause", func() bool { return len(p.paused) == f.size })
	// They never begin, so that nothing but themselves comes and goes with them;
	// what they name stays.
	others := newFleet(b, c, besides, shape{replicas: 1, routed: true, steps: measured, router: "hangs: {do: hang}"})
	others.create()
	others.remove()
	for b.Loop() {
		p.round() // for the caches
		var alone, beside []time.Duration
		for range rounds {
			time.Sleep(settling)
			alone = append(alone, p.round()...)
			before := c.Counters(b)
			others.create()
			time.Sleep(settling)
			beside = append(beside, p.round()...)
			calls := of("hangs ", c.Counters(b).Since(before).Calls)
			require.Positive(b, total(calls), "the plugin was asked, and hung: %v", calls)
			others.remove()
		}
		b.ReportMetric(0, "ns/op")
		for name, share := range map[string]float64{"median": 0.5, "p99": 0.99} {
			without, with := percentile(alone, share), percentile(beside, share)
			ratio := with.Seconds() / without.Seconds()
			fmt.Printf("%s: %s of %d and %d steps: %.1f ms alone, %.1f ms beside a plugin that hangs: %.3f times\n",
				b.Name(), name, len(alone), len(beside), 1000*without.Seconds(), 1000*with.Seconds(), ratio)
			b.ReportMetric(ratio, name+"-ratio")
			if name == "median" {
				bar(b, "time per step, beside one that hangs / alone", ratio, 1.05)
			}
		}
	}
}

// of are those counts whose names begin so.
func of(prefix string, counted map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for what, n := range counted {
		if strings.HasPrefix(what, prefix) {
			out[what] = n
		}
	}
	return out
}

// pacer ends pauses, and measures until the next one.
type pacer struct {
	*fleet
	mu sync.Mutex
	// paused is the step at which each Rollout pauses, began when its last pause
	// was ended.
	paused map[string]int32
	began  map[string]time.Time
	took   []time.Duration
	moved  chan struct{}
}

func newPacer(f *fleet) *pacer {
	p := &pacer{fleet: f, paused: map[string]int32{}, began: map[string]time.Time{}, moved: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look = p.see
	return p
}

func (p *pacer) see(ro *v1alpha1.Rollout) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := ro.Status.CurrentStepIndex
	if at == nil || len(ro.Status.PauseConditions) == 0 || *at == p.paused[ro.Name] {
		return
	}
	p.paused[ro.Name] = *at
	if began, ok := p.began[ro.Name]; ok {
		p.took = append(p.took, time.Since(began))
	}
	select {
	case p.moved <- struct{}{}:
	default:
	}
}

// round ends one pause of each Rollout, and returns how long each took to its
// next one.
func (p *pacer) round() []time.Duration {
	p.b.Helper()
	p.mu.Lock()
	p.took = nil
	p.mu.Unlock()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for i := range p.size {
		<-tick.C
		ro := &v1alpha1.Rollout{}
		ro.Namespace, ro.Name = p.namespace, fmt.Sprintf("app-%d", i)
		p.mu.Lock()
		p.began[ro.Name] = time.Now()
		p.mu.Unlock()
		patch := client.RawPatch(types.MergePatchType, []byte(`{"status": {"pauseConditions": null}}`))
		require.NoError(p.b, on.Client.Status().Patch(p.ctx, ro, patch))
	}
	p.await("at their next pause", func() bool { return len(p.took) == p.size })
	return p.took
}

func (p *pacer) await(what string, reached func() bool) {
	p.b.Helper()
	for over := time.After(10 * time.Minute); ; {
		p.mu.Lock()
		ok := reached()
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-p.moved:
		case <-over:
			p.b.Fatalf("not all are %s\n%s", what, p.controller.LogTail(20))
		}
	}
}
