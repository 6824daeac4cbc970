package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
	metricv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

// ProviderFixture is what a suite has to know about one metric provider.
type ProviderFixture struct {
	// Process is the process-level configuration for Configure. Empty: none.
	Process string
	// Egress are the entries of egress.allow that the blocks below need, such as the loopback addresses of a test. Nil: none.
	Egress []string
	// Config is the provider's block of a metric, as JSON, that measures. Empty: `{}`; if the provider refuses that, most
	// cases are skipped.
	Config string
	// Check looks at the outcome of a measurement with Config. Nil: any value or verdict will do.
	Check func(*metricv1.MeasureResponse) error
	// Target is the run. Zero fields get values.
	Target plugin.Target
	// Objects are the objects of the cluster, as JSON.
	Objects []string
	// Converge plays whatever works on the objects, such as the Job controller, after each write and before a pending
	// measurement is resumed. Nil: nothing does.
	Converge func(*objects.Object)
	// Failing is a block for which the system answers with a failure (HTTP 500, a bad query). Empty: the case is skipped.
	Failing string
	// Hanging is a block for which the system does not answer. Empty: the case is skipped.
	Hanging string
	// Unreachable is a block for which there is no system to ask: an error, not a failure. Empty: the case is skipped.
	Unreachable string
	// UnknownField is a block with a field that is not known, and UnknownPath that field's path. Empty: Config with the
	// field `conformanceUnknown` at its root.
	UnknownField, UnknownPath string
	// Missing is a block that refers to an object that is not in Objects. Empty: the case is skipped.
	Missing string
}

// TestMetricProvider runs the suite as subtests.
func TestMetricProvider(t *testing.T, launch Launcher, fixture ProviderFixture) {
	t.Helper()
	report, err := MetricProvider(t.Context(), launch, fixture)
	show(t, report, err)
}

// MetricProvider runs the suite. An error means that the suite could not run; what the plugin does wrong is in the report.
func MetricProvider(ctx context.Context, launch Launcher, fixture ProviderFixture) (Report, error) {
	fixture.Target = named(fixture.Target, "web-analysis", "run-uid")
	guessed := fixture.Config == ""
	fixture.Config = orEmpty(fixture.Config)
	conn, err := launch(ctx)
	if err != nil {
		return Report{}, err
	}
	defer conn.Close()

	service := metricv1.MetricProvider_ServiceDesc.ServiceName
	described, err := introduce(ctx, conn, fixture.Process, service, fixture.Egress...)
	if err != nil {
		return Report{}, err
	}
	client := metricv1.NewMetricProviderClient(conn.Conn)
	answer, err := client.Capabilities(ctx, &metricv1.CapabilitiesRequest{})
	if err != nil {
		return Report{}, fmt.Errorf("asking for capabilities: %w", err)
	}
	suite := &providerSuite{
		fixture: fixture, conn: conn, client: client,
		wanted: described.GetKinds(), capabilities: answer.GetCapabilities(),
	}
	unfit := ""
	if guessed {
		unfit = refusal(suite.validate(ctx, fixture.Config))
	}
	report := newReport(described, service, answer.GetCapabilities())
	report.Results = runChecks(ctx, conn, suite, unfit, providerChecks())

	return report, nil
}

// providerSuite is what the cases of one run share.
type providerSuite struct {
	fixture      ProviderFixture
	conn         *Connection
	client       metricv1.MetricProviderClient
	wanted       []*lifecyclev1.WantedKind
	capabilities []metricv1.Capability
}

func (s *providerSuite) can(capability metricv1.Capability) bool {
	return slices.Contains(s.capabilities, capability)
}

func (s *providerSuite) validate(ctx context.Context, block string) error {
	c, err := newCluster(s.fixture.Objects, s.wanted)
	if err != nil {
		return err
	}
	var needs []*typesv1.Need

	return feed(c, &needs, func(inputs []*typesv1.NeedResult) ([]*typesv1.Need, error) {
		answer, err := s.client.Validate(ctx, &metricv1.ValidateRequest{
			Target: s.fixture.Target.Proto(), Config: rawConfig(block), Inputs: inputs,
		})

		return answer.GetNeeds(), err
	})
}

// measures takes one measurement with the fixture's block and checks its outcome.
func (s *providerSuite) measures(ctx context.Context, id string) error {
	c, err := newCluster(s.fixture.Objects, s.wanted)
	if err != nil {
		return err
	}
	answer, err := s.measure(ctx, c, id, s.fixture.Config)
	if err != nil {
		return err
	}

	return s.check(answer)
}

func (s *providerSuite) check(answer *metricv1.MeasureResponse) error {
	if s.fixture.Check != nil {
		return s.fixture.Check(answer)
	}
	if answer.GetValue() == nil && answer.GetVerdict() == nil {
		return fmt.Errorf("want a value or a verdict, got %v", answer)
	}

	return nil
}

// maxResumes bounds how long a pending measurement is followed.
const maxResumes = 100

// measure starts a measurement and follows it to its end.
func (s *providerSuite) measure(ctx context.Context, c *cluster, id, block string) (*metricv1.MeasureResponse, error) {
	var (
		needs []*typesv1.Need
		state []byte
	)
	for range maxResumes {
		var answer *metricv1.MeasureResponse
		err := feed(c, &needs, func(inputs []*typesv1.NeedResult) ([]*typesv1.Need, error) {
			var err error
			answer, err = s.client.Measure(ctx, &metricv1.MeasureRequest{
				Target: s.fixture.Target.Proto(), Metric: "conformance", MeasurementId: id,
				Config: rawConfig(block), State: state, Inputs: inputs,
			})

			return answer.GetNeeds(), err
		})
		if err != nil {
			return nil, err
		}
		if err := c.apply(s.fixture.Target.Namespace, s.fixture.Target.UID, answer.GetWrites()); err != nil {
			return nil, err
		}
		if answer.GetOutcome() == nil {
			return nil, errors.New("no outcome although all needs were answered")
		}
		pending := answer.GetPending()
		if pending == nil {
			return answer, nil
		}
		if !s.can(metricv1.Capability_CAPABILITY_PENDING) {
			return nil, errors.New("answered Pending without CAPABILITY_PENDING")
		}
		if len(pending.GetState()) > 1<<10 {
			return nil, fmt.Errorf("state has %d bytes, more than 1024", len(pending.GetState()))
		}
		state = pending.GetState()
		if s.fixture.Converge != nil {
			if err := c.converge(s.fixture.Converge); err != nil {
				return nil, err
			}
		}
	}

	return nil, fmt.Errorf("still pending after %d calls", maxResumes)
}
