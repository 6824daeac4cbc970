package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/api"
	apiv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
)

const (
	// maxBody bounds an answer, after decompression. A million samples are no metric.
	maxBody = 1 << 20
	// maxRedirects bounds how far a request is sent around.
	maxRedirects = 3
)

var errTooLarge = fmt.Errorf("the answer is larger than %d MiB: aggregate in the query", maxBody>>20)

// newTransport returns a transport that is shared by all measurements. Its timeouts are Argo's.
func newTransport(insecure bool) http.RoundTripper {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: insecure}, //nolint:gosec // the metric's own choice
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           100,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// ask sends the instant query. Prometheus evaluates it at its own now, so that clocks need not agree.
func ask(ctx context.Context, r request, transport http.RoundTripper) (model.Value, apiv1.Warnings, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	client, err := api.NewClient(api.Config{
		Address: r.address.String(),
		Client:  &http.Client{Transport: &guarded{r, transport}, CheckRedirect: checkRedirect},
	})
	if err != nil {
		return nil, nil, err
	}

	return apiv1.NewAPI(client).Query(ctx, r.query, time.Time{})
}

func checkRedirect(_ *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}

	return nil
}

// guarded adds the metric's headers to a request and bounds its answer.
type guarded struct {
	request request
	next    http.RoundTripper
}

func (g *guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	if g.trusts(req) {
		req = req.Clone(req.Context()) // A RoundTripper must not change its request.
		for _, h := range g.request.headers {
			req.Header.Set(h.Key, h.Value)
		}
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &limited{ReadCloser: resp.Body, left: maxBody}

	return resp, nil
}

// trusts says whether a request goes where the metric's author sent it. Headers often hold a credential: a redirect does
// not get to take them to another host, or out of TLS.
func (g *guarded) trusts(req *http.Request) bool {
	to := g.request.address
	if req.URL.Hostname() != to.Hostname() {
		return false
	}

	return req.URL.Scheme == to.Scheme || req.URL.Scheme == "https"
}

// limited fails a body that goes on after left bytes, where io.LimitReader would pass it off as complete.
type limited struct {
	io.ReadCloser

	left int
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p[:min(len(p), l.left+1)])
	if l.left -= n; l.left < 0 {
		return 0, errTooLarge
	}

	return n, err
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
