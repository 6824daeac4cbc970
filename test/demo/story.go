//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/demo/internal/load"
	"github.com/sluice-rollouts/sluice/test/demo/internal/measure"
	"github.com/sluice-rollouts/sluice/test/demo/internal/watch"
)

const (
	// namespace and appName are those of examples/demo; the Rollout and its
	// route share the name.
	namespace = "demo"
	appName   = "app"
	image     = "demo.example/app:"
	// errorPercent of v3's answers are errors.
	errorPercent = "30"
	// workers send the load: so many requests are under way at most.
	workers        = 16
	requestTimeout = 10 * time.Second
	// startLimit bounds how long v1 may take to be served, rolloutLimit one
	// rollout, and afterLimit the measurement of the weight at its end.
	startLimit   = 2 * time.Minute
	rolloutLimit = 5 * time.Minute
	afterLimit   = time.Minute
)

// edit is a change of the Rollout's pod template, and what is to come of it.
type edit struct {
	version string
	// annotations are added to the template's.
	annotations map[string]string
	faulty      bool
}

// story serves v1, rolls out v2, which is to succeed, and v3, which is to be
// taken back. It returns what it saw also when it did not come to its end.
func (d *demo) story(ctx context.Context) ([]measure.Rollout, error) {
	feed := watch.New(watch.Config{
		Client: d.stack.client, Namespace: namespace, Rollout: appName, Route: appName,
		StableService: "app-stable", CanaryService: "app-canary", Clock: d.clock,
	})
	d.feed = feed
	if err := feed.Start(ctx); err != nil {
		return nil, err
	}
	d.load = load.New(load.Config{
		URL: "http://" + d.stack.gateway.Inside, Host: appHost, Dial: d.stack.cluster.Dial,
		Rate: d.rate, Workers: workers, Timeout: requestTimeout, Clock: d.clock,
	})
	stopShow := d.show(ctx)
	defer stopShow()
	d.title("deploying v1")
	if err := d.served(ctx); err != nil {
		return nil, err
	}
	stopLoad := d.sendLoad(ctx)
	defer stopLoad()
	var rollouts []measure.Rollout
	for _, e := range []edit{
		{version: "v2"},
		{version: "v3", annotations: map[string]string{"backend.sluice.dev/error-percent": errorPercent}, faulty: true},
	} {
		r, err := d.roll(ctx, e)
		rollouts = append(rollouts, r)
		if err != nil {
			return rollouts, err
		}
	}
	return rollouts, nil
}

// served waits until v1 is healthy and the gateway serves it.
func (d *demo) served(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("not there after %s", startLimit))
	defer cancel()
	state, err := d.feed.Await(ctx, "v1 to be healthy", func(s watch.State) bool {
		return s.Rollout != nil && s.Rollout.Status.Phase == v1alpha1.RolloutPhaseHealthy
	})
	if err != nil {
		return fmt.Errorf("%w; the rollout is %s", err, describe(state))
	}
	if err := d.load.AwaitServing(ctx); err != nil {
		return err
	}
	d.note("the gateway serves v1; sending %d requests a second", d.rate)
	return nil
}

// sendLoad sends requests until the returned function is called.
func (d *demo) sendLoad(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.load.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// roll changes the pod template, waits for the end of the rollout, and goes on
// until its last weight is measured.
func (d *demo) roll(ctx context.Context, e edit) (measure.Rollout, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, rolloutLimit, fmt.Errorf("no end after %s", rolloutLimit))
	defer cancel()
	before := d.feed.Now().Rollout
	r := measure.Rollout{Version: e.version, Faulty: e.faulty, Weights: expected(before, e.faulty), Began: d.clock()}
	seen := func(err error) (measure.Rollout, error) {
		r.Ended, r.Splits, r.Requests = d.clock(), d.feed.Splits(), d.load.Requests()
		return r, err
	}
	d.title("rolling out " + e.version)
	if err := d.patch(ctx, e); err != nil {
		return seen(err)
	}
	state, err := d.feed.Await(ctx, e.version+" to begin", func(s watch.State) bool {
		return s.Rollout != nil && s.Rollout.Status.CurrentPodHash != before.Status.CurrentPodHash
	})
	if err != nil {
		return seen(fmt.Errorf("%w; the rollout is %s", err, describe(state)))
	}
	r.Revision = state.Rollout.Status.CurrentPodHash
	state, err = d.feed.Await(ctx, e.version+" to end", func(s watch.State) bool { return ended(s.Rollout) })
	if err != nil {
		return seen(fmt.Errorf("%w; the rollout is %s", err, describe(state)))
	}
	d.note("%s: %s", e.version, describe(state))
	if end := state.Rollout.Status; end.Abort != e.faulty || end.Phase == v1alpha1.RolloutPhasePaused {
		return seen(fmt.Errorf("%s ended as it should not: %s", e.version, describe(state)))
	}
	state, err = d.feed.Await(ctx, "all traffic to be on the stable Service", atRest)
	if err != nil {
		return seen(fmt.Errorf("%w; the rollout is %s", err, describe(state)))
	}
	return seen(d.measured(ctx, r))
}

// atRest reports whether no traffic is left on the canary Service.
func atRest(s watch.State) bool {
	if s.Rollout == nil {
		return false
	}
	weights := s.Rollout.Status.Canary.Weights
	return weights != nil && weights.Canary.Weight == 0 && weights.Verified != nil && *weights.Verified && s.Route.Canary == 0
}

// measured waits until the last weight has been measured long enough.
func (d *demo) measured(ctx context.Context, r measure.Rollout) error {
	limit := time.After(afterLimit)
	for tick := time.Tick(100 * time.Millisecond); ; {
		rows := measure.Rows(d.feed.Splits(), d.load.Requests(), r.Revision, d.clock(), measure.DefaultBars)
		if last := len(rows) - 1; last >= 0 && rows[last].Asked == r.Weights[len(r.Weights)-1] &&
			rows[last].Requests >= measure.DefaultBars.Requests {
			return nil
		}
		select {
		case <-tick:
		case <-limit:
			return nil // the checks tell what is missing
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// patch is what a user would do: a new image, and an annotation.
func (d *demo) patch(ctx context.Context, e edit) error {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value string `json:"value"`
	}
	operations := []operation{{"replace", "/spec/template/spec/containers/0/image", image + e.version}}
	for key, value := range e.annotations {
		path := "/spec/template/metadata/annotations/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
		operations = append(operations, operation{"add", path, value})
	}
	data, err := json.Marshal(operations)
	if err != nil {
		return err
	}
	_, err = d.stack.client.Resource(watch.Rollouts).Namespace(namespace).
		Patch(ctx, appName, types.JSONPatchType, data, metav1.PatchOptions{FieldManager: "demo"})
	if err != nil {
		return fmt.Errorf("changing the rollout to %s: %w", e.version, err)
	}
	return nil
}

// expected are the weights a rollout is to ask for: those of its steps, or, if
// its version is faulty, those before the analysis and then 0.
func expected(ro *v1alpha1.Rollout, faulty bool) []float64 {
	var weights []float64
	for _, step := range ro.Spec.Strategy.Canary.Steps {
		switch {
		case step.SetWeight != nil:
			weights = append(weights, float64(*step.SetWeight))
		case step.Analysis != nil && faulty:
			return append(weights, 0)
		}
	}
	return weights
}

// ended reports whether an update has come to its end, good or bad, or waits for
// a user, which no step of the demo asks for.
func ended(ro *v1alpha1.Rollout) bool {
	if ro == nil {
		return false
	}
	switch s := ro.Status; s.Phase {
	case v1alpha1.RolloutPhaseHealthy:
		return s.StableRS == s.CurrentPodHash
	case v1alpha1.RolloutPhaseDegraded:
		return true
	case v1alpha1.RolloutPhasePaused:
		return slices.ContainsFunc(s.PauseConditions, func(c v1alpha1.PauseCondition) bool {
			return c.Reason != v1alpha1.PauseReasonCanaryPauseStep
		})
	default:
		return false
	}
}

func describe(s watch.State) string {
	if s.Rollout == nil {
		return "not there"
	}
	status := s.Rollout.Status
	text := string(status.Phase)
	if text == "" {
		text = "without a phase"
	}
	if status.Message != "" {
		text += ": " + status.Message
	}
	for _, c := range status.Conditions {
		if c.Type == "Blocked" || c.Type == "InvalidSpec" {
			text += fmt.Sprintf("; %s, %s: %s", c.Type, c.Reason, c.Message)
		}
	}
	return text
}
