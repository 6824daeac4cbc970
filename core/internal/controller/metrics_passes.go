package controller

import (
	"context"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// timed measures the passes of a reconciler.
func (m *Metrics) timed(kind string, r reconcile.Reconciler) reconcile.Reconciler {
	passes, failures := m.passes[kind], m.failures[kind]
	return reconcile.Func(func(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
		began := time.Now()
		result, err := r.Reconcile(ctx, req)
		passes.WithLabelValues(req.Namespace).Observe(time.Since(began).Seconds())
		if err != nil {
			failures.WithLabelValues(req.Namespace).Inc()
		}
		return result, err
	})
}

// Ended observes the update that a status write ends, or nothing. A nil Metrics
// observes nothing.
func (m *Metrics) Ended(ro *v1alpha1.Rollout, after v1alpha1.RolloutStatus) {
	was, is := ro.Status.Duration, after.Duration
	if m == nil || is == nil || is.RolloutStartedAt == nil || is.FinishedAt == nil || is.CompletionStatus == "" {
		return
	}
	if was != nil && was.FinishedAt != nil && was.FinishedAt.Equal(is.FinishedAt) {
		return
	}
	total := is.FinishedAt.Sub(is.RolloutStartedAt.Time).Seconds()
	manual := float64(is.TotalManualPauseDurationSeconds)
	how := string(is.CompletionStatus)
	m.duration.WithLabelValues(ro.Namespace, how).Observe(total)
	m.manual.WithLabelValues(ro.Namespace, how).Observe(manual)
	m.progression.WithLabelValues(ro.Namespace, how).Observe(max(0, total-manual))
}
