package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/conformance/fixture"
)

func (p *program) checkPlugin(ctx context.Context, args []string, file string, print bool, out output) error {
	launch := conformance.Binary(args[0], args[1:]...)
	if print {
		described, err := conformance.Introduce(ctx, launch)
		if err == nil {
			_, err = io.WriteString(p.Out, fixture.Print(described))
		}
		return err
	}
	var fixtures conformance.Fixtures
	if file != "" {
		loaded, closeAll, err := fixture.Load(file)
		if err != nil {
			return err
		}
		defer closeAll()
		fixtures = loaded
	}
	p.progress("running the suites …")
	reports, err := conformance.Check(ctx, launch, fixtures)
	if err != nil {
		return err
	}
	if out.plain() {
		err = p.encode(out, reports)
	} else {
		err = reports.Text(p.Out)
	}
	if n := len(reports.Failures()); err == nil && n > 0 {
		return &exitError{ExitFailed, fmt.Errorf("%d cases failed", n)}
	}
	return err
}
