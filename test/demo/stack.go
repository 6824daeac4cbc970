//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sluice-rollouts/sluice/test/demo/internal/quiet"
	"github.com/sluice-rollouts/sluice/test/devcluster"
	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

const (
	// controllerNamespace and controllerAccount are those of deploy/.
	controllerNamespace = "sluice"
	controllerAccount   = "sluice-controller"
	// Ports inside the cluster's network; 8080 is that of the pods.
	metricsPort = "8090"
	healthPort  = "8091"
	// appHost is the host name of the route in examples/demo.
	appHost = "app.demo.example"
)

// stack is everything that runs beside this program.
type stack struct {
	*demo
	root    string
	logs    string
	cluster *devcluster.Cluster
	gateway *devcluster.Server
	metrics *devcluster.Server
	client  dynamic.Interface
	// failed is told when a process ends that should not.
	failed context.CancelCauseFunc
	// app says that the app was deployed: there is something to keep.
	app bool
}

// up builds and starts everything and deploys the app.
func (s *stack) up(ctx context.Context) (err error) {
	if s.root, err = foreign.Root(); err != nil {
		return err
	}
	if err := s.build(ctx); err != nil {
		return err
	}
	s.note("starting the control plane")
	if err := s.startCluster(ctx); err != nil {
		return err
	}
	if err := s.cluster.ApplyPermissions(ctx); err != nil {
		return err
	}
	s.note("starting the gateway, Prometheus, the app's backend and the controller")
	var all errgroup.Group
	all.Go(func() (err error) {
		s.gateway, err = s.cluster.StartTraefik(ctx)
		return err
	})
	all.Go(func() (err error) {
		s.metrics, err = s.cluster.StartPrometheus(ctx, "")
		return err
	})
	all.Go(func() error { return s.startBackend(ctx) })
	all.Go(func() error { return s.startController(ctx) })
	if err := all.Wait(); err != nil {
		return err
	}
	s.note("deploying the app, v1")
	if err := s.cluster.ApplyFiles(ctx, s.path("examples/demo")); err != nil {
		return err
	}
	s.app = true
	return nil
}

func (s *stack) path(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

// auditLog is where the API server says who writes what.
func (s *stack) auditLog() string { return filepath.Join(s.logs, "audit.log") }

func (s *stack) startCluster(ctx context.Context) (err error) {
	policy := filepath.Join(s.logs, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(quiet.AuditPolicy), 0o600); err != nil {
		return err
	}
	s.cluster, err = devcluster.StartNet(ctx, devcluster.Options{
		Log: s.view, LogDir: s.logs,
		APIServerFlags: []string{"--audit-policy-file=" + policy, "--audit-log-path=" + s.auditLog()},
	})
	if err != nil {
		return err
	}
	s.client, err = dynamic.NewForConfig(s.cluster.Config())
	return err
}

func (s *stack) startBackend(ctx context.Context) error {
	return s.start(ctx, "backend", "--kubeconfig="+s.cluster.KubeconfigPath(), "--namespace=demo")
}

// startController starts it as what its manifests make it: a service account
// with a token, and only the rights of its own RBAC.
func (s *stack) startController(ctx context.Context) error {
	token, err := s.cluster.ServiceAccountToken(ctx, controllerNamespace, controllerAccount)
	if err != nil {
		return err
	}
	kubeconfig := filepath.Join(s.cluster.Dir(), "controller.kubeconfig")
	if err := s.writeKubeconfig(kubeconfig, token); err != nil {
		return err
	}
	return s.start(ctx, "controller",
		"--kubeconfig="+kubeconfig, "--namespace="+controllerNamespace, "--plugin-dir="+s.bin("plugins"),
		"--metricsPort="+metricsPort, "--healthzPort="+healthPort, "--leader-elect=true")
}

func (s *stack) writeKubeconfig(path, token string) error {
	out := clientcmdapi.NewConfig()
	out.Clusters["demo"] = &clientcmdapi.Cluster{Server: s.cluster.Server(), CertificateAuthority: s.cluster.CAPath()}
	out.AuthInfos["controller"] = &clientcmdapi.AuthInfo{Token: token}
	out.Contexts["demo"] = &clientcmdapi.Context{Cluster: "demo", AuthInfo: "controller"}
	out.CurrentContext = "demo"
	return clientcmd.WriteToFile(*out, path)
}

// start starts one of our programs in the cluster's network; its output goes to
// a file, so that it can outlive this process.
func (s *stack) start(ctx context.Context, name string, args ...string) error {
	path := filepath.Join(s.logs, name+".log")
	log, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	// Stopping is the cluster's: it lets the process end in order, and keeps it
	// when the demo is to leave everything running.
	cmd := s.cluster.Command(context.WithoutCancel(ctx), s.bin(name), args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		err := cmd.Wait()
		if err == nil {
			err = errors.New("exit status 0")
		}
		s.failed(fmt.Errorf("the %s ended by itself (%w)\n%s", name, err, lastLines(path, 20)))
	}()
	return nil
}

func lastLines(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// down ends every process.
func (s *stack) down() error {
	if s.cluster == nil {
		return nil
	}
	return s.cluster.Stop()
}

// leave lets everything outlive this process and says how to reach it.
func (s *stack) leave() error {
	ctx := context.Background()
	kubectl, err := exec.LookPath("kubectl")
	if errors.Is(err, exec.ErrNotFound) {
		var paths []string
		if paths, err = foreign.Build(ctx, s.view, foreign.Kubectl); err == nil {
			kubectl = paths[0]
		}
	}
	if err != nil {
		return errors.Join(err, s.down())
	}
	pid, err := s.cluster.Detach(ctx)
	if err != nil {
		return errors.Join(err, s.down())
	}
	s.view.Print(fmt.Sprintf(`
Everything is still running.

  export KUBECONFIG=%s
  %s -n demo get rollouts,replicasets,pods,httproutes,analysisruns

  the app         curl -H 'Host: %s' http://%s/
  Prometheus      http://%s/api/v1/query?query=http_requests_total
  logs            %s
  stop all of it  kill %d
`, s.cluster.KubeconfigPath(), kubectl, appHost, s.gateway.Outside, s.metrics.Outside, s.logs, pid))
	return nil
}
