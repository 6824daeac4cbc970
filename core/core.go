package core

import (
	"context"
	"fmt"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"

	"github.com/sluice-rollouts/sluice/core/internal/controller"
)

// Config of the controller. Rest and Namespace are required.
type Config struct {
	// Rest reaches the API server.
	Rest *rest.Config
	// Namespace the controller runs in: its lease and the ConfigMap
	// argo-rollouts-config are there.
	Namespace string
	// Namespaced limits the controller to Namespace; otherwise it serves the
	// whole cluster.
	Namespaced bool
	// InstanceID selects the objects labelled with it; empty selects those
	// without the label, as Argo Rollouts does.
	InstanceID string
	// PluginDir holds the bundled plugins, one executable each, named like the
	// plugin. A folder that does not exist holds none.
	PluginDir string
	// LeaderElect makes replicas, and Argo Rollouts' controller, take turns.
	LeaderElect bool
	// MetricsAddress and HealthAddress are host:port; empty turns each off.
	MetricsAddress string
	HealthAddress  string
	// Threads is the number of Rollouts and of AnalysisRuns reconciled at
	// once. Zero means 10.
	Threads int
	Log     logr.Logger
}

// Run runs the controller until the context ends, then stops every plugin
// process. It returns nil when it was asked to stop.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Rest == nil {
		return fmt.Errorf("core: Config.Rest is nil: give the connection to an API server")
	}
	if cfg.Namespace == "" {
		return fmt.Errorf("core: Config.Namespace is empty: give the namespace the controller runs in")
	}
	if cfg.Threads == 0 {
		cfg.Threads = 10
	}
	return controller.Run(ctx, controller.Options{
		Rest: cfg.Rest, Namespace: cfg.Namespace, Namespaced: cfg.Namespaced, InstanceID: cfg.InstanceID,
		PluginDir: cfg.PluginDir, LeaderElect: cfg.LeaderElect,
		MetricsAddress: cfg.MetricsAddress, HealthAddress: cfg.HealthAddress,
		Threads: cfg.Threads, Log: cfg.Log,
	})
}
