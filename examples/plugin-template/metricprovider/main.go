// Command metricprovider measures what an HTTP service answers in JSON. It is a start for a provider of your own: what is
// about the service is in ask.go, what is about the contract is here.
package main

import (
	"context"
	"errors"
	"net/url"

	"github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/egress"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

func main() {
	p := newProvider()
	metricprovider.Serve(p.info(), p)
}

// block is what users write in their AnalysisTemplate.
type block struct {
	// URL to ask, http or https. Required.
	URL string `json:"url"`
	// Field of the answer that is the measurement, such as data.errorRatio. Required.
	Field string `json:"field"`
}

// provider remembers nothing between calls but the rules about addresses. Users choose the address, so it is asked through
// the guard: a template must not reach what only the controller's pod can reach.
type provider struct{ guard *egress.Guard }

func newProvider() *provider { return &provider{guard: egress.NewGuard()} }

func (p *provider) info() plugin.Info {
	return plugin.Info{Name: "json-metrics", Version: "0.1.0", Egress: p.guard.Set}
}

// Validate is asked before the first measurement, and asks nobody.
func (p *provider) Validate(_ context.Context, req *metricprovider.ValidateRequest) error {
	_, err := parse(req.Config)

	return err
}

// Measure takes a measurement. Three things can come out, and the difference matters: a value, which the core judges; a
// Failure, when the service was asked and could not say, which counts against the analysis; and an error, when nobody was
// asked, after which the core waits and asks again.
func (p *provider) Measure(ctx context.Context, req *metricprovider.MeasureRequest) (*metricprovider.Measurement, error) {
	b, err := parse(req.Config)
	if err != nil {
		return nil, err
	}
	value, err := ask(ctx, p.guard.Client(egress.Options{}), b)
	var failed *failure
	switch {
	case errors.As(err, &failed):
		return metricprovider.Failuref("%s", failed), nil
	case err != nil:
		return nil, err
	}

	return &metricprovider.Measurement{
		Outcome:        metricprovider.Scalar(value),
		ResultMetadata: map[string]string{"field": b.Field},
	}, nil
}

// parse refuses what Measure could not use, with the path of the field that is wrong.
func parse(raw []byte) (block, error) {
	b, err := config.Decode[block](raw)
	if err != nil {
		return b, err
	}
	var errs []error
	if at, err := url.Parse(b.URL); err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		errs = append(errs, plugin.InvalidConfig("url", "want an http or https address, got %q", b.URL))
	}
	if b.Field == "" {
		errs = append(errs, plugin.InvalidConfig("field", "is required, such as data.errorRatio"))
	}

	return b, errors.Join(errs...)
}
