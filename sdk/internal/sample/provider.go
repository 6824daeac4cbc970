package sample

import (
	"context"
	"strconv"

	"github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// Provider measures what its configuration or a ConfigMap says.
type Provider struct{}

type providerConfig struct {
	// Value is the measurement.
	Value *float64 `json:"value,omitempty"`
	// From names a ConfigMap whose key `value` is the measurement.
	From string `json:"from,omitempty"`
	// Fail is what the system says instead of a value.
	Fail string `json:"fail,omitempty"`
	// Hang: the system does not answer.
	Hang bool `json:"hang,omitempty"`
	// Pending is how often the measurement is not finished before it is.
	Pending int `json:"pending,omitempty"`
}

type configMap struct {
	Data map[string]string `json:"data"`
}

// Validate checks the configuration, and that the ConfigMap exists.
func (Provider) Validate(_ context.Context, req *metricprovider.ValidateRequest) error {
	block, err := config.Decode[providerConfig](req.Config)
	if err != nil || block != (providerConfig{From: block.From}) {
		return err
	}
	_, err = read(req.Target, block, req.Inputs)

	return err
}

// Measure measures.
func (p Provider) Measure(ctx context.Context, req *metricprovider.MeasureRequest) (*metricprovider.Measurement, error) {
	block, err := config.Decode[providerConfig](req.Config)
	switch {
	case err != nil:
		return nil, err
	case block.Hang:
		<-ctx.Done()

		return nil, ctx.Err()
	case block.Fail != "":
		return metricprovider.Failuref("%s", block.Fail), nil
	case block.Pending > 0:
		return p.Resume(ctx, &metricprovider.MeasureRequest{Config: req.Config, State: []byte("0")})
	case block.Value != nil:
		return &metricprovider.Measurement{Outcome: metricprovider.Scalar(*block.Value)}, nil
	}
	found, err := read(req.Target, block, req.Inputs)
	if err != nil {
		return nil, err
	}
	value, err := strconv.ParseFloat(found.View.Data["value"], 64)
	if err != nil {
		return metricprovider.Failuref("%v: %v", found.Ref, err), nil
	}

	return &metricprovider.Measurement{
		Outcome:        metricprovider.Vector{value},
		ResultMetadata: map[string]string{"from": found.Ref.String()},
	}, nil
}

// Resume counts down.
func (Provider) Resume(_ context.Context, req *metricprovider.MeasureRequest) (*metricprovider.Measurement, error) {
	block, err := config.Decode[providerConfig](req.Config)
	if err != nil {
		return nil, err
	}
	calls, err := strconv.Atoi(string(req.State))
	if err != nil {
		return nil, plugin.Blocked("state %q is not ours", req.State)
	}
	if calls < block.Pending {
		return &metricprovider.Measurement{
			Outcome: metricprovider.Pending{State: []byte(strconv.Itoa(calls + 1)), ResumeAfter: 1},
		}, nil
	}

	return &metricprovider.Measurement{
		Outcome: metricprovider.Verdict{Result: metricprovider.Successful, Value: "counted"},
	}, nil
}

// Cancel has nothing to end.
func (Provider) Cancel(context.Context, *metricprovider.CancelRequest) (*metricprovider.Cleanup, error) {
	return &metricprovider.Cleanup{Done: true}, nil
}

func read(target plugin.Target, block providerConfig, in *objects.Inputs) (*objects.Typed[configMap], error) {
	if block.From == "" {
		return nil, plugin.InvalidConfig("from", "is required where there is no value")
	}

	return objects.Get[configMap](in, objects.Need{
		Kind: "ConfigMap", Versions: []string{"v1"}, Namespace: target.Namespace, Name: block.From,
	})
}
