package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// Streams are what a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Exit codes besides 0.
const (
	// ExitFailed: the command could not do what it was asked, or found what it
	// was asked to look for: a degraded Rollout, an invalid manifest.
	ExitFailed = 1
	// ExitUsage: the command line makes no sense.
	ExitUsage = 2
	// ExitTimeout: --timeout is over.
	ExitTimeout = 3
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{ExitUsage, fmt.Errorf(format, args...)}
}

// Run runs the command line and returns the exit code. What went wrong is on
// Err already.
func Run(ctx context.Context, args []string, s Streams) int {
	root := New(s)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{ExitFailed, explain(err)}
		if strings.HasPrefix(err.Error(), "unknown ") || strings.Contains(err.Error(), " arg(s)") || strings.Contains(err.Error(), "required flag") {
			exit = &exitError{ExitUsage, fmt.Errorf("%w\nsee '%s --help'", err, cmd.CommandPath())}
		}
	}
	if exit.err != nil && exit.err.Error() != "" {
		_, _ = fmt.Fprintln(s.Err, "error:", exit.err)
	}
	return exit.code
}

// program is what all commands share.
type program struct {
	Streams
	style  style
	target target
}

// New is the root command.
func New(s Streams) *cobra.Command {
	p := &program{Streams: s, style: styleFor(s.Out)}
	root := &cobra.Command{
		Use:           "kubectl-sluice",
		Short:         "See and steer Rollouts",
		Long:          "See and steer Rollouts: what they do, why they wait, what they would do.\n\nEverything written is a plain field of the object: Sluice's controller and Argo Rollouts' both understand it.",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: calledAs()},
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w\nsee '%s --help'", err, cmd.CommandPath())
	})
	p.target.bind(root.PersistentFlags())
	root.AddGroup(&cobra.Group{ID: "see", Title: "See:"}, &cobra.Group{ID: "steer", Title: "Steer:"}, &cobra.Group{ID: "offline", Title: "Before it happens:"})
	p.add(root, "see", p.get(), p.list(), p.status(), p.why(), p.plugins())
	p.add(root, "steer", p.promote(), p.abort(), p.retry(), p.undo(), p.pause(), p.restart(), p.set(), p.terminate(), p.create())
	p.add(root, "offline", p.plan(), p.lint(), p.migrate())
	root.AddCommand(p.version())
	_ = root.RegisterFlagCompletionFunc("namespace", p.completeNamespaces) // the flag exists
	return root
}

func (p *program) add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// calledAs is how the user called the program: kubectl runs plugins by their
// file name.
func calledAs() string {
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	if strings.HasPrefix(name, "kubectl-") {
		return strings.Replace(name, "kubectl-", "kubectl ", 1)
	}
	return "kubectl sluice"
}

func (p *program) printf(format string, args ...any) { _, _ = fmt.Fprintf(p.Out, format, args...) }

// progress tells a person who waits; pipes get nothing of it.
func (p *program) progress(format string, args ...any) {
	if isTerminal(p.Err) {
		_, _ = fmt.Fprintf(p.Err, format+"\n", args...)
	}
}
