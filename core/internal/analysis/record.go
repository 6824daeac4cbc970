package analysis

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/condition"
)

// maxStatus bounds a status object: etcd refuses writes of more than 1.5 MiB,
// and a run whose status cannot be written would repeat its last step for ever.
const maxStatus = 512 << 10

// Event is something to tell about a run.
type Event struct {
	// Type is Normal or Warning.
	Type, Reason, Message string
}

// record puts the results of calls into the status. It returns what the run
// waits for, sorted.
func (p *Plan) record(s Snapshot, list []subject) (waits []string) {
	over := p.Status.Phase.Completed()
	for _, sub := range list {
		name := sub.metric.Name
		call, ok := s.Calls[name]
		if !ok || call.MeasurementID != nextID(s.Run, resultOf(&p.Status, name), name) {
			continue
		}
		if wait := call.waiting(); wait != "" && !slices.Contains(waits, wait) {
			waits = append(waits, wait)
		}
		if call.Result == nil || call.Result.Waiting != "" {
			continue
		}
		p.Used[name] = call.MeasurementID
		switch {
		case over:
			p.recordLate(s, sub, *call.Result)
		case call.Result.Fatal != "":
			p.end(s.Now, v1alpha1.AnalysisPhaseError, call.Result.Fatal)
			over = true
		case call.Result.Measurement != nil:
			p.put(sub, *call.Result)
		default:
			p.cancelled(s, sub)
		}
	}
	sort.Strings(waits)
	return waits
}

// recordLate takes what comes after the verdict: a measurement in flight is
// finished, one that goes on is noted so that it will be cancelled, and one
// that nobody waited for is dropped.
func (p *Plan) recordLate(s Snapshot, sub subject, r Result) {
	last := lastOf(resultOf(&p.Status, sub.metric.Name))
	inFlight := last != nil && last.FinishedAt == nil
	switch {
	case r.Measurement != nil && (inFlight || r.Measurement.FinishedAt == nil):
		p.put(sub, r)
	case inFlight:
		p.cancelled(s, sub)
	default:
		return
	}
	result := resultOf(&p.Status, sub.metric.Name)
	result.Phase, _ = assessMetric(sub.limits, *result, true)
}

// put adds a measurement, or replaces the one in flight, and counts it when it
// is finished.
func (p *Plan) put(sub subject, r Result) {
	result := resultOf(&p.Status, sub.metric.Name)
	if result == nil {
		p.Status.MetricResults = append(p.Status.MetricResults, v1alpha1.MetricResult{
			Name: sub.metric.Name, Phase: v1alpha1.AnalysisPhaseRunning, DryRun: sub.dryRun,
		})
		result = &p.Status.MetricResults[len(p.Status.MetricResults)-1]
	}
	m := *r.Measurement.DeepCopy()
	if last := lastOf(result); last != nil && last.FinishedAt == nil {
		*last = m
	} else {
		result.Measurements = append(result.Measurements, m)
	}
	if len(r.ResultMetadata) > 0 {
		warned := result.Metadata[warningKey]
		result.Metadata = r.ResultMetadata
		setWarning(result, warned)
	}
	if r.Warning != "" && result.Metadata[warningKey] != r.Warning {
		setWarning(result, r.Warning)
		p.Events = append(p.Events, Event{corev1.EventTypeWarning, v1alpha1.EventPluginWarning, fmt.Sprintf("Metric '%s': %s", sub.metric.Name, r.Warning)})
	}
	count(result, m.Phase)
	// Kept only for this pass: assess turns it into the message of the metric
	// when this measurement is the one that ends it.
	result.Message = m.Message
	if m.Message == "" && r.Evidence.Condition != "" && m.Phase.Completed() {
		result.Message = r.Evidence.sentence(*result, m.Phase)
	}
}

// warningKey is where the metadata of a metric shows what its provider warns of.
const warningKey = "pluginWarning"

func setWarning(result *v1alpha1.MetricResult, warning string) {
	if warning == "" {
		return
	}
	if result.Metadata == nil {
		result.Metadata = map[string]string{}
	}
	result.Metadata[warningKey] = warning
}

func count(result *v1alpha1.MetricResult, phase v1alpha1.AnalysisPhase) {
	if !phase.Completed() {
		return
	}
	errors, successes := result.ConsecutiveError, result.ConsecutiveSuccess
	result.ConsecutiveError, result.ConsecutiveSuccess = 0, 0
	switch phase {
	case v1alpha1.AnalysisPhaseSuccessful:
		result.Successful++
		result.ConsecutiveSuccess = successes + 1
	case v1alpha1.AnalysisPhaseFailed:
		result.Failed++
	case v1alpha1.AnalysisPhaseInconclusive:
		result.Inconclusive++
	case v1alpha1.AnalysisPhaseError:
		result.Error++
		result.ConsecutiveError = errors + 1
		return
	}
	result.Count++
}

// cancelled finishes the measurement in flight, if status knows of one: it was
// ended before it could tell anything.
func (p *Plan) cancelled(s Snapshot, sub subject) {
	last := lastOf(resultOf(&p.Status, sub.metric.Name))
	if last == nil || last.FinishedAt != nil {
		return
	}
	m := *last.DeepCopy()
	m.Phase, m.Message = v1alpha1.AnalysisPhaseInconclusive, "Metric Terminated"
	m.FinishedAt, m.ResumeAt = at(s.Now), nil
	delete(m.Metadata, stateKey)
	p.put(sub, Result{Measurement: &m})
}

// end completes the run.
func (p *Plan) end(now time.Time, phase v1alpha1.AnalysisPhase, message string) {
	if p.Status.StartedAt == nil {
		p.Status.StartedAt = at(now)
	}
	p.Status.Phase, p.Status.Message, p.Status.CompletedAt = phase, message, at(now)
	p.Events = append(p.Events, Event{
		eventType(phase), v1alpha1.EventPrefixAnalysisRun + string(phase),
		fmt.Sprintf("Analysis Completed. Result: %s", phase),
	})
}

func eventType(phase v1alpha1.AnalysisPhase) string {
	if phase == v1alpha1.AnalysisPhaseFailed || phase == v1alpha1.AnalysisPhaseError {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}

// trim drops old measurements beyond what is kept, and asks their provider to
// collect what they left. Collect names everything that stays, so a call that
// is lost is made good by the next one, and owner references do the rest.
func (p *Plan) trim(run *v1alpha1.AnalysisRun, list []subject) {
	dropped := map[string]bool{}
	for _, sub := range list {
		result := resultOf(&p.Status, sub.metric.Name)
		if result == nil {
			continue
		}
		if extra := len(result.Measurements) - sub.keep; extra > 0 {
			result.Measurements = slices.Clone(result.Measurements[extra:])
			dropped[sub.metric.Name] = true
		}
	}
	for size(p.Status) > maxStatus {
		longest := p.longest()
		if longest == nil {
			break
		}
		drop := max(1, len(longest.Measurements)/10)
		longest.Measurements = slices.Clone(longest.Measurements[drop:])
		dropped[longest.Name] = true
	}
	p.shed()
	for _, sub := range list {
		if dropped[sub.metric.Name] {
			result := resultOf(&p.Status, sub.metric.Name)
			p.Ops = append(p.Ops, Op{Verb: VerbCollect, Metric: sub.metric.Name, Index: sub.index, Keep: keptIDs(run, result)})
		}
	}
}

// shed gives up what can be missed when one measurement of each metric is still
// too much: what providers say about metrics, then about measurements, then the
// ends of values and messages. The state of what is in flight always stays.
func (p *Plan) shed() {
	results := p.Status.MetricResults
	for _, lighten := range []func(*v1alpha1.MetricResult, *v1alpha1.Measurement){
		func(r *v1alpha1.MetricResult, _ *v1alpha1.Measurement) { r.Metadata = nil },
		func(_ *v1alpha1.MetricResult, m *v1alpha1.Measurement) {
			state, pending := m.Metadata[stateKey]
			m.Metadata = nil
			if pending {
				m.Metadata = map[string]string{stateKey: state}
			}
		},
		func(r *v1alpha1.MetricResult, m *v1alpha1.Measurement) {
			r.Message, m.Message, m.Value = shedText(r.Message), shedText(m.Message), shedText(m.Value)
		},
	} {
		if size(p.Status) <= maxStatus {
			return
		}
		for i := range results {
			for k := range results[i].Measurements {
				lighten(&results[i], &results[i].Measurements[k])
			}
		}
	}
}

// shedText is what is left of a text when there is no room. What was cut once is
// not cut again: a status that changes with each pass would be written for ever.
func shedText(s string) string {
	const most = 128
	if len(s) <= 2*most {
		return s
	}
	return condition.Shorten(s, most)
}

// longest is the result with most measurements, nil when none has more than
// one: the last one is never dropped, the next pass is computed from it.
func (p *Plan) longest() *v1alpha1.MetricResult {
	var found *v1alpha1.MetricResult
	for i := range p.Status.MetricResults {
		r := &p.Status.MetricResults[i]
		if len(r.Measurements) > 1 && (found == nil || len(r.Measurements) > len(found.Measurements)) {
			found = r
		}
	}
	return found
}

func keptIDs(run *v1alpha1.AnalysisRun, result *v1alpha1.MetricResult) []string {
	newest := result.Count + result.Error
	if last := lastOf(result); last != nil && last.FinishedAt == nil {
		newest++
	}
	ids := make([]string, 0, len(result.Measurements)+1)
	for n := newest - int32(len(result.Measurements)) + 1; n <= newest; n++ {
		ids = append(ids, measurementID(run, result.Name, n))
	}
	// The next one may have been started by the time this is carried out.
	return append(ids, measurementID(run, result.Name, newest+1))
}

func size(status v1alpha1.AnalysisRunStatus) int {
	raw, err := json.Marshal(status)
	if err != nil {
		return 0
	}
	return len(raw)
}

func at(t time.Time) *metav1.Time {
	m := metav1.NewTime(t)
	return &m
}

func join(waits []string) string { return strings.Join(waits, "; ") }
