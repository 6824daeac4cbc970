package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

func (p *program) list() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List rollouts or experiments", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usage("say what: list rollouts, or list experiments") }}
	cmd.AddCommand(
		p.listKind("rollouts", []string{"ro", "rollout"}, rollouts, rolloutTable),
		p.listKind("experiments", []string{"exp", "experiment"}, experiments, experimentTable))
	return cmd
}

func (p *program) listKind(use string, aliases []string, list func() client.ObjectList, table func(client.ObjectList, bool, bool) [][]string) *cobra.Command {
	var out output
	var everywhere bool
	cmd := &cobra.Command{Use: use, Aliases: aliases, Short: "List " + use, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			c, err := p.connect()
			if err != nil {
				return err
			}
			if everywhere {
				c.namespace = ""
			}
			l := list()
			if err := c.List(cmd.Context(), l, client.InNamespace(c.namespace)); err != nil {
				return err
			}
			var all []client.Object
			if err := eachItem(l, func(o client.Object) { all = append(all, o) }); err != nil {
				return err
			}
			switch {
			case out.plain():
				return p.printStored(cmd.Context(), c, out, all...)
			case len(all) == 0:
				_, _ = fmt.Fprintln(p.Err, "no "+use+" found")
				return nil
			}
			p.style.writeTable(p.Out, table(l, everywhere, out == "wide"))
			return nil
		}}
	out.bind(cmd)
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "in all namespaces")
	return cmd
}

func rolloutTable(l client.ObjectList, everywhere, wide bool) [][]string {
	head := []string{"NAME", "STRATEGY", "STATUS", "STEP", "SET-WEIGHT", "READY", "DESIRED", "UP-TO-DATE", "AVAILABLE"}
	if wide {
		head = append(head, "MESSAGE")
	}
	lines := [][]string{head}
	for i := range l.(*v1alpha1.RolloutList).Items {
		ro := &l.(*v1alpha1.RolloutList).Items[i]
		phase, message := phaseOf(ro)
		step, weight, want := stepOf(ro), "-", ro.Spec.ReplicasOrDefault()
		if step == "" {
			step = "-"
		}
		if w := wantedWeight(ro); w >= 0 {
			weight = fmt.Sprint(w)
		}
		line := []string{ro.Name, strategyOf(ro), withSign(string(phase)), step, weight, fmt.Sprintf("%d/%d", ro.Status.ReadyReplicas, want),
			fmt.Sprint(want), fmt.Sprint(ro.Status.UpdatedReplicas), fmt.Sprint(ro.Status.AvailableReplicas)}
		if wide {
			line = append(line, message)
		}
		lines = append(lines, line)
		if everywhere {
			lines[len(lines)-1] = append([]string{ro.Namespace}, line...)
		}
	}
	if everywhere {
		lines[0] = append([]string{"NAMESPACE"}, head...)
	}
	return lines
}

func experimentTable(l client.ObjectList, everywhere, wide bool) [][]string {
	head := []string{"NAME", "STATUS", "DURATION", "AGE"}
	if wide {
		head = append(head, "MESSAGE")
	}
	if everywhere {
		head = append([]string{"NAMESPACE"}, head...)
	}
	lines := [][]string{head}
	for _, ex := range l.(*v1alpha1.ExperimentList).Items {
		length := string(ex.Spec.Duration)
		if length == "" {
			length = "-"
		}
		line := []string{ex.Name, withSign(string(ex.Status.Phase)), length, viewer{now: time.Now()}.age(ex.CreationTimestamp.Time)}
		if wide {
			line = append(line, ex.Status.Message)
		}
		if everywhere {
			line = append([]string{ex.Namespace}, line...)
		}
		lines = append(lines, line)
	}
	return lines
}

func withSign(state string) string {
	if m, ok := marks[state]; ok {
		return m.sign + " " + state
	}
	return state
}
