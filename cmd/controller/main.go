// The controller binary: flags → core.Run.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sluice-rollouts/sluice/core"
)

// version is set when a release is built.
var version = "dev"

func main() {
	switch err := run(); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "sluice:", err)
		os.Exit(1)
	}
}

func run() error {
	flags := newFlags()
	cfg, err := flags.parse(os.Args[1:])
	if err != nil {
		return err
	}
	if flags.version {
		fmt.Println("sluice", version)
		return nil
	}
	if cfg.Log, err = logger(flags.logLevel, flags.logFormat, os.Stderr); err != nil {
		return err
	}
	ctrl.SetLogger(cfg.Log)
	klog.SetLogger(cfg.Log.WithName("client"))
	for name, why := range flags.ignored() {
		cfg.Log.Info("a flag of Argo Rollouts has no effect", "flag", "--"+name, "reason", why)
	}
	if cfg.Namespace, err = namespace(cfg.Namespace); err != nil {
		return err
	}
	if cfg.PluginDir, err = filepath.Abs(cfg.PluginDir); err != nil {
		return fmt.Errorf("--plugin-dir: %w", err)
	}
	if cfg.Rest, err = ctrl.GetConfig(); err != nil {
		return fmt.Errorf("no API server: run in a cluster, or give --kubeconfig: %w", err)
	}
	return core.Run(ctrl.SetupSignalHandler(), cfg)
}

const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// namespace finds the controller's own namespace where it was not given.
func namespace(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	if env := os.Getenv("POD_NAMESPACE"); env != "" {
		return env, nil
	}
	raw, err := os.ReadFile(namespaceFile)
	if err != nil {
		return "", fmt.Errorf("the controller's namespace is unknown: give --namespace or set POD_NAMESPACE")
	}
	return string(raw), nil
}
