//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/demo/internal/measure"
	"github.com/sluice-rollouts/sluice/test/demo/internal/view"
	"github.com/sluice-rollouts/sluice/test/demo/internal/watch"
)

// showEvery is how often the view is drawn while nothing changes.
const showEvery = 250 * time.Millisecond

// hashLabel identifies the revision of a ReplicaSet.
const hashLabel = "rollouts-pod-template-hash"

// title sets what the view says is being done.
func (d *demo) title(text string) { d.heading.Store(&text) }

// show draws the view until the returned function is called.
func (d *demo) show(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.Tick(showEvery); ctx.Err() == nil; {
			changed := d.feed.Changed()
			f := frame(d.feed.Now(), d.feed.Splits(), d.load.Requests(), d.clock())
			f.Title = *d.heading.Load()
			d.view.Show(f)
			select {
			case <-tick:
			case <-changed:
			case <-ctx.Done():
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// frame makes of what was seen what is shown.
func frame(s watch.State, splits []measure.Split, requests []measure.Request, now time.Duration) view.Frame {
	f := view.Frame{Elapsed: now, Sent: len(requests)}
	for _, q := range requests {
		if q.Problem != "" {
			f.Failed++
		}
	}
	counts := measure.Current(splits, requests, now, measure.DefaultBars)
	total := 0
	for _, n := range counts {
		total += n
	}
	for _, set := range s.Sets {
		version, hash := imageTag(set), set.Labels[hashLabel]
		if wanted := wantedReplicas(set); wanted > 0 || set.Status.Replicas > 0 {
			f.Sets = append(f.Sets, view.Set{Version: version, Available: set.Status.AvailableReplicas, Wanted: wanted})
		}
		if n := counts[hash]; n > 0 {
			f.Shares = append(f.Shares, view.Share{Version: version, Requests: n, Percent: 100 * float64(n) / float64(total)})
		}
	}
	if s.Rollout == nil {
		return f
	}
	status := s.Rollout.Status
	f.Phase, f.Message = string(status.Phase), status.Message
	if status.CurrentStepIndex != nil {
		f.Step = int(*status.CurrentStepIndex)
		f.Steps = stepNames(s.Rollout)
	}
	if len(splits) > 0 {
		last := splits[len(splits)-1]
		f.Asked, f.Verified = &last.Asked, last.Verified
	}
	f.Analysis = analysis(s)
	return f
}

func stepNames(ro *v1alpha1.Rollout) []string {
	if ro.Spec.Strategy.Canary == nil {
		return nil
	}
	var names []string
	for _, step := range ro.Spec.Strategy.Canary.Steps {
		switch {
		case step.SetWeight != nil:
			names = append(names, fmt.Sprintf("setWeight %d", *step.SetWeight))
		case step.Pause != nil:
			names = append(names, fmt.Sprintf("pause %ds", step.Pause.DurationSeconds()))
		case step.Analysis != nil:
			names = append(names, "analysis")
		default:
			names = append(names, "other")
		}
	}
	return names
}

// analysis shows the latest run of the revision being rolled out.
func analysis(s watch.State) []view.Metric {
	if len(s.Runs) == 0 {
		return nil
	}
	run := s.Runs[len(s.Runs)-1]
	if run.Labels[hashLabel] != s.Rollout.Status.CurrentPodHash {
		return nil
	}
	var metrics []view.Metric
	for _, result := range run.Status.MetricResults {
		m := view.Metric{Name: result.Name, Phase: string(result.Phase)}
		for _, measurement := range result.Measurements {
			value := measurement.Value
			if measurement.Message != "" {
				value = strings.TrimSpace(value + " (" + measurement.Message + ")")
			}
			m.Values = append(m.Values, value)
		}
		metrics = append(metrics, m)
	}
	return metrics
}

func wantedReplicas(set *appsv1.ReplicaSet) int32 {
	if set.Spec.Replicas == nil {
		return 1
	}
	return *set.Spec.Replicas
}

// imageTag is the version of a ReplicaSet's pods.
func imageTag(set *appsv1.ReplicaSet) string {
	for _, container := range set.Spec.Template.Spec.Containers {
		return strings.TrimPrefix(container.Image, image)
	}
	return "?"
}
