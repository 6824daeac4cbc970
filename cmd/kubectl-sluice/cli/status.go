package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

func (p *program) status() *cobra.Command {
	var wait, pauseIsSuccess bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "status ROLLOUT", Short: "Wait until an update is over; the exit code says how it ended",
		Long: `Wait until the Rollout is Healthy or Degraded, telling each change of phase.

Exit codes: 0 Healthy (or Paused with --success-on-pause), 1 Degraded or any
error, 3 --timeout is over. With --watch=false the state of this moment decides,
and only Degraded is a failure.`,
		Args: oneName("rollout"), ValidArgsFunction: p.complete(rollouts),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			ro, err := c.rollout(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if !wait {
				if _, err := p.tellPhase(ro, "", pauseIsSuccess); !errors.Is(err, errEnd) {
					return err
				}
				return nil
			}
			return p.awaitEnd(cmd.Context(), c, ro, timeout, pauseIsSuccess)
		},
	}
	cmd.Flags().BoolVarP(&wait, "watch", "w", true, "wait for the end")
	cmd.Flags().DurationVarP(&timeout, "timeout", "t", 0, "how long to wait; 0 is for ever")
	cmd.Flags().BoolVar(&pauseIsSuccess, "success-on-pause", false, "a pause is an end, too: promotion is somebody else's business")
	return cmd
}

// tellPhase prints the phase unless it is the one that was told last, and says
// whether it is an end.
func (p *program) tellPhase(ro *v1alpha1.Rollout, told string, pauseIsSuccess bool) (line string, end error) {
	phase, message := phaseOf(ro)
	line = string(phase)
	if message != "" {
		line += " - " + message
	}
	if line != told {
		p.printf("%s\n", p.style.paint(marks[string(phase)].colour, line))
	}
	switch {
	case phase == v1alpha1.RolloutPhaseHealthy, phase == v1alpha1.RolloutPhasePaused && pauseIsSuccess:
		return line, errEnd
	case phase == v1alpha1.RolloutPhaseDegraded:
		return line, fmt.Errorf("rollout %s is degraded: %s", ro.Name, message)
	}
	return line, nil
}

// errEnd ends a watch that found what it was waiting for.
var errEnd = errors.New("done")

func (p *program) awaitEnd(ctx context.Context, c *cluster, ro *v1alpha1.Rollout, timeout time.Duration, pauseIsSuccess bool) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	told := ""
	err := c.follow(ctx, &v1alpha1.RolloutList{}, ro.Name, func(obj client.Object, gone bool) (err error) {
		now, ok := obj.(*v1alpha1.Rollout)
		if !ok {
			return nil
		}
		if gone {
			return fmt.Errorf("rollout %s was deleted", ro.Name)
		}
		told, err = p.tellPhase(now, told, pauseIsSuccess)
		return err
	})
	if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil && timeout > 0 && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &exitError{ExitTimeout, fmt.Errorf("rollout %s is still %q after %s; 'why %s' says what it waits for", ro.Name, told, timeout, ro.Name)}
	}
	return err
}

// follow shows the objects of a kind, or one by name, as they are and with each
// change, until see returns an error; errEnd is none. Watches that end are begun
// again.
func (c *cluster) follow(ctx context.Context, list client.ObjectList, name string, see func(obj client.Object, gone bool) error) error {
	opts := []client.ListOption{client.InNamespace(c.namespace)}
	if name != "" {
		opts = append(opts, client.MatchingFields{"metadata.name": name})
	}
	for {
		w, err := c.Watch(ctx, list, opts...)
		if err != nil {
			return err
		}
		err = drain(ctx, w, see)
		w.Stop()
		switch {
		case errors.Is(err, errEnd):
			return nil
		case err != nil:
			return err
		}
	}
}

// drain returns nil when the server ends the watch.
func drain(ctx context.Context, w watch.Interface, see func(client.Object, bool) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.ResultChan():
			if !ok {
				return nil
			}
			obj, is := e.Object.(client.Object)
			if !is || e.Type == watch.Error || e.Type == watch.Bookmark {
				continue
			}
			if err := see(obj, e.Type == watch.Deleted); err != nil {
				return err
			}
		}
	}
}
