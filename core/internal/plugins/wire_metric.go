package plugins

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	metricproviderv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

func runTarget(req analysis.Request) rollout.Target {
	if req.Run == nil {
		return rollout.Target{}
	}
	return rollout.Target{
		Namespace: req.Run.Namespace, Name: req.Run.Name, UID: string(req.Run.UID),
		Generation: req.Run.Generation, Labels: req.Run.Labels,
	}
}

// measurementFrom checks an answer. No outcome is allowed while needs are
// listed.
func measurementFrom(a *metricproviderv1.MeasureResponse) (analysis.Answer, error) {
	out := analysis.Answer{
		Metadata: a.GetMetadata(), ResultMetadata: a.GetResultMetadata(), Message: remark(a.GetMessage()),
	}
	if mapSize(out.Metadata) > maxMetadata || mapSize(out.ResultMetadata) > maxMetadata {
		return out, broken("metadata or result_metadata is larger than %d bytes", maxMetadata)
	}
	var err error
	if out.Needs, err = needsFrom(a.GetNeeds()); err != nil {
		return out, err
	}
	if out.Writes, err = writesFrom(a.GetWrites()); err != nil {
		return out, err
	}
	switch o := a.GetOutcome().(type) {
	case *metricproviderv1.MeasureResponse_Value:
		var large oversized
		if out.Value, err = valueFrom(o.Value); errors.As(err, &large) {
			// The query is at fault, not the plugin: asking again does not help.
			out.Err, err = large, nil
		}
	case *metricproviderv1.MeasureResponse_Verdict:
		out.Verdict, err = verdictFrom(o.Verdict)
	case *metricproviderv1.MeasureResponse_Pending:
		out.Pending, err = pendingFrom(o.Pending)
	case *metricproviderv1.MeasureResponse_Error:
		out.Err = errors.New(sentence(o.Error.GetMessage()))
	default:
		if len(out.Needs) == 0 {
			err = broken("it has no outcome and lists no needs")
		}
	}
	return out, err
}

// oversized is a value that is too large to be judged. Unlike a broken answer it
// is an answer: an Error measurement.
type oversized string

func (e oversized) Error() string { return string(e) }

func tooLarge(n, limit int, unit string) error {
	return oversized(fmt.Sprintf("the value has %d %s, at most %d are judged; aggregate in the query so that it returns less", n, unit, limit))
}

func valueFrom(v *metricproviderv1.Value) (*analysis.Value, error) {
	switch k := v.GetKind().(type) {
	case *metricproviderv1.Value_Scalar:
		return &analysis.Value{Scalar: &k.Scalar}, nil
	case *metricproviderv1.Value_Vector:
		if n := len(k.Vector.GetValues()); n > maxValueText/8 {
			return nil, tooLarge(n, maxValueText/8, "numbers")
		}
		return &analysis.Value{Vector: append([]float64{}, k.Vector.GetValues()...)}, nil
	case *metricproviderv1.Value_Text:
		if len(k.Text) > maxValueText {
			return nil, tooLarge(len(k.Text), maxValueText, "bytes of text")
		}
		return &analysis.Value{Text: &k.Text}, nil
	case *metricproviderv1.Value_Json:
		if len(k.Json) > maxValueText {
			return nil, tooLarge(len(k.Json), maxValueText, "bytes of JSON")
		}
		if !json.Valid(k.Json) {
			return nil, broken("value.json is no JSON")
		}
		return &analysis.Value{JSON: k.Json}, nil
	}
	return nil, broken("value has no kind")
}

func verdictFrom(v *metricproviderv1.Verdict) (*analysis.Verdict, error) {
	out := &analysis.Verdict{Value: cut(v.GetValue(), maxMessage)}
	switch v.GetResult() {
	case metricproviderv1.Verdict_RESULT_SUCCESSFUL:
		out.Phase = v1alpha1.AnalysisPhaseSuccessful
	case metricproviderv1.Verdict_RESULT_FAILED:
		out.Phase = v1alpha1.AnalysisPhaseFailed
	case metricproviderv1.Verdict_RESULT_INCONCLUSIVE:
		out.Phase = v1alpha1.AnalysisPhaseInconclusive
	case metricproviderv1.Verdict_RESULT_UNSPECIFIED:
		fallthrough
	default:
		return nil, broken("verdict.result is %d", v.GetResult())
	}
	return out, nil
}

func pendingFrom(p *metricproviderv1.Pending) (*analysis.Pending, error) {
	if n := len(p.GetState()); n > maxState {
		return nil, broken("pending.state has %d bytes, more than %d", n, maxState)
	}
	after, err := durationFrom("pending.resume_after", p.GetResumeAfter())
	return &analysis.Pending{State: p.GetState(), ResumeAfter: atLeastOften(after)}, err
}

// atLeastOften keeps a plugin from being asked in a tight loop; 0 stays 0.
func atLeastOften(d time.Duration) time.Duration {
	if d > 0 {
		return max(d, minRecheck)
	}
	return d
}

// cleaned is what CancelResponse and CollectResponse have in common.
type cleaned interface {
	GetDone() bool
	GetNeeds() []*typesv1.Need
	GetWrites() []*typesv1.Write
	GetRetryAfter() *durationpb.Duration
	GetMessage() string
}

func cleanupFrom(a cleaned) (Cleanup, error) {
	out := Cleanup{Done: a.GetDone(), Message: remark(a.GetMessage())}
	var err error
	if out.Needs, err = needsFrom(a.GetNeeds()); err != nil {
		return out, err
	}
	if out.Writes, err = writesFrom(a.GetWrites()); err != nil {
		return out, err
	}
	out.Retry, err = durationFrom("retry_after", a.GetRetryAfter())
	out.Retry = atLeastOften(out.Retry)
	return out, err
}

func mapSize(m map[string]string) int {
	size := 0
	for k, v := range m {
		size += len(k) + len(v)
	}
	return size
}
