// Package conformance checks a plugin against the contract, the same way in the author's process and against a binary in
// any language.
//
// The suites play the host: they hold the objects, feed what the plugin needs, apply what it writes with the same checks,
// and let the fixture play the data plane. In a test:
//
//	conformance.TestTrafficRouter(t, conformance.InProcess(info, trafficrouter.Service(router)), conformance.RouterFixture{...})
//
// and against a binary, with the same fixture:
//
//	conformance.TestTrafficRouter(t, conformance.Binary("./bin/myrouter"), conformance.RouterFixture{...})
package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
)

// Status is how a case ended.
type Status string

const (
	// Passed: the plugin keeps this part of the contract.
	Passed Status = "passed"
	// Failed: it does not.
	Failed Status = "failed"
	// Skipped: the plugin lacks the capability, or the fixture what the case needs.
	Skipped Status = "skipped"
)

// Report is the outcome of a suite.
type Report struct {
	// Plugin and Version are what the plugin says it is.
	Plugin  string `yaml:"plugin" json:"plugin"`
	Version string `yaml:"version" json:"version"`
	// Service is the gRPC service that was checked.
	Service string `yaml:"service" json:"service"`
	// Capabilities are those the service declares.
	Capabilities []string `yaml:"capabilities" json:"capabilities,omitempty"`
	// Results in the order in which the cases ran.
	Results []Result `yaml:"results" json:"results"`
}

// Result is the outcome of a case.
type Result struct {
	// Case is a sentence that says what is promised.
	Case   string `yaml:"case" json:"case"`
	Status Status `yaml:"status" json:"status"`
	// Detail says what was found, or why the case was skipped. Empty when it passed.
	Detail string `yaml:"detail,omitempty" json:"detail,omitempty"`
	// Cure says what a plugin that failed has to do. Empty when it did not fail.
	Cure string `yaml:"cure,omitempty" json:"cure,omitempty"`
}

// YAML prints the report.
func (r Report) YAML() ([]byte, error) { return yaml.Marshal(r) }

// Failures returns the results that failed. Empty: the plugin conforms.
func (r Report) Failures() []Result {
	var failed []Result
	for _, result := range r.Results {
		if result.Status == Failed {
			failed = append(failed, result)
		}
	}

	return failed
}

// caseTimeout bounds a case, whatever the plugin does.
const caseTimeout = 60 * time.Second

// errSkip ends a case that does not apply.
var errSkip = errors.New("skipped")

func skip(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errSkip}, args...)...)
}

// check is one case of a suite.
type check[S any] struct {
	name string
	run  func(ctx context.Context, suite S) error
}

// anyBlock are the cases that make sense also with a block the plugin refuses.
var anyBlock = map[string]bool{
	caseHealth: true, caseUnknown: true, caseSums: true,
}

// runChecks runs the cases in order. Unfit is why only those of anyBlock can be run; "": all can. When the plugin does not
// survive a case, that is its result, and the rest is skipped.
func runChecks[S any](ctx context.Context, conn *Connection, suite S, unfit string, checks []check[S]) []Result {
	results := make([]Result, 0, len(checks))
	lost := ""
	for _, c := range checks {
		result := Result{Case: c.name, Status: Passed}
		if lost != "" || unfit != "" && !anyBlock[c.name] {
			result.Status, result.Detail = Skipped, cmp.Or(lost, unfit)
			results = append(results, result)

			continue
		}
		bounded, cancel := context.WithTimeout(ctx, caseTimeout)
		err := c.run(bounded, suite)
		cancel()
		switch {
		case errors.Is(err, errSkip):
			result.Status, result.Detail = Skipped, err.Error()[len(errSkip.Error())+2:]
		case err != nil:
			result.Status, result.Detail, result.Cure = Failed, err.Error(), cures[c.name]
			if gone := conn.gone(ctx); gone != nil {
				result.Detail = gone.Error() + "\n" + result.Detail
				result.Cure = "A plugin survives every call: correct what ended it, and recover from panics in the handler of a call."
				lost = fmt.Sprintf("the plugin did not survive %q", c.name)
			}
		}
		results = append(results, result)
	}

	return results
}

// newReport is about a service of the plugin, without results.
func newReport[C fmt.Stringer](described *lifecyclev1.DescribeResponse, service string, capabilities []C) Report {
	report := Report{Plugin: described.GetName(), Version: described.GetVersion(), Service: service}
	for _, capability := range capabilities {
		report.Capabilities = append(report.Capabilities, capability.String())
	}

	return report
}

// named gives a target of a fixture what it does not say itself.
func named(target plugin.Target, name, uid string) plugin.Target {
	target.Name = cmp.Or(target.Name, name)
	target.Namespace = cmp.Or(target.Namespace, "shop")
	target.UID = cmp.Or(target.UID, uid)

	return target
}

// show turns a report into subtests.
func show(t *testing.T, report Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("running the suite: %v", err)
	}
	for _, result := range report.Results {
		t.Run(result.Case, func(t *testing.T) {
			switch result.Status {
			case Failed:
				t.Errorf("found: %s\ncure: %s", result.Detail, result.Cure)
			case Skipped:
				t.Skip(result.Detail)
			case Passed:
			}
		})
	}
}
