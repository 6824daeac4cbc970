package controller

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Inventory tells of every object there is, from the caches and only when it is
// asked: a series ends with its object, and nothing is kept in between. A
// replica that does not lead tells nothing, so that sums count each object once.
type Inventory struct {
	reader  client.Reader
	leading <-chan struct{}
}

var (
	object       = []string{"namespace", "name"}
	rolloutInfo  = prometheus.NewDesc("rollout_info", "1 for each Rollout.", append(object, "strategy", "traffic_router", "phase"), nil)
	desired      = prometheus.NewDesc("rollout_info_replicas_desired", "spec.replicas of a Rollout.", object, nil)
	available    = prometheus.NewDesc("rollout_info_replicas_available", "Available pods of a Rollout.", object, nil)
	unavailable  = prometheus.NewDesc("rollout_info_replicas_unavailable", "Pods of a Rollout that are not available.", object, nil)
	updated      = prometheus.NewDesc("rollout_info_replicas_updated", "Pods of the desired revision of a Rollout.", object, nil)
	blockedSince = prometheus.NewDesc("sluice_rollout_blocked_since_seconds",
		"When a Rollout was blocked, as seconds since 1970; only for those that are. The reason is that of the Blocked condition.", append(object, "reason"), nil)
	canaryWeight = prometheus.NewDesc("sluice_rollout_canary_weight", "Weight that routers have acknowledged for the canary; only for Rollouts whose traffic is routed.", object, nil)
	runInfo      = prometheus.NewDesc("analysis_run_info", "1 for each AnalysisRun.", append(object, "phase"), nil)
	experiments  = prometheus.NewDesc("experiment_info", "1 for each Experiment.", append(object, "phase"), nil)
)

// Describe implements prometheus.Collector.
func (o *Inventory) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{rolloutInfo, desired, available, unavailable, updated, blockedSince, canaryWeight, runInfo, experiments} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (o *Inventory) Collect(to chan<- prometheus.Metric) {
	select {
	case <-o.leading:
	default:
		return
	}
	// A cache that does not answer must not hold the scrape.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var rollouts v1alpha1.RolloutList
	if o.reader.List(ctx, &rollouts, client.UnsafeDisableDeepCopy) == nil {
		for i := range rollouts.Items {
			collectRollout(&rollouts.Items[i], to)
		}
	}
	var runs v1alpha1.AnalysisRunList
	if o.reader.List(ctx, &runs, client.UnsafeDisableDeepCopy) == nil {
		for i := range runs.Items {
			to <- gauge(runInfo, 1, runs.Items[i].Namespace, runs.Items[i].Name, string(runs.Items[i].Status.Phase))
		}
	}
	var list v1alpha1.ExperimentList
	if o.reader.List(ctx, &list, client.UnsafeDisableDeepCopy) == nil {
		for i := range list.Items {
			to <- gauge(experiments, 1, list.Items[i].Namespace, list.Items[i].Name, string(list.Items[i].Status.Phase))
		}
	}
}

func collectRollout(ro *v1alpha1.Rollout, to chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, value float64, more ...string) {
		to <- gauge(d, value, append([]string{ro.Namespace, ro.Name}, more...)...)
	}
	want := int32(1)
	if ro.Spec.Replicas != nil {
		want = *ro.Spec.Replicas
	}
	st := ro.Status
	tell(rolloutInfo, 1, strategyOf(ro), routersIn(ro), string(st.Phase))
	tell(desired, float64(want))
	tell(available, float64(st.AvailableReplicas))
	tell(unavailable, float64(max(0, want-st.AvailableReplicas)))
	tell(updated, float64(st.UpdatedReplicas))
	for _, c := range st.Conditions {
		if c.Type == v1alpha1.ConditionBlocked && c.Status == "True" {
			tell(blockedSince, float64(c.LastTransitionTime.Unix()), c.Reason)
		}
	}
	if st.Canary.Weights != nil {
		tell(canaryWeight, float64(st.Canary.Weights.Canary.Weight))
	}
}

func gauge(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func strategyOf(ro *v1alpha1.Rollout) string {
	switch {
	case ro.Spec.Strategy.Canary != nil:
		return "canary"
	case ro.Spec.Strategy.BlueGreen != nil:
		return "blueGreen"
	}
	return "none"
}

// argoNames are the values of traffic_router that Argo Rollouts has; other
// plugins are called what the Rollout calls them.
var argoNames = map[string]string{
	"istio": "Istio", "nginx": "Nginx", "alb": "ALB", "smi": "SMI", "ambassador": "Ambassador", "appMesh": "AppMesh",
}

func routersIn(ro *v1alpha1.Rollout) string {
	var names []string
	for _, block := range rollout.Blocks(ro) {
		if block.Releasing {
			continue
		}
		name := block.Plugin
		if argo, ok := argoNames[name]; ok {
			name = argo
		}
		names = append(names, name)
	}
	return strings.Join(names, ",")
}
