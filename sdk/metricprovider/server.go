package metricprovider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	metricv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
)

// Serve runs a process that is this one provider. See plugin.Serve.
func Serve(info plugin.Info, provider Provider) { plugin.Serve(info, Service(provider)) }

// Service offers a provider, alone or beside other kinds.
func Service(provider Provider) plugin.Service {
	return plugin.Service{
		Name: metricv1.MetricProvider_ServiceDesc.ServiceName,
		Register: func(s *grpc.Server) {
			metricv1.RegisterMetricProviderServer(s, &server{provider: provider})
		},
	}
}

// server is the wire's side of a Provider.
type server struct {
	metricv1.UnimplementedMetricProviderServer

	provider Provider
}

func (s *server) Capabilities(context.Context, *metricv1.CapabilitiesRequest) (*metricv1.CapabilitiesResponse, error) {
	var has []metricv1.Capability
	if _, ok := s.provider.(Resumer); ok {
		has = append(has, metricv1.Capability_CAPABILITY_PENDING)
	}
	if _, ok := s.provider.(Canceller); ok {
		has = append(has, metricv1.Capability_CAPABILITY_CANCEL)
	}
	if _, ok := s.provider.(Collector); ok {
		has = append(has, metricv1.Capability_CAPABILITY_COLLECT)
	}
	if _, ok := s.provider.(External); ok {
		has = append(has, metricv1.Capability_CAPABILITY_EXTERNAL_EFFECTS)
	}

	return &metricv1.CapabilitiesResponse{Capabilities: has}, nil
}

func (s *server) Validate(ctx context.Context, in *metricv1.ValidateRequest) (*metricv1.ValidateResponse, error) {
	inputs, err := objects.NewInputs(in.GetInputs())
	if err != nil {
		return nil, err
	}
	req := &ValidateRequest{
		Target: plugin.TargetFrom(in.GetTarget()), Config: in.GetConfig().GetJson(), Inputs: inputs,
	}
	err = s.provider.Validate(ctx, req)
	if err != nil && !objects.IsNotReady(err) {
		return nil, err
	}

	return &metricv1.ValidateResponse{Needs: inputs.Needs(err != nil), Message: req.warning}, nil
}

func (s *server) Measure(ctx context.Context, in *metricv1.MeasureRequest) (*metricv1.MeasureResponse, error) {
	inputs, err := objects.NewInputs(in.GetInputs())
	if err != nil {
		return nil, err
	}
	req := &MeasureRequest{
		Target: plugin.TargetFrom(in.GetTarget()),
		Metric: in.GetMetric(),
		ID:     in.GetMeasurementId(),
		Config: in.GetConfig().GetJson(),
		State:  in.GetState(),
		Inputs: inputs,
	}
	resumer, resumes := s.provider.(Resumer)
	measure := s.provider.Measure
	if len(req.State) > 0 {
		if !resumes {
			return nil, plugin.Unsupported("provider has no pending measurements to resume")
		}
		measure = resumer.Resume
	}

	measurement, err := measure(ctx, req)
	switch {
	case objects.IsNotReady(err):
		return &metricv1.MeasureResponse{Needs: inputs.Needs(true), Message: err.Error()}, nil
	case err != nil:
		return nil, err
	case measurement == nil:
		return nil, errors.New("provider returned no measurement")
	}
	if _, pending := measurement.Outcome.(Pending); pending && !resumes {
		return nil, errors.New("provider returned Pending but cannot resume: implement Resumer")
	}
	answer := &metricv1.MeasureResponse{
		Needs:          inputs.Needs(false),
		Writes:         objects.Protos(measurement.Writes),
		Metadata:       measurement.Metadata,
		ResultMetadata: measurement.ResultMetadata,
		Message:        measurement.Message,
	}

	return answer, setOutcome(answer, measurement.Outcome)
}

func setOutcome(answer *metricv1.MeasureResponse, outcome Outcome) error {
	value := func(v *metricv1.Value) { answer.Outcome = &metricv1.MeasureResponse_Value{Value: v} }
	switch o := outcome.(type) {
	case Scalar:
		value(&metricv1.Value{Kind: &metricv1.Value_Scalar{Scalar: float64(o)}})
	case Vector:
		value(&metricv1.Value{Kind: &metricv1.Value_Vector{Vector: &metricv1.DoubleList{Values: o}}})
	case Text:
		value(&metricv1.Value{Kind: &metricv1.Value_Text{Text: string(o)}})
	case JSON:
		if !json.Valid(o) {
			return errors.New("provider returned malformed JSON")
		}
		value(&metricv1.Value{Kind: &metricv1.Value_Json{Json: o}})
	case Verdict:
		answer.Outcome = &metricv1.MeasureResponse_Verdict{
			Verdict: &metricv1.Verdict{Result: resultProto(o.Result), Value: o.Value},
		}
	case Pending:
		if len(o.State) > MaxState {
			return fmt.Errorf("provider returned %d bytes of state, more than %d", len(o.State), MaxState)
		}
		answer.Outcome = &metricv1.MeasureResponse_Pending{
			Pending: &metricv1.Pending{State: o.State, ResumeAfter: duration(o.ResumeAfter)},
		}
	case Failure:
		answer.Outcome = &metricv1.MeasureResponse_Error{Error: &metricv1.Error{Message: o.Message}}
	default:
		return fmt.Errorf("provider returned no outcome (%T)", outcome)
	}

	return nil
}

func resultProto(result Result) metricv1.Verdict_Result {
	switch result {
	case Successful:
		return metricv1.Verdict_RESULT_SUCCESSFUL
	case Failed:
		return metricv1.Verdict_RESULT_FAILED
	case Inconclusive:
		return metricv1.Verdict_RESULT_INCONCLUSIVE
	default:
		return metricv1.Verdict_RESULT_UNSPECIFIED
	}
}

func (s *server) Cancel(ctx context.Context, in *metricv1.CancelRequest) (*metricv1.CancelResponse, error) {
	canceller, ok := s.provider.(Canceller)
	if !ok {
		return nil, plugin.Unsupported("provider does not cancel")
	}
	inputs, err := objects.NewInputs(in.GetInputs())
	if err != nil {
		return nil, err
	}
	cleanup, err := canceller.Cancel(ctx, &CancelRequest{
		Target: plugin.TargetFrom(in.GetTarget()),
		Metric: in.GetMetric(),
		ID:     in.GetMeasurementId(),
		Config: in.GetConfig().GetJson(),
		State:  in.GetState(),
		Inputs: inputs,
	})
	cleanup, early, err := finish(cleanup, err)
	if err != nil {
		return nil, err
	}

	return &metricv1.CancelResponse{
		Done: cleanup.Done, Needs: inputs.Needs(early), Writes: objects.Protos(cleanup.Writes),
		RetryAfter: duration(cleanup.RetryAfter), Message: cleanup.Message,
	}, nil
}

func (s *server) Collect(ctx context.Context, in *metricv1.CollectRequest) (*metricv1.CollectResponse, error) {
	collector, ok := s.provider.(Collector)
	if !ok {
		return nil, plugin.Unsupported("provider does not collect")
	}
	inputs, err := objects.NewInputs(in.GetInputs())
	if err != nil {
		return nil, err
	}
	cleanup, err := collector.Collect(ctx, &CollectRequest{
		Target: plugin.TargetFrom(in.GetTarget()),
		Metric: in.GetMetric(),
		Config: in.GetConfig().GetJson(),
		Keep:   in.GetKeepMeasurementIds(),
		Inputs: inputs,
	})
	cleanup, early, err := finish(cleanup, err)
	if err != nil {
		return nil, err
	}

	return &metricv1.CollectResponse{
		Done: cleanup.Done, Needs: inputs.Needs(early), Writes: objects.Protos(cleanup.Writes),
		RetryAfter: duration(cleanup.RetryAfter), Message: cleanup.Message,
	}, nil
}

// finish makes an answer of what Cancel or Collect returned: objects that are not there yet mean "not done".
func finish(cleanup *Cleanup, err error) (answer *Cleanup, early bool, _ error) {
	switch {
	case objects.IsNotReady(err):
		return &Cleanup{Message: err.Error()}, true, nil
	case err != nil:
		return nil, true, err
	case cleanup == nil:
		return nil, false, errors.New("provider returned no answer")
	default:
		return cleanup, false, nil
	}
}

// duration leaves the zero value off the wire.
func duration(d time.Duration) *durationpb.Duration {
	if d <= 0 {
		return nil
	}

	return durationpb.New(d)
}
