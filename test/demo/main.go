//go:build linux

// The demo is a canary on one machine, with nothing simulated but the nodes and
// the app: a real Kubernetes control plane, a real gateway, a real Prometheus,
// the controller under its own RBAC and its plugins as processes of their own.
// It rolls out a good version and a bad one under load, measures at the client
// what the gateway was asked for, and succeeds only if all of it held:
//
//	go run ./test/demo
//
// Package measure decides what holds; stack.go starts what is needed, story.go
// tells what happens, rest.go looks at the minute after it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sluice-rollouts/sluice/test/demo/internal/load"
	"github.com/sluice-rollouts/sluice/test/demo/internal/measure"
	"github.com/sluice-rollouts/sluice/test/demo/internal/view"
	"github.com/sluice-rollouts/sluice/test/demo/internal/watch"
)

// options are the demo's flags.
type options struct {
	keep  bool
	quiet time.Duration
	rate  int
}

func main() {
	var o options
	flag.BoolVar(&o.keep, "keep", os.Getenv("KEEP") == "1", "leave everything running at the end and say how to reach it; also with KEEP=1")
	flag.DurationVar(&o.quiet, "quiet-minute", time.Minute, "how long to watch, after the rollouts, that nothing goes on; 0 leaves that out")
	flag.IntVar(&o.rate, "rate", 200, "requests a second to send through the gateway")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// After the first signal the next one ends this process at once; the cluster
	// ends with it.
	context.AfterFunc(ctx, stop)
	stopWithParent(ctx, stop)

	held, err := run(ctx, o)
	switch {
	case err != nil:
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	case !held:
		fmt.Fprintln(os.Stderr, "\ndemo: not everything held, see above")
		os.Exit(1)
	}
}

// stopWithParent calls stop when the go command that runs this program has
// ended: a signal to it alone would leave the demo behind.
func stopWithParent(ctx context.Context, stop func()) {
	parent := os.Getppid()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", parent))
	if err != nil || strings.TrimSpace(string(name)) != "go" {
		return
	}
	go func() {
		for tick := time.Tick(time.Second); os.Getppid() == parent; {
			select {
			case <-ctx.Done():
				return
			case <-tick:
			}
		}
		stop()
	}()
}

// demo is a run of the demo.
type demo struct {
	options
	began time.Time
	view  *view.View
	stack *stack
	// heading is what the view says is being done.
	heading atomic.Pointer[string]
	// feed and load are there once the app is.
	feed *watch.Feed
	load *load.Load
}

// clock is how long the demo has been running; it never jumps.
func (d *demo) clock() time.Duration { return time.Since(d.began) }

func (d *demo) note(format string, args ...any) { d.view.Note(d.clock(), format, args...) }

// run runs the demo and reports whether everything held. An error says why that
// is not known.
func run(ctx context.Context, o options) (held bool, err error) {
	d := &demo{options: o, began: time.Now(), view: view.New(os.Stdout)}
	logs, err := os.MkdirTemp("", "sluice-demo-")
	if err != nil {
		return false, err
	}
	d.stack = &stack{demo: d, logs: logs}
	signalled := ctx
	defer func() { err = d.end(held, signalled.Err() != nil, err) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.stack.failed = cancel

	if err := d.stack.up(ctx); err != nil {
		return false, cause(ctx, err)
	}
	rollouts, err := d.story(ctx)
	if signalled.Err() != nil {
		return false, cause(ctx, err) // half a story holds nothing
	}
	d.view.Print("\n")
	if len(rollouts) > 0 {
		d.view.Print(measure.Table(rollouts, measure.DefaultBars) + "\n")
	}
	var checks []measure.Check
	for _, r := range rollouts {
		checks = append(checks, r.Checks(measure.DefaultBars)...)
	}
	if err == nil && o.quiet > 0 {
		var rest []measure.Check
		rest, err = d.rest(ctx)
		checks = append(checks, rest...)
	}
	d.view.Print(measure.Report(checks))
	return measure.Passed(checks), cause(ctx, err)
}

// end leaves everything running if that was asked for, or ends it. The logs of
// a demo that did not succeed stay, unless somebody stopped it.
func (d *demo) end(held, stopped bool, err error) error {
	if d.keep && d.stack.app && !stopped {
		return errors.Join(err, d.stack.leave())
	}
	err = errors.Join(err, d.stack.down())
	if held && err == nil || stopped {
		return errors.Join(err, os.RemoveAll(d.stack.logs))
	}
	d.view.Print("\nlogs of all processes: " + d.stack.logs + "\n")
	return err
}

// cause replaces the error of a context by why the context ended.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
		return context.Cause(ctx)
	}
	return err
}
