// Package plugin is the part of the SDK that every kind of plugin shares: Serve, the introduction of a plugin to its
// host, and errors the host understands.
//
// An author usually starts from the kind: see sdk/trafficrouter, sdk/metricprovider, sdk/step. One process can serve
// several kinds:
//
//	plugin.Serve(info, trafficrouter.Service(router), metricprovider.Service(provider))
package plugin

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"regexp"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/sluice-rollouts/sluice/sdk/egress"
	"github.com/sluice-rollouts/sluice/sdk/handshake"
	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
)

// Verb is what a plugin wants to do with a kind of object.
type Verb = lifecyclev1.Verb

// The verbs. Read covers get, list and watch; Delete reaches only objects the calling object owns.
const (
	Read   = lifecyclev1.Verb_VERB_READ
	Create = lifecyclev1.Verb_VERB_CREATE
	Update = lifecyclev1.Verb_VERB_UPDATE
	Delete = lifecyclev1.Verb_VERB_DELETE
)

// Kind is a kind of object the plugin wants to see or write through the host.
type Kind struct {
	// Group is the API group. Empty: the core group.
	Group string
	// Kind is required.
	Kind string
	// Verbs is what the plugin does with it; at least one.
	Verbs []Verb
	// Selector restricts what the host watches, for kinds of high volume. Empty: no restriction.
	Selector string
}

// Info introduces a plugin to its host.
type Info struct {
	// Name is required: lower-case letters, digits and dashes, at most 63.
	Name string
	// Version is required: a semantic version, such as 1.4.0.
	Version string
	// Kinds is what the plugin wants to see and write. Nil: nothing.
	Kinds []Kind
	// ConfigSchema is a JSON Schema of what Configure takes. Nil: not told.
	ConfigSchema []byte
	// Configure takes the process-level configuration, before the first call and again when it changes. It must be atomic:
	// on an error the old one stays in force. Nil: the plugin takes none, and a configuration is refused.
	Configure func(ctx context.Context, raw []byte) error
	// Egress takes the rules for addresses that users may write, with each Configure and before it returns; see package
	// egress, whose Guard.Set this usually is. Nil: the plugin asks no such addresses.
	Egress func(rules *egress.Rules)
	// Close finishes before the process is killed; it has 2 s. Nil: nothing to finish.
	Close func(ctx context.Context) error
}

// Service is one kind of plugin, made by trafficrouter.Service, metricprovider.Service or step.Service.
type Service struct {
	// Name is the fully qualified gRPC name.
	Name string
	// ConfigSchema is a JSON Schema of the block users write. Nil: not told.
	ConfigSchema []byte
	// Register adds the implementation to the process's server.
	Register func(*grpc.Server)
}

// WithConfigSchema returns the service with a JSON Schema for the block users write.
func (s Service) WithConfigSchema(schema []byte) Service {
	s.ConfigSchema = schema

	return s
}

// LogLevelEnv names the environment variable that sets the level of a plugin's log: trace, debug, info, warn or error.
// Unset: info.
const LogLevelEnv = "SLUICE_PLUGIN_LOG_LEVEL"

// Serve runs the plugin until its host ends it. It is all a main function has to do. A process that was not started by a
// host says so and exits with status 1, and so does one whose info is invalid.
//
// Logs go to standard error as hclog JSON, also those of the standard library's log; standard output belongs to the
// handshake.
func Serve(info Info, services ...Service) {
	level := hclog.LevelFromString(os.Getenv(LogLevelEnv))
	if level == hclog.NoLevel {
		level = hclog.Info
	}
	logger := hclog.New(&hclog.LoggerOptions{Name: info.Name, Level: level, Output: os.Stderr, JSONFormat: true})
	log.SetFlags(0)
	log.SetOutput(logger.StandardWriter(&hclog.StandardLoggerOptions{InferLevels: true}))

	if err := check(info, services); err != nil {
		logger.Error("Invalid plugin", "error", err)
		os.Exit(1)
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: handshake.Config(),
		Plugins: handshake.ServerPlugins(func(s *grpc.Server) error {
			register(s, info, services)

			return nil
		}),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, serverOptions(logger)...)...)
		},
		Logger: logger,
	})
}

// NewServer returns a server with everything Serve offers, except for what go-plugin adds: the handshake, TLS and the
// health service. It is for tests that run a plugin in their own process. Nil logger: no logs.
func NewServer(logger hclog.Logger, info Info, services ...Service) (*grpc.Server, error) {
	if err := check(info, services); err != nil {
		return nil, err
	}
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	s := grpc.NewServer(serverOptions(logger)...)
	register(s, info, services)

	return s, nil
}

func register(s *grpc.Server, info Info, services []Service) {
	lifecyclev1.RegisterLifecycleServer(s, &lifecycle{info: info, services: services})
	for _, service := range services {
		service.Register(s)
	}
}

func serverOptions(logger hclog.Logger) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(handshake.MaxMessageSize),
		grpc.MaxSendMsgSize(handshake.MaxMessageSize),
		grpc.UnaryInterceptor(intercept(logger)),
	}
}

// check refuses what the host would refuse, where the author can see it. It returns all that is wrong.
func check(info Info, services []Service) error {
	var (
		errs    []error
		name    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
		version = regexp.MustCompile(`^\d+\.\d+\.\d+([-+].+)?$`)
	)
	if !name.MatchString(info.Name) {
		errs = append(errs, fmt.Errorf("name %q: want lower-case letters, digits and dashes, at most 63", info.Name))
	}
	if !version.MatchString(info.Version) {
		errs = append(errs, fmt.Errorf("version %q: want a semantic version such as 1.4.0", info.Version))
	}
	for _, kind := range info.Kinds {
		if kind.Kind == "" || len(kind.Verbs) == 0 {
			errs = append(errs, fmt.Errorf("kind %q of group %q: want a kind and verbs", kind.Kind, kind.Group))
		}
	}
	if len(services) == 0 {
		errs = append(errs, errors.New("no service"))
	}
	seen := map[string]bool{}
	for _, service := range services {
		if seen[service.Name] {
			errs = append(errs, fmt.Errorf("service %s is offered twice", service.Name))
		}
		seen[service.Name] = true
	}

	return errors.Join(errs...)
}
