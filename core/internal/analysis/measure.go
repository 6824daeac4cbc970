package analysis

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/condition"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Bounds of what a measurement puts into status.
const (
	maxValue    = 1 << 10
	maxMessage  = 1 << 10
	maxMetadata = 4 << 10
	maxState    = 1 << 10
)

// Secrets reads one Secret by name; it never lists or watches. A NotFound API
// error means that it does not exist.
type Secrets interface {
	Secret(ctx context.Context, namespace, name string) (map[string][]byte, error)
}

// missingSecret ends a run: waiting would not help, and the run cannot tell
// anything.
type missingSecret struct{ what string }

func (e missingSecret) Error() string { return e.what }

// unreadSecret is a read that failed. It is the only thing about arguments that
// is worth waiting for.
type unreadSecret struct {
	name string
	err  error
}

func (e unreadSecret) Error() string { return fmt.Sprintf("secret %q: %v", e.name, e.err) }

// asking is one operation with everything resolved for its provider.
type asking struct {
	request  Request
	provider Provider
	hide     redactor
}

// prepare resolves secrets and arguments and finds the provider. The result is
// not nil when that already decides the call.
func (c *Calls) prepare(ctx context.Context, run *v1alpha1.AnalysisRun, op Op) (asking, *Result) {
	var a asking
	var read []string
	metric, err := runspec.Resolve(run.Spec.Metrics[op.Index], run.Spec.Args, func(ref v1alpha1.SecretKeyRef) (string, error) {
		value, err := c.secretValue(ctx, run.Namespace, ref)
		a.hide.add(value)
		read = append(read, fmt.Sprintf("%q", ref.Name))
		return value, err
	})
	var missing missingSecret
	var unread unreadSecret
	switch {
	case errors.As(err, &missing):
		return a, &Result{Fatal: "Unable to resolve metric arguments: " + missing.what}
	case errors.As(err, &unread):
		return a, a.hide.result(&Result{Waiting: fmt.Sprintf("waiting for the arguments of metric %s: %v", op.Metric, err)})
	case err != nil:
		return a, a.hide.result(&Result{Fatal: "Unable to resolve metric arguments: " + unresolvable(run, op, err, read)})
	}
	plugin, config, err := runspec.Provider(metric.Provider)
	if err != nil {
		return a, &Result{Fatal: "Analysis spec invalid: " + a.hide.text(err.Error())}
	}
	provider, problem := c.options.Providers.Provider(plugin)
	if problem != nil {
		return a, waitFor(plugin, problem)
	}
	a.provider = provider
	a.request = Request{
		Run: run, Metric: metric, Plugin: plugin, Config: config, MeasurementID: op.MeasurementID, State: op.State,
	}
	if len(read) > 0 {
		hide := a.hide
		a.request.Leaks = func(text []byte) bool { return hide.text(string(text)) != string(text) }
	}
	return a, nil
}

// unresolvable tells why arguments do not fit. Once a Secret was read the error
// may show its value in any form, so it is not used: either the same is wrong
// without the value, or the value is what is wrong.
func unresolvable(run *v1alpha1.AnalysisRun, op Op, err error, read []string) string {
	if len(read) == 0 {
		return err.Error()
	}
	if _, err := runspec.WithoutSecrets(run.Spec.Metrics[op.Index], run.Spec.Args); err != nil {
		return err.Error()
	}
	slices.Sort(read)
	return fmt.Sprintf("metric %q: the value of secret %s cannot be used here; in a condition, outside of quotes, it must be one number, true or false",
		op.Metric, strings.Join(slices.Compact(read), " or "))
}

func (c *Calls) secretValue(ctx context.Context, namespace string, ref v1alpha1.SecretKeyRef) (string, error) {
	data, err := c.options.Secrets.Secret(ctx, namespace, ref.Name)
	switch {
	case apierrors.IsNotFound(err):
		return "", missingSecret{fmt.Sprintf("secret %q not found", ref.Name)}
	case err != nil:
		return "", unreadSecret{ref.Name, err}
	}
	value, ok := data[ref.Key]
	if !ok {
		return "", missingSecret{fmt.Sprintf("key %q does not exist in secret %q", ref.Key, ref.Name)}
	}
	return string(value), nil
}

// waitFor is the result of a call that got no answer.
func waitFor(plugin string, err error) *Result {
	r := &Result{Waiting: fmt.Sprintf("waiting for plugin %s: %v", plugin, err)}
	var problem *rollout.Problem
	if errors.As(err, &problem) {
		r.RetryAfter = problem.Retry
	}
	return r
}

// measure asks the provider and makes a measurement of the answer.
func (c *Calls) measure(ctx context.Context, run *v1alpha1.AnalysisRun, op Op) *Result {
	a, decided := c.prepare(ctx, run, op)
	if decided != nil {
		return decided
	}
	started := op.StartedAt
	if started.IsZero() {
		started = c.options.Now()
	}
	answer, err := a.provider.Measure(ctx, a.request)
	var problem *rollout.Problem
	switch {
	case errors.As(err, &problem) && problem.Class == rollout.ProblemInvalid:
		// The plugin looked at the metric and refused it: that is an answer.
		answer = Answer{Err: problem}
	case err != nil:
		return a.hide.result(waitFor(a.request.Plugin, err))
	}
	if err := check(answer); err != nil {
		return a.hide.result(waitFor(a.request.Plugin, err))
	}
	now := c.options.Now()
	// One evaluation may build tens of megabytes; one at a time bounds the sum.
	c.judging.Lock()
	defer c.judging.Unlock()
	return a.hide.result(measured(a.request.Metric, answer, started, now, a.hide))
}

func (c *Calls) cancel(ctx context.Context, run *v1alpha1.AnalysisRun, op Op) *Result {
	a, decided := c.prepare(ctx, run, op)
	if decided != nil {
		return decided
	}
	if err := a.provider.Cancel(ctx, a.request); err != nil {
		return a.hide.result(waitFor(a.request.Plugin, err))
	}
	return &Result{}
}

// check reports an answer that cannot be used. It is the plugin's mistake, not
// a measurement.
func check(a Answer) error {
	kinds := 0
	for _, set := range []bool{a.Value != nil, a.Verdict != nil, a.Pending != nil, a.Err != nil} {
		if set {
			kinds++
		}
	}
	switch {
	case len(a.Needs) > 0 || len(a.Writes) > 0:
		return errors.New("it asks for Kubernetes objects, which are not served to metric providers here")
	case kinds != 1:
		return fmt.Errorf("its answer holds %d outcomes instead of one", kinds)
	case a.Verdict != nil && !judged[a.Verdict.Phase]:
		return fmt.Errorf("its verdict is %q", a.Verdict.Phase)
	case a.Pending != nil && len(a.Pending.State) > maxState:
		return fmt.Errorf("its state has %d bytes, at most %d are kept", len(a.Pending.State), maxState)
	}
	return nil
}

var judged = map[v1alpha1.AnalysisPhase]bool{
	v1alpha1.AnalysisPhaseSuccessful: true, v1alpha1.AnalysisPhaseFailed: true, v1alpha1.AnalysisPhaseInconclusive: true,
}

// measured turns an answer into a measurement. Pure.
func measured(metric v1alpha1.Metric, a Answer, started, now time.Time, hide redactor) *Result {
	m := &v1alpha1.Measurement{StartedAt: at(started), Metadata: maps.Clone(a.Metadata), Message: a.Message}
	r := &Result{Measurement: m, ResultMetadata: a.ResultMetadata, Warning: a.Warning}
	switch {
	case a.Pending != nil:
		m.Phase = v1alpha1.AnalysisPhaseRunning
		after := a.Pending.ResumeAfter
		if after <= 0 {
			after = pendingRetry
		}
		m.ResumeAt = at(now.Add(after))
		if m.Metadata == nil {
			m.Metadata = map[string]string{}
		}
		m.Metadata[stateKey] = base64.StdEncoding.EncodeToString(a.Pending.State)
		return r
	case a.Err != nil:
		m.Phase, m.Message = v1alpha1.AnalysisPhaseError, a.Err.Error()
	case a.Verdict != nil:
		m.Phase, m.Value = a.Verdict.Phase, a.Verdict.Value
	default:
		j := judge(metric, *a.Value, hide)
		m.Phase, m.Value, r.Evidence = j.phase, j.value, j.evidence
		if j.message != "" {
			m.Message = j.message
		}
	}
	m.FinishedAt = at(now)
	return r
}

// bounded cuts a measurement to what status has room for.
func bounded(r *Result) {
	r.Waiting, r.Fatal = condition.Shorten(r.Waiting, maxMessage), condition.Shorten(r.Fatal, maxMessage)
	r.Warning, r.ResultMetadata = condition.Shorten(r.Warning, maxMessage), boundedMetadata(r.ResultMetadata)
	if m := r.Measurement; m != nil {
		m.Value = condition.Shorten(m.Value, maxValue)
		m.Message = condition.Shorten(m.Message, maxMessage)
		m.Metadata = boundedMetadata(m.Metadata)
	}
}

// boundedMetadata keeps keys in order until the room is used up; the state of
// a pending measurement always stays whole.
func boundedMetadata(metadata map[string]string) map[string]string {
	left := maxMetadata
	var kept map[string]string
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		value := metadata[key]
		if key != stateKey {
			value = condition.Shorten(value, maxValue)
			if left -= len(key) + len(value); left < 0 {
				continue
			}
		}
		if kept == nil {
			kept = map[string]string{}
		}
		kept[key] = value
	}
	return kept
}
