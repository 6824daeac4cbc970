// Command plugin-conformance checks a plugin, in any language, against the contract in sdk/PROTOCOL.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/conformance/fixture"
)

// Exit codes.
const (
	passed   = 0
	failed   = 1
	unusable = 2
)

const usage = `Usage: plugin-conformance [flags] BINARY [arguments of the plugin]

Starts BINARY as the controller would, finds out which services it offers, and
runs the suite of each: what a plugin has to do is in sdk/PROTOCOL.md. It calls
every method, also those with effects: aim the plugin at systems for tests.

Flags:
  --fixture FILE    what the suites have to know about the plugin: a block it
                    accepts, the objects it sees, the systems it asks. Without it
                    the block {} is tried, and cases that need more are skipped
  --print-fixture   print a fixture to start from, and run nothing
  -o text|yaml|json how to print the report (default text)
  --logs            print what the plugin logs on standard error

Exit status: 0 no case failed, 1 a case failed, 2 there was nothing to check.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("plugin-conformance", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("fixture", "", "")
	output := flags.String("o", "text", "")
	printFixture := flags.Bool("print-fixture", false, "")
	logs := flags.Bool("logs", false, "")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)

		return passed
	case err != nil:
		fmt.Fprintf(stderr, "plugin-conformance: %v\n\n%s", err, usage)

		return unusable
	case flags.NArg() == 0:
		fmt.Fprintf(stderr, "plugin-conformance: name the plugin's executable\n\n%s", usage)

		return unusable
	case *output != "text" && *output != "yaml" && *output != "json":
		fmt.Fprintf(stderr, "plugin-conformance: -o %s: want text, yaml or json\n", *output)

		return unusable
	}
	if *logs {
		_ = os.Setenv("SLUICE_CONFORMANCE_LOG", "1") // cannot fail with this name
	}
	launch := conformance.Binary(flags.Arg(0), flags.Args()[1:]...)
	if *printFixture {
		described, err := conformance.Introduce(ctx, launch)
		if err != nil {
			return sorry(stderr, err)
		}
		fmt.Fprint(stdout, fixture.Print(described))

		return passed
	}
	reports, err := check(ctx, launch, *file)
	if err != nil {
		return sorry(stderr, err)
	}
	if err := print(stdout, reports, *output); err != nil {
		return sorry(stderr, err)
	}
	if *file == "" && *output == "text" {
		fmt.Fprintf(stdout, "Without a fixture, only what holds for any block was checked:\n"+
			"plugin-conformance --print-fixture %s > fixture.yaml is a start.\n", flags.Arg(0))
	}
	if len(reports.Failures()) > 0 {
		return failed
	}

	return passed
}

func sorry(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "plugin-conformance: %v\n", err)

	return unusable
}

func check(ctx context.Context, launch conformance.Launcher, file string) (conformance.Reports, error) {
	var fixtures conformance.Fixtures
	if file != "" {
		loaded, closeAll, err := fixture.Load(file)
		if err != nil {
			return nil, err
		}
		defer closeAll()
		fixtures = loaded
	}

	return conformance.Check(ctx, launch, fixtures)
}

func print(w io.Writer, reports conformance.Reports, format string) error {
	switch format {
	case "yaml":
		return yaml.NewEncoder(w).Encode(reports)
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")

		return encoder.Encode(reports)
	default:
		return reports.Text(w)
	}
}
