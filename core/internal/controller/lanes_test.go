package controller

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// gated is a plugin that answers when the gate is opened.
type gated struct {
	*plugin
	gate chan struct{}

	mu    sync.Mutex
	asked int
	most  int
	now   int
}

func (g *gated) enter() {
	g.mu.Lock()
	g.asked++
	g.now++
	g.most = max(g.most, g.now)
	g.mu.Unlock()
	<-g.gate
	g.mu.Lock()
	g.now--
	g.mu.Unlock()
}

func (g *gated) started() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked
}

func (g *gated) Validate(context.Context, rollout.ValidateRequest) ([]rollout.Need, string, *rollout.Problem) {
	return nil, "", nil
}

func (g *gated) Observe(context.Context, rollout.ObserveRequest) (rollout.ObserveAnswer, *rollout.Problem) {
	g.enter()
	return rollout.ObserveAnswer{Observation: rollout.Observation{Convergence: rollout.ConvergenceDone}}, nil
}

func (g *gated) Route(context.Context, rollout.RouteRequest) (rollout.RouteAnswer, *rollout.Problem) {
	g.enter()
	return rollout.RouteAnswer{}, nil
}

// slowDesk has a plugin that does not answer before its gate opens, and one
// that answers at once.
type slowDesk struct {
	*Routers
	slow *gated
	fast *plugin
	rang chan types.NamespacedName
}

func newSlowDesk() *slowDesk {
	d := &slowDesk{
		slow: &gated{plugin: &plugin{generation: "1", able: rollout.Capabilities{Observe: true}}, gate: make(chan struct{})},
		fast: &plugin{generation: "1", able: rollout.Capabilities{Observe: true}},
		rang: make(chan types.NamespacedName, 10_000),
	}
	d.Routers = NewRouters(RoutersOptions{
		Plugin: func(name string) (RouterPlugin, *rollout.Problem) {
			if name == "test/slow" {
				return d.slow, nil
			}
			return d.fast, nil
		},
		Objects:  newWorld("web"),
		Rollouts: func() []*v1alpha1.Rollout { return nil },
		Lanes:    &Lanes{Patience: time.Millisecond},
		Ring:     func(key types.NamespacedName) { d.rang <- key },
	})
	return d
}

func (d *slowDesk) rollout(name, router string) *v1alpha1.Rollout {
	ro := shop(`{}`)
	ro.Name, ro.UID = name, types.UID("uid-"+name)
	plugins := ro.Spec.Strategy.Canary.TrafficRouting.Plugins
	plugins[router] = plugins["test/router"]
	delete(plugins, "test/router")
	return ro
}

// answered makes passes until there is an answer: with a millisecond of
// patience, a busy machine makes even a plugin that answers at once late.
func (d *slowDesk) answered(ro *v1alpha1.Rollout) rollout.Router {
	for {
		got := d.ObserveAll(context.Background(), ro)[0]
		if got.Problem == nil || got.Problem.Class != rollout.ProblemWaiting {
			return got
		}
		runtime.Gosched()
	}
}

// validated makes passes until Observe has been asked.
func (d *slowDesk) validated(ro *v1alpha1.Rollout) {
	for d.slow.started() == 0 {
		d.ObserveAll(context.Background(), ro)
	}
	for len(d.rang) > 0 {
		<-d.rang
	}
}

func TestALateAnswerIsKeptForTheNextPass(t *testing.T) {
	d := newSlowDesk()
	ro := d.rollout("web", "test/slow")
	d.validated(ro)
	for range 3 {
		got := d.ObserveAll(context.Background(), ro)[0]
		require.NotNil(t, got.Problem)
		assert.Equal(t, rollout.ProblemWaiting, got.Problem.Class)
		assert.Equal(t, "WaitingForPlugin", got.Problem.Reason)
		assert.Equal(t, "plugin test/slow has been asked and has not answered yet", got.Problem.Message)
	}
	assert.Equal(t, 1, d.slow.started(), "one call per object, however many passes")

	close(d.slow.gate)
	assert.Equal(t, key(ro), <-d.rang, "the answer asks for the pass")
	got := d.ObserveAll(context.Background(), ro)[0]
	require.Nil(t, got.Problem)
	assert.Equal(t, rollout.ConvergenceDone, got.Observation.Convergence)
	assert.Equal(t, 1, d.slow.started(), "the kept answer is the answer")
}

func TestALateRouteIsNotMadeTwice(t *testing.T) {
	d := newSlowDesk()
	ro := d.rollout("web", "test/slow")
	d.validated(ro)
	d.slow.gate <- struct{}{}
	<-d.rang
	observed := d.answered(ro)
	require.Nil(t, observed.Problem)

	_, err := d.Route(context.Background(), ro, desire(observed, 10))
	assert.True(t, rollout.IsWaiting(err), "%v", err)
	d.slow.gate <- struct{}{}
	<-d.rang
	_, err = d.Route(context.Background(), ro, desire(observed, 10))
	require.NoError(t, err)
	assert.Equal(t, 2, d.slow.started())

	// What is wanted by then is something else: the late answer does not count.
	_, err = d.Route(context.Background(), ro, desire(observed, 20))
	assert.True(t, rollout.IsWaiting(err), "%v", err)
	d.slow.gate <- struct{}{}
	<-d.rang
	close(d.slow.gate)
	for _, err = d.Route(context.Background(), ro, desire(observed, 30)); rollout.IsWaiting(err); _, err = d.Route(context.Background(), ro, desire(observed, 30)) {
		<-d.rang
	}
	require.NoError(t, err)
	assert.False(t, apierrors.IsConflict(err))
	assert.Equal(t, 4, d.slow.started())
}

// One plugin hangs with as many rollouts as there are: it gets four calls at
// once, the rest wait in its line, and the others' are answered in the pass that
// asks.
func TestAHungPluginHoldsUpNobodyElse(t *testing.T) {
	d := newSlowDesk()
	var stuck []*v1alpha1.Rollout
	for i := range 50 {
		ro := d.rollout(fmt.Sprintf("stuck-%d", i), "test/slow")
		stuck = append(stuck, ro)
		assert.Equal(t, rollout.ProblemWaiting, d.ObserveAll(context.Background(), ro)[0].Problem.Class)
	}
	assert.True(t, d.Lanes.of("test/slow").stuck())
	for i := range 200 {
		ro := d.rollout(fmt.Sprintf("fine-%d", i), "test/fast")
		require.Nil(t, d.answered(ro).Problem)
	}
	assert.False(t, d.Lanes.of("test/fast").stuck())

	close(d.slow.gate)
	for _, ro := range stuck {
		assert.Nil(t, d.answered(ro).Problem)
	}
	assert.Equal(t, len(stuck), d.slow.started())
	assert.LessOrEqual(t, d.slow.most, laneWidth)
	assert.False(t, d.Lanes.of("test/slow").stuck(), "and all is as before")
}

func TestAPanicOfACallIsThatOfThePass(t *testing.T) {
	var at *flight
	l := (&Lanes{Patience: time.Minute}).of("x")
	assert.PanicsWithValue(t, "boom", func() {
		ask(context.Background(), l, &at, "k", func() {}, func(context.Context) int { panic("boom") })
	})
	got, late := ask(context.Background(), l, &at, "k", func() {}, func(context.Context) int { return 7 })
	assert.False(t, late)
	assert.Equal(t, 7, got)
}

func TestOnlySomeWorkersWaitLongForOnePlugin(t *testing.T) {
	l, gate := newLane(time.Hour, time.Millisecond), make(chan struct{})
	late := make(chan bool)
	for range 10 {
		go func() {
			var at *flight
			_, missed := ask(t.Context(), l, &at, "question", func() {}, func(context.Context) int {
				<-gate
				return 1
			})
			late <- missed
		}()
	}
	for range 10 - laneWaiters {
		assert.True(t, <-late)
	}
	close(gate)
	for range laneWaiters {
		assert.False(t, <-late)
	}
}

// A plugin that hangs is killed, comes back and may hang again: no worker waits
// for it until a call has been answered in time.
func TestNobodyWaitsForAPluginThatWasSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lanes := &Lanes{}
		var rang atomic.Int32
		ask := func(takes time.Duration) (late bool, waited time.Duration) {
			var at *flight
			began := time.Now()
			pass, over := context.WithTimeout(t.Context(), patience)
			defer over()
			_, late = ask(pass, lanes.of("test/slow"), &at, "", func() { rang.Add(1) }, func(context.Context) bool {
				time.Sleep(takes)
				return true
			})
			waited = time.Since(began)
			time.Sleep(time.Minute) // in which the call ends
			return late, waited
		}
		late, waited := ask(5 * time.Second)
		assert.True(t, late)
		assert.Equal(t, patience, waited)

		late, waited = ask(time.Millisecond)
		assert.True(t, late, "it may hang again")
		assert.Zero(t, waited)
		assert.EqualValues(t, 2, rang.Load(), "both answers are told")

		late, waited = ask(time.Millisecond)
		assert.False(t, late, "it is well again")
		assert.Equal(t, time.Millisecond, waited)
	})
}
