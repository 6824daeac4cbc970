package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-rollouts/sluice/core/preview"
)

func (p *program) why() *cobra.Command {
	var out output
	var controllers string
	cmd := &cobra.Command{
		Use: "why ROLLOUT", Short: "Say what a rollout waits for: which gate, since when, what ends it",
		Long: `Say what a rollout waits for.

Gates are looked at in order: is there a controller that serves it, is its spec
accepted, did a person stop it, do its plugins answer, are its pods there, does
traffic follow, is the current step over, what is left to clean up. The first
that blocks is the answer. The facts come from the status the controller wrote
and from the live objects; traffic is what status says of it.

The exit code is 0, whatever the answer is.`,
		Args: oneName("rollout"), ValidArgsFunction: p.complete(rollouts),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "wide" || out == "name" {
				return usage("-o %s shows nothing more; use json or yaml", out)
			}
			if err := out.check(); err != nil {
				return err
			}
			c, err := p.connect()
			if err != nil {
				return err
			}
			ro, err := c.rollout(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			objects, err := c.surroundings(cmd.Context(), ro)
			if err != nil {
				return err
			}
			around, err := c.around(cmd.Context(), ro, controllers)
			if err != nil {
				return err
			}
			now := time.Now()
			e := preview.Explain(now, objects, around)
			if out.plain() {
				return p.encode(out, e)
			}
			p.tellWhy(now, ro.Name, e)
			return nil
		},
	}
	out.bind(cmd)
	cmd.Flags().StringVar(&controllers, "controller-namespace", "", "where the controller runs (default: wherever its lease is)")
	return cmd
}

func (p *program) tellWhy(now time.Time, name string, e preview.Explanation) {
	phase := p.style.state(e.Phase)
	if e.Message != "" {
		phase += " - " + e.Message
	}
	p.printf("rollout %s: %s\n\n", name, phase)
	if g, ok := e.Blocking(); ok {
		p.printf("%s\n", p.style.paint(yellow, fmt.Sprintf("It waits at gate %q: %s", g.Name, g.What)))
	} else {
		p.printf("%s\n", p.style.paint(green, "It waits for nothing."))
	}
	p.printf("\n")
	if e.Warning != "" {
		p.printf("%s %s\n\n", p.style.paint(yellow, "warning:"), e.Warning)
	}
	for _, g := range e.Gates {
		switch g.State {
		case preview.GatePassed:
			p.printf("%s %s\n", p.style.paint(green, "✔"), g.Name)
			continue
		case preview.GateBlocks:
			p.printf("%s %s", p.style.paint(red, "✖"), g.Name)
		default:
			p.printf("%s %s", p.style.paint(yellow, "…"), g.Name)
		}
		p.printf(" (%s): %s\n", g.Reason, g.What)
		for _, in := range g.Inputs {
			p.printf("    %s\n", in)
		}
		if !g.Since.IsZero() {
			p.printf("    since %s (%s)\n", g.Since.UTC().Format(time.RFC3339), ago(now, g.Since))
		}
		if g.EndedBy != "" {
			p.printf("    ended by %s", g.EndedBy)
			if !g.Until.IsZero() {
				p.printf(", at %s", g.Until.UTC().Format(time.RFC3339))
			}
			p.printf("\n")
		}
	}
}
