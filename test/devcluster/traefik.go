package devcluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// The gateway that StartTraefik makes, for parentRefs of routes.
const (
	GatewayName      = "traefik"
	GatewayNamespace = "gateway-system"
)

//go:embed traefik.yaml
var traefikManifest string

const (
	traefikWeb   = "127.0.0.1:80"   // where the entry point web is reached inside
	traefikAdmin = "127.0.0.1:8082" // its health and metrics
)

// Server is a program that serves inside a cluster's network for as long as the
// cluster, or until its Stop.
type Server struct {
	// Inside is its address, host:port, in the cluster's network.
	Inside string
	// Outside is an address on 127.0.0.1 that reaches it from outside.
	Outside string

	part *component
}

// StartTraefik starts Traefik as the gateway of a cluster of StartNet: it applies
// the Gateway API definitions of the version that Sluice is built with, and
// gateway GatewayNamespace/GatewayName, and returns when that is programmed. HTTP
// requests to the server go by the HTTPRoutes of all namespaces. Traefik runs
// under a service account with the rights its documentation asks for. Prometheus
// metrics are on 127.0.0.1:8082/metrics inside.
func (c *Cluster) StartTraefik(ctx context.Context) (*Server, error) {
	s, err := c.startTraefik(ctx)
	if err != nil {
		return nil, fmt.Errorf("starting Traefik: %w", err)
	}
	return s, nil
}

func (c *Cluster) startTraefik(ctx context.Context) (*Server, error) {
	if err := c.needNamespace(); err != nil {
		return nil, err
	}
	paths, err := foreign.Build(ctx, c.opts.Log, foreign.Traefik)
	if err != nil {
		return nil, err
	}
	if err := c.ApplyGatewayAPI(ctx); err != nil {
		return nil, err
	}
	if err := c.Apply(ctx, traefikManifest); err != nil {
		return nil, err
	}
	token, err := c.ServiceAccountToken(ctx, GatewayNamespace, "traefik")
	if err != nil {
		return nil, err
	}
	tokenFile := c.path("traefik.token")
	if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
		return nil, err
	}
	ready := func(ctx context.Context, client *http.Client) error {
		return errors.Join(httpOK(ctx, client, "http://"+traefikAdmin+"/ping"), c.gatewayProgrammed(ctx))
	}
	return c.serve(ctx, "traefik", paths[0], traefikWeb, ready,
		"--entrypoints.web.address=:80",
		"--entrypoints.admin.address="+traefikAdmin,
		"--ping=true", "--ping.entrypoint=admin",
		"--metrics.prometheus=true", "--metrics.prometheus.entrypoint=admin", "--metrics.prometheus.addserviceslabels=true",
		"--global.checknewversion=false", "--global.sendanonymoususage=false",
		"--log.level=INFO",
		// Traefik collects changes for 2 s by default, so a weight may take
		// that long to be served although the route says it is accepted.
		"--providers.providersthrottleduration=100ms",
		"--providers.kubernetesgateway.endpoint="+c.server,
		"--providers.kubernetesgateway.token="+tokenFile,
		"--providers.kubernetesgateway.certauthfilepath="+c.CAPath(),
		"--providers.kubernetesgateway.statusaddress.ip=127.0.0.1",
	)
}

// ApplyGatewayAPI applies the standard Gateway API definitions of the version
// that Sluice is built with.
func (c *Cluster) ApplyGatewayAPI(ctx context.Context) error {
	dir, err := foreign.ModuleDir(ctx, "sigs.k8s.io/gateway-api")
	if err != nil {
		return err
	}
	return c.ApplyFiles(ctx, filepath.Join(dir, "config", "crd", "standard"))
}

func (c *Cluster) gatewayProgrammed(ctx context.Context) error {
	clients, err := c.clients()
	if err != nil {
		return err
	}
	object, err := clients.dynamic.Resource(schema.GroupVersionResource{Group: gatewayv1.GroupName, Version: "v1", Resource: "gateways"}).
		Namespace(GatewayNamespace).Get(ctx, GatewayName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var gateway gatewayv1.Gateway
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &gateway); err != nil {
		return err
	}
	condition := apimeta.FindStatusCondition(gateway.Status.Conditions, string(gatewayv1.GatewayConditionProgrammed))
	if condition == nil || condition.Status != metav1.ConditionTrue {
		return fmt.Errorf("gateway %s/%s is not programmed: %+v", GatewayNamespace, GatewayName, condition)
	}
	return nil
}

func (c *Cluster) needNamespace() error {
	if c.namespaced {
		return nil
	}
	return errors.New("it needs the addresses of pods to answer; start the cluster with StartNet")
}

// serve starts a server in the cluster's network, waits until it is ready, and
// makes it reachable from outside.
func (c *Cluster) serve(ctx context.Context, name, program, inside string, ready func(context.Context, *http.Client) error, flags ...string) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	part, err := c.startFoundation(ctx, program, name, flags)
	if err != nil {
		return nil, err
	}
	s := &Server{Inside: inside, part: part}
	transport := &http.Transport{DialContext: c.Dial}
	defer transport.CloseIdleConnections()
	err = part.await(ctx, name+" to be ready", func(ctx context.Context) error {
		return ready(ctx, &http.Client{Transport: transport})
	})
	if err == nil {
		s.Outside, err = c.Forward(ctx, inside)
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// Stop kills the server and returns when it has ended. It may be called again,
// and after the cluster was stopped.
func (s *Server) Stop() error {
	err := s.part.process.Signal(context.Background(), syscall.SIGKILL, false)
	<-s.part.process.Done()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Done is closed when the server has ended, by Stop or otherwise.
func (s *Server) Done() <-chan struct{} { return s.part.process.Done() }

// PID is the server's process id.
func (s *Server) PID() int { return s.part.process.PID() }
