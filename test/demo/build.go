//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// program is one of Sluice's own programs.
type program struct{ pkg, file string }

// programs are built into the checkout's bin folder, where the go command sees
// what is up to date; the plugins apart, because the controller takes every
// file of its plugin folder for one.
var programs = []program{
	{"./cmd/controller", "controller"},
	{"./plugins/gatewayapi", "plugins/gatewayapi"},
	{"./plugins/prometheus", "plugins/prometheus"},
	{"./test/backend", "backend"},
}

// build builds everything that runs, foreign programs first: those take long,
// and tell about it themselves.
func (s *stack) build(ctx context.Context) error {
	_, err := foreign.Build(ctx, s.view, foreign.ControlPlane, foreign.Supervisor, foreign.Traefik, foreign.Prometheus)
	if err != nil {
		return err
	}
	for i, p := range programs {
		s.note("building Sluice: %s (%d of %d)", p.pkg, i+1, len(programs))
		if err := goBuild(ctx, s.root, p.pkg, s.bin(p.file)); err != nil {
			return err
		}
	}
	return nil
}

// bin is the path of one of the programs.
func (s *stack) bin(file string) string { return filepath.Join(s.root, "bin", file) }

func goBuild(ctx context.Context, dir, pkg, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	// Interrupted rather than killed, the go command removes its temporary files.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("building %s: %w\n%s", pkg, err, said.String())
	}
	return nil
}
