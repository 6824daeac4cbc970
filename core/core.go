package core

import (
	"context"

	"github.com/sluice-rollouts/sluice/core/internal/controller"
)

// Config of the controller. Rest and Namespace are required.
type Config = controller.Options

// Run runs the controller until the context ends, then stops every plugin
// process. It returns nil when it was asked to stop. Several controllers may run
// in one process; they share their metrics.
func Run(ctx context.Context, cfg Config) error { return controller.Run(ctx, cfg) }
