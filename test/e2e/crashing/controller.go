package crashing

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/sluice-rollouts/sluice/core"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// slow is how long a controller may take to end.
const slow = 30 * time.Second

// controller is a controller in this process that is started again whenever it
// dies. Its connection is what dies: nothing it does afterwards has an effect.
type controller struct {
	wire  *wire
	cfg   core.Config
	lives atomic.Int32
	fatal atomic.Value // error
	stop  context.CancelFunc
	ended chan struct{}
}

// start runs the controller of an App, and only of it, until the test ends.
func start(t *testing.T, on *stage.Stage, app *stage.App, logPath string, plan Plan) *controller {
	t.Helper()
	file, err := os.Create(logPath)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	c := &controller{wire: &wire{plan: plan}, stop: stop, ended: make(chan struct{})}
	c.cfg = core.Config{
		Rest: on.Cluster.Config(), Namespace: app.Namespace, Namespaced: true, InstanceID: app.Controller.Instance,
		PluginDir: on.PluginDir(), Threads: 2, Log: logTo(file),
	}
	go c.live(ctx)
	t.Cleanup(func() {
		stop()
		<-c.ended
		if err, ok := c.fatal.Load().(error); ok {
			t.Error(err)
		}
	})
	return c
}

func logTo(file *os.File) logr.Logger {
	return funcr.New(func(prefix, args string) { _, _ = fmt.Fprintln(file, prefix, args) }, funcr.Options{LogTimestamp: true})
}

// live starts one life after the other.
func (c *controller) live(ctx context.Context) {
	defer close(c.ended)
	for ctx.Err() == nil {
		c.lives.Add(1)
		l := &life{wire: c.wire, dead: make(chan struct{})}
		cfg := c.cfg
		cfg.Rest = rest.CopyConfig(c.cfg.Rest)
		cfg.Rest.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return &branch{life: l, next: next}
		})
		living, end := context.WithCancel(ctx)
		go func() {
			select {
			case <-l.dead:
			case <-living.Done():
			}
			end()
		}()
		ran := make(chan error, 1)
		go func() { ran <- core.Run(living, cfg) }()
		select {
		case err := <-ran:
			c.over(ctx, l, err)
		case <-living.Done():
			select {
			case err := <-ran:
				c.over(ctx, l, err)
			case <-time.After(slow):
				c.fatal.Store(fmt.Errorf("the controller did not end within %s", slow))
				end()
				return
			}
		}
		end()
	}
}

// over notes a controller that ended though nobody asked and nothing killed it.
func (c *controller) over(ctx context.Context, l *life, err error) {
	select {
	case <-l.dead:
		return
	default:
	}
	if ctx.Err() == nil {
		c.fatal.Store(fmt.Errorf("the controller ended by itself: %w", err))
		c.stop()
	}
}

// branch is one client's way through a life.
type branch struct {
	life *life
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *branch) RoundTrip(req *http.Request) (*http.Response, error) {
	return b.life.through(b.next, req)
}
