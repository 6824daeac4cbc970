package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"

	apiv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/sluice-rollouts/sluice/sdk/egress"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// What a measurement may carry stays under the contract's 4 KiB of metadata, and its message readable.
const (
	maxMessage  = 1 << 10
	maxQuery    = 3 << 10
	maxWarnings = 2 << 10
	maxDetail   = 256
)

// addressEnv is where Argo Rollouts looks for the default address. It reaches the process if its entry passes it.
const addressEnv = "ARGO_ROLLOUTS_PROMETHEUS_ADDRESS"

// Keys users know from Argo's provider.
const (
	metadataQuery    = "ResolvedPrometheusQuery"
	metadataWarnings = "warnings"
)

//go:embed schema.json
var schema []byte

//go:embed process-schema.json
var processSchema []byte

// provider asks Prometheus. Only its default address, the rules about addresses and idle connections live longer than a
// call.
type provider struct {
	defaults atomic.Pointer[processConfig]
	guard    *egress.Guard
}

var _ metricprovider.Provider = (*provider)(nil)

func newProvider() *provider {
	p := &provider{guard: egress.NewGuard()}
	p.defaults.Store(&processConfig{Address: os.Getenv(addressEnv)})

	return p
}

func (p *provider) info() plugin.Info {
	return plugin.Info{Name: "prometheus", Version: "0.1.0", ConfigSchema: processSchema, Configure: p.configure, Egress: p.guard.Set}
}

func (p *provider) service() plugin.Service {
	return metricprovider.Service(p).WithConfigSchema(schema)
}

func (p *provider) configure(_ context.Context, raw []byte) error {
	c, err := parseProcessConfig(raw)
	if err != nil {
		return err
	}
	if c.Address == "" {
		c.Address = os.Getenv(addressEnv)
	}
	p.defaults.Store(&c)

	return nil
}

// Validate checks the configuration. It asks nobody.
func (p *provider) Validate(_ context.Context, req *metricprovider.ValidateRequest) error {
	r, err := parseConfig(req.Config, *p.defaults.Load())
	if err == nil && r.login.SigV4 != (sigV4{}) && !r.signed() {
		req.Warnf("authentication.sigv4 has no effect: %s is not Amazon Managed Service for Prometheus", r.address.Host)
	}

	return err
}

// Measure asks once. What Prometheus says, also that it cannot, and also its silence for longer than the metric's timeout,
// is an answer; only when the host itself gives up is there none.
func (p *provider) Measure(ctx context.Context, req *metricprovider.MeasureRequest) (*metricprovider.Measurement, error) {
	r, err := parseConfig(req.Config, *p.defaults.Load())
	if err != nil {
		return nil, err
	}
	answer, warnings, err := p.ask(ctx, r)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("asking Prometheus: %w", context.Cause(ctx))
	}
	var outcome metricprovider.Outcome
	if err == nil {
		outcome, err = convert(answer)
	}
	if err != nil {
		outcome = metricprovider.Failure{Message: explain(r, err)}
	}
	measurement := &metricprovider.Measurement{
		Outcome:        outcome,
		ResultMetadata: map[string]string{metadataQuery: cut(r.query, maxQuery)},
	}
	if len(warnings) > 0 {
		measurement.Metadata = map[string]string{metadataWarnings: cut(quoteAll(warnings), maxWarnings)}
	}

	return measurement, nil
}

// explain is what went wrong, for people: bounded, on one line, and without anything of the address but scheme and host,
// since the rest may hold a secret.
func explain(r request, err error) string {
	at := r.address.Scheme + "://" + r.address.Host
	var (
		refused *apiv1.Error
		failed  *url.Error
		large   *egress.TooLargeError
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return cut(fmt.Sprintf("%s gave no answer within %v", at, r.timeout), maxMessage)
	case errors.As(err, &large):
		return cut(fmt.Sprintf("%s: %v: aggregate in the query", at, large), maxMessage)
	case errors.As(err, &refused):
		text := fmt.Sprintf("%s: %s: %s", at, refused.Type, withoutDump(refused.Msg))
		if detail := oneLine(refused.Detail); detail != "" {
			text += ": " + cut(detail, maxDetail)
		}

		return cut(oneLine(text), maxMessage)
	case errors.As(err, &failed):
		return cut(oneLine(fmt.Sprintf("%s: %v", at, failed.Err)), maxMessage) // Without the URL in front.
	case errors.Is(err, errHistogram), errors.Is(err, errMoment), errors.Is(err, errLogin):
		return cut(fmt.Sprintf("%s: %v", at, err), maxMessage)
	}

	return cut(fmt.Sprintf("%s: cannot read the answer: %s", at, oneLine(withoutDump(err.Error()))), maxMessage)
}

// withoutDump drops the pieces of the answer that the JSON library adds to its errors.
func withoutDump(text string) string {
	text, _, _ = strings.Cut(text, ", error found in")

	return text
}

// quoteAll joins warnings the way Argo shows them: `"one", "two"`.
func quoteAll(warnings []string) string { return `"` + strings.Join(warnings, `", "`) + `"` }

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// cut bounds a text to a number of bytes, without breaking a character.
func cut(text string, limit int) string {
	const ellipsis = "…"
	if len(text) <= limit {
		return strings.ToValidUTF8(text, "")
	}

	return strings.ToValidUTF8(text[:limit-len(ellipsis)], "") + ellipsis
}
