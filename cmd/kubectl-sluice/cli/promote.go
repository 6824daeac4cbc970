package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

type promotion struct{ full, skipStep, skipAll bool }

func (p *program) promote() *cobra.Command {
	var how promotion
	cmd := &cobra.Command{
		Use:   "promote ROLLOUT...",
		Short: "Go on: end a pause, or skip what the current step waits for",
		Long: `Go on. In a pause the pause ends. In any other canary step (an analysis, an
experiment) the step is skipped. A Rollout stopped with 'pause' is released.

--full skips all steps, pauses and analyses that are left; pods still have to
become available.`,
		Args: someNames("rollout"), ValidArgsFunction: p.complete(rollouts),
		RunE: p.each(func(ctx context.Context, c *cluster, ro *v1alpha1.Rollout) (done string, err error) {
			err = retrying(func() error {
				if done != "" || err != nil {
					if ro, err = c.rollout(ctx, ro.Name); err != nil {
						return err
					}
				}
				done, err = how.write(ctx, c, ro)
				return err
			})
			return done, err
		}),
	}
	cmd.Flags().BoolVar(&how.full, "full", false, "skip all steps, pauses and analyses that are left")
	cmd.Flags().BoolVarP(&how.skipStep, "skip-current-step", "c", false, "skip the current step, whatever it is")
	cmd.Flags().BoolVarP(&how.skipAll, "skip-all-steps", "a", false, "skip all steps that are left")
	cmd.MarkFlagsMutuallyExclusive("full", "skip-current-step", "skip-all-steps")
	return cmd
}

// write releases the Rollout, then writes what the promotion means. A step
// index counts from the one that was seen: two people who promote at once move
// it by one only, because the second write conflicts.
func (how promotion) write(ctx context.Context, c *cluster, ro *v1alpha1.Rollout) (string, error) {
	status, done, err := how.change(ro)
	if err != nil {
		return "", err
	}
	version := ro.ResourceVersion
	if ro.Spec.Paused {
		if err := c.patch(ctx, ro, fields{"spec": fields{"paused": false}, "metadata": fields{"resourceVersion": version}}); err != nil {
			return done, err
		}
		version = ro.ResourceVersion
	}
	if status == nil {
		return done, nil
	}
	return done, c.patchStatusAt(ctx, ro, version, status)
}

// change is what goes into status; nil when nothing does.
func (how promotion) change(ro *v1alpha1.Rollout) (fields, string, error) {
	st, canary := ro.Status, ro.Spec.Strategy.Canary
	index, steps := int32(0), int32(0)
	if st.CurrentStepIndex != nil {
		index = *st.CurrentStepIndex
	}
	if canary != nil {
		steps = int32(len(canary.Steps))
	}
	done := "promoted"
	switch {
	case how.full:
		if st.CurrentPodHash == st.StableRS {
			return nil, "is fully promoted already", nil
		}
		return fields{"promoteFull": true}, "fully promoted", nil
	case (how.skipStep || how.skipAll) && steps == 0:
		return nil, "", fmt.Errorf("cannot skip steps: it has none; use 'promote' or 'promote --full'")
	case how.skipAll:
		return fields{"pauseConditions": nil, "currentStepIndex": steps}, done, nil
	case how.skipStep:
		if index >= steps {
			return nil, "", fmt.Errorf("cannot skip a step: all %d are done", steps)
		}
		return fields{"pauseConditions": nil, "currentStepIndex": index + 1}, done, nil
	case inconclusive(st):
		return fields{"pauseConditions": nil, "controllerPause": false, "currentStepIndex": min(index+1, steps)}, done, nil
	case len(st.PauseConditions) > 0:
		return fields{"pauseConditions": nil}, done, nil
	case st.Abort:
		return nil, "", fmt.Errorf("is aborted; use 'retry rollout %s', or 'promote --full' to overrule the abort", ro.Name)
	case steps > 0 && index < steps && st.CurrentPodHash != st.StableRS:
		return fields{"pauseConditions": nil, "currentStepIndex": index + 1}, done, nil
	case ro.Spec.Paused:
		return nil, done, nil
	}
	return nil, "has nothing to promote", nil
}

// inconclusive: the run of the current step could not tell, so that the step
// itself has to be skipped.
func inconclusive(st v1alpha1.RolloutStatus) bool {
	run := st.Canary.CurrentStepAnalysisRunStatus
	return run != nil && run.Status == v1alpha1.AnalysisPhaseInconclusive && st.CurrentStepIndex != nil &&
		slices.ContainsFunc(st.PauseConditions, func(c v1alpha1.PauseCondition) bool {
			return c.Reason == v1alpha1.PauseReasonInconclusiveAnalysis
		})
}
