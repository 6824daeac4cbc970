package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis"
)

// measure takes or resumes a measurement. The plugin judges by itself: its phase
// is the verdict, and conditions are its own affair.
func (a *argo) measure(ctx context.Context, req analysis.Request) (analysis.Answer, error) {
	var got v1alpha1.Measurement
	var out analysis.Answer
	if len(req.State) == 0 {
		if first(req) {
			out.ResultMetadata = a.metadata(ctx, req)
		}
		if err := a.call(ctx, "Run", argoRun{AnalysisRun: req.Run, Metric: req.Metric}, &got); err != nil {
			return out, err
		}
	} else {
		args, err := argoResumed(req)
		if err != nil {
			return out, err
		}
		if err := a.call(ctx, "Resume", args, &got); err != nil {
			return out, err
		}
	}
	return out, readMeasurement(&out, got, time.Now())
}

// readMeasurement puts a measurement into an answer.
func readMeasurement(out *analysis.Answer, m v1alpha1.Measurement, now time.Time) error {
	out.Message, out.Metadata = remark(m.Message), m.Metadata
	if mapSize(m.Metadata) > maxMetadata {
		return broken("metadata is larger than %d bytes", maxMetadata)
	}
	switch m.Phase {
	case v1alpha1.AnalysisPhaseSuccessful, v1alpha1.AnalysisPhaseFailed, v1alpha1.AnalysisPhaseInconclusive:
		out.Verdict = &analysis.Verdict{Phase: m.Phase, Value: cut(m.Value, maxMessage)}
	case v1alpha1.AnalysisPhaseError:
		out.Err = errors.New(sentence(m.Message))
	case v1alpha1.AnalysisPhaseRunning, v1alpha1.AnalysisPhasePending:
		state, err := json.Marshal(m)
		if err != nil || len(state) > maxState {
			return broken("a measurement that is to be resumed has %d bytes, more than %d", len(state), maxState)
		}
		out.Pending = &analysis.Pending{State: state}
		if m.ResumeAt != nil {
			out.Pending.ResumeAfter = min(max(m.ResumeAt.Sub(now), minRecheck), maxWait)
		}
	default:
		return broken("phase is %q", cut(string(m.Phase), 80))
	}
	return nil
}

// argoResumed are the arguments of Resume and Terminate: the measurement as the
// plugin left it.
func argoResumed(req analysis.Request) (argoResume, error) {
	args := argoResume{AnalysisRun: req.Run, Metric: req.Metric, Measurement: v1alpha1.Measurement{Phase: v1alpha1.AnalysisPhaseRunning}}
	if len(req.State) == 0 {
		return args, nil
	}
	if err := json.Unmarshal(req.State, &args.Measurement); err != nil {
		return args, broken("its stored state is no measurement: %v", err)
	}
	return args, nil
}

// first: nothing was measured for the metric yet, so its metadata is not known.
func first(req analysis.Request) bool {
	if req.Run == nil {
		return true
	}
	for _, result := range req.Run.Status.MetricResults {
		if result.Name == req.Metric.Name {
			return result.Count == 0 && result.Error == 0 && len(result.Metadata) == 0
		}
	}
	return true
}

// metadata asks what is said of all measurements of a metric. It explains; a
// plugin that cannot tell measures all the same.
func (a *argo) metadata(ctx context.Context, req analysis.Request) map[string]string {
	var said map[string]string
	if err := a.call(ctx, "GetMetadata", argoMetadata{Metric: req.Metric}, &said); err != nil || mapSize(said) > maxMetadata {
		return nil
	}
	return said
}

// terminate ends a measurement that is not finished.
func (a *argo) terminate(ctx context.Context, req analysis.Request) (Cleanup, error) {
	args, err := argoResumed(req)
	if err != nil {
		return Cleanup{}, err
	}
	var got v1alpha1.Measurement
	if err := a.call(ctx, "Terminate", args, &got); err != nil {
		return Cleanup{}, err
	}
	return Cleanup{Done: true, Message: remark(got.Message)}, nil
}

// collect has the plugin drop what belongs to measurements beyond the ones kept.
func (a *argo) collect(ctx context.Context, req analysis.Request, keep int) (Cleanup, error) {
	return Cleanup{Done: true}, a.do(ctx, "GarbageCollect", argoCollect{AnalysisRun: req.Run, Metric: req.Metric, Limit: keep})
}
