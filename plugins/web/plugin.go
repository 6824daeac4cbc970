package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/egress"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// Bounds of what a measurement tells people.
const (
	maxMessage = 1 << 10
	maxDetail  = 256
)

//go:embed schema.json
var schema []byte

// provider sends requests. Only the rules about addresses and idle connections live longer than a call.
type provider struct{ guard *egress.Guard }

var _ metricprovider.Provider = (*provider)(nil)

func newProvider() *provider { return &provider{guard: egress.NewGuard()} }

func (p *provider) info() plugin.Info {
	return plugin.Info{Name: "web", Version: "0.1.0", Egress: p.guard.Set}
}

func (p *provider) service() plugin.Service {
	return metricprovider.Service(p).WithConfigSchema(schema)
}

// Validate checks the configuration. It asks nobody.
func (p *provider) Validate(_ context.Context, req *metricprovider.ValidateRequest) error {
	_, err := parseConfig(req.Config)

	return err
}

// Measure asks once. What the server says, also that it cannot, and also its silence for longer than the metric's timeout,
// is an answer; only when the host itself gives up is there none.
func (p *provider) Measure(ctx context.Context, req *metricprovider.MeasureRequest) (*metricprovider.Measurement, error) {
	r, err := parseConfig(req.Config)
	if err != nil {
		return nil, err
	}
	outcome, err := p.ask(ctx, r)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("asking %s: %w", r.url.Host, context.Cause(ctx))
	}
	if err != nil {
		return metricprovider.Failuref("%s", explain(r, err)), nil
	}

	return &metricprovider.Measurement{Outcome: outcome}, nil
}

// explain is what went wrong, for people: bounded, on one line, and without anything of the address but scheme and host,
// since the rest may hold a secret.
func explain(r request, err error) string {
	at := r.url.Scheme + "://" + r.url.Host
	var (
		large  *egress.TooLargeError
		failed *url.Error
	)
	switch {
	case errors.As(err, &large), errors.Is(err, errAnswer) && !errors.As(err, &failed):
	case errors.As(err, &failed) && failed.Timeout():
		return fmt.Sprintf("%s gave no answer within %v", at, r.timeout)
	case errors.As(err, &failed):
		err = failed.Err // Without the URL in front.
	case isTimeout(err):
		return fmt.Sprintf("%s gave no answer within %v", at, r.timeout)
	default:
		err = errors.New("the answer could not be read")
	}

	return cut(fmt.Sprintf("%s: %s", at, oneLine(err.Error())), maxMessage)
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }

	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, http.ErrHandlerTimeout)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// cut bounds a text to a number of bytes, without breaking a character.
func cut(text string, limit int) string {
	const ellipsis = "…"
	if len(text) <= limit {
		return strings.ToValidUTF8(text, "")
	}

	return strings.ToValidUTF8(text[:limit-len(ellipsis)], "") + ellipsis
}
