package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/api"
	apiv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/sluice-rollouts/sluice/sdk/egress"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
)

// ask sends the query. Prometheus evaluates an instant query at its own now, so that clocks need not agree.
func (p *provider) ask(ctx context.Context, r request) (model.Value, apiv1.Warnings, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	transport, err := login(ctx, r, p.guard.Transport(egress.Options{Insecure: r.insecure}))
	if err != nil {
		return nil, nil, err
	}
	guarded := p.guard.Client(egress.Options{Timeout: -1})
	client, err := api.NewClient(api.Config{
		Address: r.address.String(),
		Client:  &http.Client{Transport: &headed{r, transport}, CheckRedirect: guarded.CheckRedirect},
	})
	if err != nil {
		return nil, nil, err
	}
	if r.span == nil {
		return apiv1.NewAPI(client).Query(ctx, r.query, time.Time{})
	}
	covered, err := r.span.at(time.Now())
	if err != nil {
		return nil, nil, err
	}

	return apiv1.NewAPI(client).QueryRange(ctx, r.query, covered)
}

// headed adds the metric's headers to a request.
type headed struct {
	request request
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (g *headed) RoundTrip(req *http.Request) (*http.Response, error) {
	if g.request.trusts(req) {
		req = req.Clone(req.Context()) // A RoundTripper must not change its request.
		for _, h := range g.request.headers {
			req.Header.Set(h.Key, h.Value)
		}
	}

	return g.next.RoundTrip(req)
}

// trusts says whether a request goes where the metric's author sent it. Headers often hold a credential: a redirect does
// not get to take them to another host, or out of TLS.
func (r request) trusts(req *http.Request) bool {
	to := r.address
	if req.URL.Hostname() != to.Hostname() {
		return false
	}

	return req.URL.Scheme == to.Scheme || req.URL.Scheme == "https"
}

// convert turns an answer into a value. NaN and infinities are numbers. A range of samples becomes one list, series after
// series, as with Argo.
func convert(value model.Value) (metricprovider.Outcome, error) {
	switch v := value.(type) {
	case *model.Scalar:
		return metricprovider.Scalar(v.Value), nil
	case model.Vector:
		values := make(metricprovider.Vector, 0, len(v))
		for _, sample := range v {
			if sample.Histogram != nil {
				return nil, errHistogram
			}
			values = append(values, float64(sample.Value))
		}

		return values, nil
	case model.Matrix:
		values := metricprovider.Vector{}
		for _, series := range v {
			if len(series.Histograms) > 0 {
				return nil, errHistogram
			}
			for _, sample := range series.Values {
				values = append(values, float64(sample.Value))
			}
		}

		return values, nil
	default:
		return nil, fmt.Errorf("the query returns a %T: want a number or a vector", value)
	}
}

var errHistogram = errors.New("the query returns native histograms: want numbers, such as with histogram_quantile")
