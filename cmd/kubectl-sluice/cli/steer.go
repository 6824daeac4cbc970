package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// each runs a change for every named Rollout.
func (p *program) each(change func(context.Context, *cluster, *v1alpha1.Rollout) (done string, err error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		for _, name := range args {
			ro, err := c.rollout(cmd.Context(), name)
			if err != nil {
				return err
			}
			done, err := change(cmd.Context(), c, ro)
			if err != nil {
				return fmt.Errorf("rollout %s: %w", ro.Name, explain(err))
			}
			p.printf("rollout '%s' %s\n", ro.Name, done)
		}
		return nil
	}
}

func (p *program) abort() *cobra.Command {
	return &cobra.Command{
		Use:   "abort ROLLOUT...",
		Short: "Give up the update: traffic and pods go back to the stable revision",
		Long:  "Give up the update: traffic goes back to the stable revision first, then its Services, then the pods of the new one leave.\nThe Rollout stays Degraded until it is retried, or until its template is changed back (undo).",
		Args:  someNames("rollout"), ValidArgsFunction: p.complete(rollouts),
		RunE: p.each(func(ctx context.Context, c *cluster, ro *v1alpha1.Rollout) (string, error) {
			return "aborted", c.patchStatus(ctx, ro, fields{"abort": true})
		}),
	}
}

func (p *program) pause() *cobra.Command {
	return &cobra.Command{
		Use: "pause ROLLOUT...", Short: "Stop where it is; 'promote' goes on",
		Args: someNames("rollout"), ValidArgsFunction: p.complete(rollouts),
		RunE: p.each(func(ctx context.Context, c *cluster, ro *v1alpha1.Rollout) (string, error) {
			return "paused", c.patch(ctx, ro, fields{"spec": fields{"paused": true}})
		}),
	}
}

func (p *program) restart() *cobra.Command {
	var in time.Duration
	cmd := &cobra.Command{
		Use: "restart ROLLOUT...", Short: "Replace the pods by new ones of the same revision, as availability allows",
		Args: someNames("rollout"), ValidArgsFunction: p.complete(rollouts),
		RunE: p.each(func(ctx context.Context, c *cluster, ro *v1alpha1.Rollout) (string, error) {
			// The field has whole seconds: rounded down it would spare the pods of this second.
			at := time.Now().Add(in + time.Second - 1).UTC().Format(time.RFC3339)
			return "restarts its pods at " + at, c.patch(ctx, ro, fields{"spec": fields{"restartAt": at}})
		}),
	}
	cmd.Flags().DurationVar(&in, "in", 0, "how long to wait before, e.g. 10m")
	return cmd
}

func (p *program) retry() *cobra.Command {
	cmd := &cobra.Command{Use: "retry", Short: "Start an aborted rollout or a failed experiment again", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage("say what: retry rollout NAME, or retry experiment NAME")
		}}
	cmd.AddCommand(&cobra.Command{
		Use: "rollout NAME...", Aliases: []string{"ro", "rollouts"}, Short: "Start an aborted update again from its first step",
		Args: someNames("rollout"), ValidArgsFunction: p.complete(rollouts),
		RunE: p.each(func(ctx context.Context, c *cluster, ro *v1alpha1.Rollout) (string, error) {
			if !ro.Status.Abort {
				return "is not aborted; nothing to retry", nil
			}
			return "retried", c.patchStatus(ctx, ro, fields{"abort": false})
		}),
	}, &cobra.Command{
		Use: "experiment NAME", Aliases: []string{"exp", "experiments"}, Short: "Run an experiment again from the beginning",
		Args: oneName("experiment"), ValidArgsFunction: p.complete(experiments),
		RunE: func(cmd *cobra.Command, args []string) error {
			ex := &v1alpha1.Experiment{}
			return p.one(cmd.Context(), args[0], ex, experiments(), func(c *cluster) (string, error) {
				return "retried", c.patchStatus(cmd.Context(), ex, nil)
			})
		},
	})
	return cmd
}

func (p *program) terminate() *cobra.Command {
	cmd := &cobra.Command{Use: "terminate", Short: "End an analysis run or an experiment", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usage("say what: terminate analysisrun NAME, or terminate experiment NAME")
		}}
	sub := func(use string, aliases []string, short string, obj func() client.Object, list func() client.ObjectList) *cobra.Command {
		return &cobra.Command{Use: use + " NAME", Aliases: aliases, Short: short, Args: oneName(use), ValidArgsFunction: p.complete(list),
			RunE: func(cmd *cobra.Command, args []string) error {
				o := obj()
				return p.one(cmd.Context(), args[0], o, list(), func(c *cluster) (string, error) {
					return "terminated", c.patch(cmd.Context(), o, fields{"spec": fields{"terminate": true}})
				})
			}}
	}
	cmd.AddCommand(
		sub("analysisrun", []string{"ar", "analysisruns"}, "End an analysis run: no more measurements; what was measured decides", func() client.Object { return &v1alpha1.AnalysisRun{} }, analysisRuns),
		sub("experiment", []string{"exp", "experiments"}, "End an experiment: its pods go", func() client.Object { return &v1alpha1.Experiment{} }, experiments))
	return cmd
}

// one runs a change for one object of any kind.
func (p *program) one(ctx context.Context, name string, obj client.Object, list client.ObjectList, change func(*cluster) (string, error)) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	if err := c.find(ctx, name, obj, list); err != nil {
		return err
	}
	done, err := change(c)
	if err != nil {
		return err
	}
	gvk, _ := c.GroupVersionKindFor(obj) // of our scheme
	p.printf("%s '%s' %s\n", strings.ToLower(gvk.Kind), obj.GetName(), done)
	return nil
}
