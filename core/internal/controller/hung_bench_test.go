package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/plugins"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// empty is a broker whose objects are all read and none there.
type empty struct{}

func (empty) Resolve(_ rollout.Caller, _ string, _ rollout.Grant, needs []rollout.Need) []rollout.NeedResult {
	out := make([]rollout.NeedResult, len(needs))
	for i, n := range needs {
		out[i] = rollout.NeedResult{Need: n, State: rollout.NeedSynced}
	}
	return out
}

func (empty) Apply(context.Context, rollout.Caller, rollout.Grant, []rollout.NeedResult, []rollout.Write) error {
	return nil
}

func (empty) Forget(string) {}

// desk is ten workers over real plugin processes, one of which may hang.
type hungDesk struct {
	*Routers
	work chan func()
}

const (
	others = 200 // rollouts of the plugin that works
	hung   = 50  // rollouts of the one that does not
)

func newHungDesk(b *testing.B) *hungDesk {
	b.Helper()
	dir := b.TempDir()
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "fine"), "../plugins/evilplugin").CombinedOutput()
	if err != nil {
		b.Fatalf("building the test plugin: %v\n%s", err, out)
	}
	if err := os.Symlink(filepath.Join(dir, "fine"), filepath.Join(dir, "hung")); err != nil {
		b.Fatal(err)
	}
	host, err := plugins.New(plugins.Options{PluginDir: dir})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = host.Run(ctx)
	}()
	b.Cleanup(func() {
		stop()
		<-ended
	})
	d := &hungDesk{work: make(chan func(), 10_000)}
	d.Routers = NewRouters(RoutersOptions{
		Plugin: func(name string) (RouterPlugin, *rollout.Problem) {
			r, problem := host.Router(name)
			if problem != nil {
				return nil, problem
			}
			return r, nil
		},
		Objects: empty{}, Rollouts: func() []*v1alpha1.Rollout { return nil },
		Ring: func(key types.NamespacedName) {
			if key.Namespace == "hung" {
				d.work <- func() { d.pass(ctx, "hung", key.Name, 0) }
			}
		},
	})
	for range 10 {
		go func() {
			for {
				select {
				case f := <-d.work:
					f()
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	return d
}

// pass observes one Rollout after a change of its spec.
func (d *hungDesk) pass(ctx context.Context, plugin, name string, generation int64) bool {
	config := `{}`
	if plugin == "hung" {
		config = `{"do":"hang"}`
	}
	ro := shop(config)
	ro.Namespace, ro.Name, ro.UID, ro.Generation = plugin, name, types.UID(plugin+name), generation
	ro.Spec.Strategy.Canary.TrafficRouting.Plugins = map[string]json.RawMessage{plugin: json.RawMessage(config)}
	return d.ObserveAll(ctx, ro)[0].Problem == nil
}

// round is how long the workers take for one pass of every other rollout.
func (d *hungDesk) round(b *testing.B, generation int64) time.Duration {
	var left sync.WaitGroup
	began := time.Now()
	for i := range others {
		left.Add(1)
		var f func()
		f = func() {
			if !d.pass(context.Background(), "fine", fmt.Sprint(i), generation) {
				d.work <- f
				return
			}
			left.Done()
		}
		d.work <- f
	}
	left.Wait()
	return time.Since(began)
}

// BenchmarkBesideAHungPlugin compares how long 200 rollouts take for a step
// while another plugin hangs with 50 rollouts, and without it, in one run.
func BenchmarkBesideAHungPlugin(b *testing.B) {
	d := newHungDesk(b)
	const rounds = 25
	generation := int64(0)
	measure := func() time.Duration {
		took := make([]time.Duration, rounds)
		for i := range took {
			generation++
			took[i] = d.round(b, generation)
		}
		slices.Sort(took)
		return took[rounds/2]
	}
	measure() // Processes are started, and memories filled.
	for b.Loop() {
		without := measure()
		for i := range hung {
			d.work <- func() { d.pass(context.Background(), "hung", fmt.Sprint(i), 0) }
		}
		with := measure()
		ratio := float64(with) / float64(without)
		b.ReportMetric(0, "ns/op") // meaningless here
		b.ReportMetric(ratio, "with/without")
		b.ReportMetric(float64(without.Microseconds())/others, "µs/step")
		fmt.Printf("%d rollouts beside a plugin that hangs with %d: a step takes %.3f times as long (median of %d rounds)\n", others, hung, ratio, rounds)
		if ratio > 1.05 {
			b.Errorf("a hung plugin slows others down: %.3f times as long, at most 1.05", ratio)
		}
	}
}
