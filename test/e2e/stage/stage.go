package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/devcluster"
	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// Stage is a control plane with everything stories need. Close it.
type Stage struct {
	Cluster *devcluster.Cluster
	// Client is an administrator's, without a cache.
	Client  client.Client
	Gateway *GatewayStandIn
	Metrics *PrometheusStandIn

	root    string // of the repository
	bin     string // controller and plugins/
	shared  *Controller
	dynamic dynamic.Interface
}

// Options say which stage to open.
type Options struct {
	// Audited makes the API server write down what the controllers ask for, for
	// CheckRights. It costs the API server time with every request.
	Audited bool
}

// Open builds the programs and starts the cluster.
func Open(ctx context.Context, o Options) (_ *Stage, err error) {
	s := &Stage{Metrics: newPrometheusStandIn()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.root, err = foreign.Root(); err != nil {
		return nil, err
	}
	if s.bin, err = os.MkdirTemp("", "sluice-e2e-"); err != nil {
		return nil, err
	}
	var all errgroup.Group
	all.Go(func() error { return s.build(ctx) })
	all.Go(func() error { return s.startCluster(ctx, o) })
	if err := all.Wait(); err != nil {
		return nil, err
	}
	s.Gateway, err = startGatewayStandIn(s.dynamic)
	return s, err
}

// Close ends every process and removes every file.
func (s *Stage) Close() error {
	var err error
	if s.Gateway != nil {
		s.Gateway.stop()
	}
	if s.Cluster != nil {
		err = s.Cluster.Stop()
	}
	s.Metrics.server.Close()
	if s.shared != nil {
		s.shared.clean()
	}
	if s.bin != "" {
		err = errors.Join(err, os.RemoveAll(s.bin))
	}
	return err
}

func (s *Stage) startCluster(ctx context.Context, o Options) (err error) {
	var flags []string
	if o.Audited {
		if flags, err = s.auditFlags(); err != nil {
			return err
		}
	}
	if s.Cluster, err = devcluster.Start(ctx, devcluster.Options{APIServerFlags: flags}); err != nil {
		return err
	}
	if s.dynamic, err = dynamic.NewForConfig(s.Cluster.Config()); err != nil {
		return err
	}
	ctrllog.SetLogger(logr.Discard()) // what the client would say, failing stories say better
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, gatewayv1.Install} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	if err := s.Cluster.ApplyGatewayAPI(ctx); err != nil {
		return err
	}
	if err := s.Cluster.ApplyPermissions(ctx); err != nil {
		return err
	}
	s.Client, err = client.New(s.Cluster.Config(), client.Options{Scheme: scheme})
	return err
}

func (s *Stage) path(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

// build builds the programs one after the other: the go command itself uses
// every core.
func (s *Stage) build(ctx context.Context) error {
	if err := s.buildOne(ctx, "./cmd/controller", "controller"); err != nil {
		return err
	}
	return s.BuildPlugins(ctx, bundled...)
}

// BuildPlugins builds further plugins of ours, for controllers that name them.
func (s *Stage) BuildPlugins(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := s.buildOne(ctx, "./plugins/"+name, "plugins/"+name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) buildOne(ctx context.Context, pkg, file string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(s.bin, file), pkg)
	cmd.Dir = s.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, said.String())
	}
	return nil
}
