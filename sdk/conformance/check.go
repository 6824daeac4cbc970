package conformance

import (
	"context"
	"fmt"
	"testing"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
	metricv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
	stepv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/step/v1"
	routerv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
)

// Fixtures are what Check has to know about the services of one plugin; see package fixture for a file with them. The zero
// value: nothing.
type Fixtures struct {
	// Process is the process-level configuration for Configure, as JSON. Empty: none. It goes into the fixtures below that
	// have none of their own.
	Process string
	// Router, Provider and Step are for the service of that kind. Nil: the block `{}`, and two Services in the cluster.
	// If the plugin refuses that block, the cases that need one it accepts are skipped, and say so.
	Router   *RouterFixture
	Provider *ProviderFixture
	Step     *StepFixture
}

// Reports are the outcome of Check: the introduction first, then one report for each service the plugin offers, in the
// order in which it names them.
type Reports []Report

// Failures returns the results that failed, over all services. Empty: the plugin conforms.
func (r Reports) Failures() []Result {
	var failed []Result
	for _, report := range r {
		failed = append(failed, report.Failures()...)
	}

	return failed
}

// Check finds out which services a plugin offers and runs the suite of each, after one about how it introduces itself. It
// is the whole of a command that checks a binary:
//
//	reports, err := conformance.Check(ctx, conformance.Binary("./myplugin"), conformance.Fixtures{})
//
// An error means that there was nothing to check: it does not start, is no plugin, or a fixture is for a service it does
// not offer; the text says which, and how to cure it. What the plugin does wrong is in the reports. Every case is bounded
// (60 s), and so is the start (10 s).
func Check(ctx context.Context, launch Launcher, fixtures Fixtures) (Reports, error) {
	introduction, services, err := checkIntroduction(ctx, launch, fixtures.Process)
	if err != nil {
		return nil, err
	}
	if err := fixtures.offered(services); err != nil {
		return nil, err
	}
	reports := Reports{introduction}
	for _, name := range services {
		report, err := fixtures.run(ctx, launch, name)
		if err != nil {
			return nil, err
		}
		if report.Plugin == "" { // one the suites do not know
			report = Report{Plugin: introduction.Plugin, Version: introduction.Version, Service: name, Results: []Result{{
				Case: "the suites know the service", Status: Skipped,
				Detail: "they do not; a host ignores services it does not know",
			}}}
		}
		reports = append(reports, report)
	}

	return reports, nil
}

// TestPlugin runs Check as subtests, one for each service and case.
func TestPlugin(t *testing.T, launch Launcher, fixtures Fixtures) {
	t.Helper()
	reports, err := Check(t.Context(), launch, fixtures)
	if err != nil {
		t.Fatalf("running the suites: %v", err)
	}
	for _, report := range reports {
		t.Run(kindOf(report.Service), func(t *testing.T) { show(t, report, nil) })
	}
}

// run runs the suite of a service; the zero Report if there is none for it.
func (f Fixtures) run(ctx context.Context, launch Launcher, service string) (Report, error) {
	switch service {
	case routerv1.TrafficRouter_ServiceDesc.ServiceName:
		fixture := RouterFixture{Process: f.Process}
		if f.Router != nil {
			fixture = *f.Router
		}
		if fixture.Process == "" {
			fixture.Process = f.Process
		}

		return TrafficRouter(ctx, launch, fixture)
	case metricv1.MetricProvider_ServiceDesc.ServiceName:
		fixture := ProviderFixture{Process: f.Process}
		if f.Provider != nil {
			fixture = *f.Provider
		}
		if fixture.Process == "" {
			fixture.Process = f.Process
		}

		return MetricProvider(ctx, launch, fixture)
	case stepv1.Step_ServiceDesc.ServiceName:
		fixture := StepFixture{Process: f.Process}
		if f.Step != nil {
			fixture = *f.Step
		}
		if fixture.Process == "" {
			fixture.Process = f.Process
		}

		return Step(ctx, launch, fixture)
	default:
		return Report{}, nil
	}
}

// offered refuses a fixture that nothing would use.
func (f Fixtures) offered(services []string) error {
	has := map[string]bool{}
	for _, name := range services {
		has[name] = true
	}
	for _, given := range []struct {
		there         bool
		kind, service string
	}{
		{f.Router != nil, "traffic router", routerv1.TrafficRouter_ServiceDesc.ServiceName},
		{f.Provider != nil, "metric provider", metricv1.MetricProvider_ServiceDesc.ServiceName},
		{f.Step != nil, "step", stepv1.Step_ServiceDesc.ServiceName},
	} {
		if given.there && !has[given.service] {
			return fmt.Errorf("the fixture is for a %s, and the plugin offers %v only; remove that part of the fixture", given.kind, services)
		}
	}

	return nil
}

// Introduce starts a plugin and asks it who it is, and nothing else. The text of an error says what the file does instead
// of being a plugin.
func Introduce(ctx context.Context, launch Launcher) (*lifecyclev1.DescribeResponse, error) {
	conn, err := launch(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()

	return describe(ctx, conn)
}

// emptyBlock is what is tried where the fixture has no block.
const emptyBlock = "{}"

// refusal says why a plugin does not take the block that was tried for want of a fixture; "" if err is another kind of
// error, which the cases report.
func refusal(err error) string {
	if err == nil || !isInvalid(err) && !plugin.IsReferenceNotFound(err) {
		return ""
	}

	return fmt.Sprintf("this case needs a block that the plugin accepts, and it refuses %s: %v", emptyBlock, statusMessage(err))
}
