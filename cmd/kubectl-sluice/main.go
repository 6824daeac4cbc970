// The command line: `kubectl sluice …`, or `kubectl-sluice …` on its own.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sluice-rollouts/sluice/cmd/kubectl-sluice/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
