// Package e2e holds stories about the whole controller on a real control plane:
// the built programs, their own RBAC, plugins as processes. Only the gateway and
// Prometheus are stand-ins.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

var (
	// on is the stage of all stories.
	on *stage.Stage
	// shared is the controller of every story that leaves it alone.
	shared *stage.Controller
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Stories wait most of the time, so more of them run at once than there are
	// cores.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("6")
	}
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	var err error
	if on, err = stage.Open(context.Background(), stage.Options{Audited: true}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := on.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	if shared, err = on.SharedController(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code = m.Run()
	if code == 0 && whole() {
		if err := on.CheckRights(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := shared.Faultless(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// whole is true when no story was left out by name.
func whole() bool {
	return flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == ""
}
