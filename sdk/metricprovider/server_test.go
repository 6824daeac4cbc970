package metricprovider

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	metricv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
)

func TestOutcomesOnTheWire(t *testing.T) {
	t.Parallel()

	value := func(v *metricv1.Value) *metricv1.MeasureResponse {
		return &metricv1.MeasureResponse{Outcome: &metricv1.MeasureResponse_Value{Value: v}}
	}
	tests := map[string]struct {
		outcome Outcome
		want    *metricv1.MeasureResponse
	}{
		"scalar":       {Scalar(1.5), value(&metricv1.Value{Kind: &metricv1.Value_Scalar{Scalar: 1.5}})},
		"infinity":     {Scalar(math.Inf(-1)), value(&metricv1.Value{Kind: &metricv1.Value_Scalar{Scalar: math.Inf(-1)}})},
		"vector":       {Vector{1, 2}, value(&metricv1.Value{Kind: &metricv1.Value_Vector{Vector: &metricv1.DoubleList{Values: []float64{1, 2}}}})},
		"empty vector": {Vector(nil), value(&metricv1.Value{Kind: &metricv1.Value_Vector{Vector: &metricv1.DoubleList{}}})},
		"text":         {Text("up"), value(&metricv1.Value{Kind: &metricv1.Value_Text{Text: "up"}})},
		"JSON":         {JSON(`{"n":1.10}`), value(&metricv1.Value{Kind: &metricv1.Value_Json{Json: []byte(`{"n":1.10}`)}})},
		"verdict": {Verdict{Failed, "3"}, &metricv1.MeasureResponse{Outcome: &metricv1.MeasureResponse_Verdict{
			Verdict: &metricv1.Verdict{Result: metricv1.Verdict_RESULT_FAILED, Value: "3"},
		}}},
		"pending": {Pending{[]byte("x"), 5e9}, &metricv1.MeasureResponse{Outcome: &metricv1.MeasureResponse_Pending{
			Pending: &metricv1.Pending{State: []byte("x"), ResumeAfter: &durationpb.Duration{Seconds: 5}},
		}}},
		"failure": {Failure{"HTTP 500"}, &metricv1.MeasureResponse{Outcome: &metricv1.MeasureResponse_Error{
			Error: &metricv1.Error{Message: "HTTP 500"},
		}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := &metricv1.MeasureResponse{}
			require.NoError(t, setOutcome(got, test.outcome))
			assert.Empty(t, cmp.Diff(test.want, got, protocmp.Transform()))
		})
	}

	for name, outcome := range map[string]Outcome{
		"none": nil, "malformed JSON": JSON("{"), "too much state": Pending{State: make([]byte, MaxState+1)},
	} {
		require.Error(t, setOutcome(&metricv1.MeasureResponse{}, outcome), name)
	}
}
