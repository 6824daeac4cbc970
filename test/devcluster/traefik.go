package devcluster

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

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

// traefikStreams are two more listeners of the gateway at the end of the
// manifest.
const traefikStreams = `
  - {name: tcp, port: 9000, protocol: TCP, allowedRoutes: {namespaces: {from: All}}}
  - {name: tls, port: 9443, protocol: TLS, tls: {mode: Passthrough}, allowedRoutes: {namespaces: {from: All}}}
`

// traefikServices are the rights that Traefik's documentation asks for its own
// kinds, at the end of the manifest.
const traefikServices = `
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: traefik-services}
rules:
- apiGroups: [traefik.io]
  resources: ["*"]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [nodes]
  verbs: [get, list, watch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses, ingressclasses]
  verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: traefik-services}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: traefik-services}
subjects: [{kind: ServiceAccount, name: traefik, namespace: gateway-system}]
`

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

// TraefikOptions say how Traefik is to run.
type TraefikOptions struct {
	// Throttle is how long it collects changes before it serves them: a data
	// plane that lags. Zero: 100 ms; its own default is 2 s.
	Throttle time.Duration
	// Streams lets it serve TCPRoutes on TCPEntry and TLSRoutes on TLSEntry. It
	// knows them in v1alpha2 only, so the definitions are then those of the
	// experimental channel of the version that Traefik is built with.
	Streams bool
	// Services lets it serve IngressRoutes and TraefikServices as well, with its
	// own definitions.
	Services bool
}

// Where TCPRoutes and TLSRoutes are reached inside, with TraefikOptions.Streams;
// the listeners of the gateway are called tcp and tls.
const (
	TCPEntry = "127.0.0.1:9000"
	TLSEntry = "127.0.0.1:9443"
)

// StartTraefik starts Traefik as the gateway of a cluster of StartNet: it applies
// the Gateway API definitions of the version that Sluice is built with, and
// gateway GatewayNamespace/GatewayName, and returns when that is programmed. HTTP
// requests to the server go by the HTTPRoutes of all namespaces. Traefik runs
// under a service account with the rights its documentation asks for. Prometheus
// metrics are on 127.0.0.1:8082/metrics inside.
func (c *Cluster) StartTraefik(ctx context.Context) (*Server, error) {
	return c.StartTraefikWith(ctx, TraefikOptions{})
}

// StartTraefikWith is StartTraefik with options. One that runs already has to be
// stopped before another is started.
func (c *Cluster) StartTraefikWith(ctx context.Context, o TraefikOptions) (*Server, error) {
	s, err := c.startTraefik(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("starting Traefik: %w", err)
	}
	return s, nil
}

func (c *Cluster) startTraefik(ctx context.Context, o TraefikOptions) (*Server, error) {
	if err := c.needNamespace(); err != nil {
		return nil, err
	}
	paths, err := foreign.Build(ctx, c.opts.Log, foreign.Traefik)
	if err != nil {
		return nil, err
	}
	if err := c.applyTraefik(ctx, o); err != nil {
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
	return c.serve(ctx, "traefik", paths[0], traefikWeb, ready, c.traefikFlags(o, tokenFile)...)
}

// applyTraefik applies the kinds it serves and what it needs of the cluster.
func (c *Cluster) applyTraefik(ctx context.Context, o TraefikOptions) error {
	manifest, kinds := traefikManifest, c.ApplyGatewayAPI
	if o.Streams {
		manifest, kinds = manifest+traefikStreams, c.applyTraefikGatewayAPI
	}
	if err := kinds(ctx); err != nil {
		return err
	}
	if o.Services {
		manifest += traefikServices
		if err := c.applyTraefikDefinitions(ctx); err != nil {
			return err
		}
	}
	return c.Apply(ctx, manifest)
}

func (c *Cluster) traefikFlags(o TraefikOptions, tokenFile string) []string {
	flags := []string{
		"--entrypoints.web.address=:80",
		"--entrypoints.admin.address=" + traefikAdmin,
		"--ping=true", "--ping.entrypoint=admin",
		"--metrics.prometheus=true", "--metrics.prometheus.entrypoint=admin", "--metrics.prometheus.addserviceslabels=true",
		"--global.checknewversion=false", "--global.sendanonymoususage=false",
		"--log.level=INFO",
		// Until it has served the changes it collects, a weight may be old
		// although the route says it is accepted.
		"--providers.providersthrottleduration=" + cmp.Or(o.Throttle, 100*time.Millisecond).String(),
		"--providers.kubernetesgateway.endpoint=" + c.server,
		"--providers.kubernetesgateway.token=" + tokenFile,
		"--providers.kubernetesgateway.certauthfilepath=" + c.CAPath(),
		"--providers.kubernetesgateway.statusaddress.ip=127.0.0.1",
	}
	if o.Streams {
		flags = append(flags, "--providers.kubernetesgateway.experimentalchannel=true",
			"--entrypoints.tcp.address="+TCPEntry, "--entrypoints.tls.address="+TLSEntry)
	}
	if o.Services {
		flags = append(flags, "--providers.kubernetescrd.endpoint="+c.server, "--providers.kubernetescrd.token="+tokenFile,
			"--providers.kubernetescrd.certauthfilepath="+c.CAPath())
	}
	return flags
}

// applyTraefikDefinitions applies the definitions of Traefik's own kinds.
func (c *Cluster) applyTraefikDefinitions(ctx context.Context) error {
	dir, err := foreign.ModuleDirOf(ctx, foreign.Traefik, "github.com/traefik/traefik/v3")
	if err != nil {
		return err
	}
	return c.ApplyFiles(ctx, filepath.Join(dir, "docs", "content", "reference", "dynamic-configuration", "kubernetes-crd-definition-v1.yml"))
}

// applyTraefikGatewayAPI applies the experimental definitions of the version
// that Traefik is built with.
func (c *Cluster) applyTraefikGatewayAPI(ctx context.Context) error {
	dir, err := foreign.ModuleDirOf(ctx, foreign.Traefik, "sigs.k8s.io/gateway-api")
	if err != nil {
		return err
	}
	return c.ApplyFiles(ctx, filepath.Join(dir, "config", "crd", "experimental"))
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
