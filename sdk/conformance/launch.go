package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sluice-rollouts/sluice/sdk/handshake"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// Connection is a running plugin.
type Connection struct {
	// Conn is what its services are called over.
	Conn grpc.ClientConnInterface
	// Close ends it.
	Close func()

	process *process // nil in process
}

// Launcher starts a plugin. Each call starts another one.
type Launcher func(ctx context.Context) (*Connection, error)

// InProcess runs a plugin in this process, over real gRPC in memory.
func InProcess(info plugin.Info, services ...plugin.Service) Launcher {
	return func(context.Context) (*Connection, error) {
		server, err := plugin.NewServer(nil, info, services...)
		if err != nil {
			return nil, err
		}
		status := health.NewServer()
		status.SetServingStatus(handshake.HealthService, healthv1.HealthCheckResponse_SERVING)
		healthv1.RegisterHealthServer(server, status)

		listener := bufconn.Listen(1 << 20)
		go func() { _ = server.Serve(listener) }() // Ends with server.Stop.
		conn, err := grpc.NewClient("passthrough:///in-process", append(handshake.ClientOptions(),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		)...)
		if err != nil {
			server.Stop()

			return nil, fmt.Errorf("dialing in process: %w", err)
		}

		return &Connection{Conn: bounded{conn}, Close: func() {
			_ = conn.Close() // It is in memory.
			server.Stop()
		}}, nil
	}
}

// startTimeout is what a plugin has between its start and its handshake.
const startTimeout = 10 * time.Second

// errLate is a plugin that does not shake hands in time.
var errLate = errors.New("it runs, but did not print a handshake")

// passed are the variables a plugin gets besides those of the handshake, as from the host.
var passed = []string{"PATH", "TZ", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "SLUICE_PLUGIN_LOG_LEVEL"}

// Binary runs an executable in any language as the host would: handshake, AutoMTLS, a unix socket in a directory of its
// own, nothing of our environment but what the host passes too. What it logs goes to standard error if the environment
// variable SLUICE_CONFORMANCE_LOG is set.
//
// The error of a launch says what the file does instead of being a plugin: it is missing, ends, prints something else,
// never shakes hands (10 s).
func Binary(path string, args ...string) Launcher { return binaryWithin(startTimeout, path, args...) }

func binaryWithin(limit time.Duration, path string, args ...string) Launcher {
	return func(context.Context) (*Connection, error) {
		found, err := find(path)
		if err != nil {
			return nil, err
		}
		dir, err := os.MkdirTemp("", "sluice-conformance-")
		if err != nil {
			return nil, fmt.Errorf("making a directory for the socket: %w", err)
		}
		log := io.Discard
		if os.Getenv("SLUICE_CONFORMANCE_LOG") != "" {
			log = os.Stderr
		}
		proc := newProcess(found, args, log)
		client := goplugin.NewClient(&goplugin.ClientConfig{
			HandshakeConfig:  handshake.Config(),
			Plugins:          handshake.ClientPlugins(),
			AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
			AutoMTLS:         true,
			SkipHostEnv:      true,
			StartTimeout:     limit,
			UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: dir},
			GRPCDialOptions:  handshake.ClientOptions(),
			Logger:           hclog.NewNullLogger(),
			// go-plugin's server sends what a plugin in Go prints over the connection.
			SyncStdout: log,
			SyncStderr: io.MultiWriter(&proc.stderr, log),
			RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, socketDir string) (runner.Runner, error) {
				proc.socketDir = socketDir
				proc.cmd.Dir = dir
				proc.cmd.Env = append(environment(), spec.Env...)

				return proc, nil
			},
		})
		kill := func() {
			// Before Kill, which waits for a process that hangs.
			proc.terminate()
			client.Kill()
			_ = os.RemoveAll(dir)
		}
		conn, err := connect(client, proc, limit)
		if err != nil {
			kill()

			return nil, fmt.Errorf("%s: %w", path, proc.explain(err))
		}

		return &Connection{Conn: bounded{conn}, Close: kill, process: proc}, nil
	}
}

// environment is what a plugin sees of ours.
func environment() []string {
	var env []string
	for _, name := range passed {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}

	return env
}

// connect shakes hands. What go-plugin does has no deadline of its own; the end of the process is what ends it.
func connect(client *goplugin.Client, proc *process, limit time.Duration) (*grpc.ClientConn, error) {
	var late atomic.Bool
	timer := time.AfterFunc(limit, func() {
		late.Store(true)
		proc.terminate()
	})
	defer timer.Stop()
	conn, err := dispense(client)
	if err != nil && late.Load() {
		return nil, fmt.Errorf("%w within %v", errLate, limit)
	}

	return conn, err
}

func dispense(client *goplugin.Client) (*grpc.ClientConn, error) {
	protocol, err := client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(handshake.PluginName)
	if err != nil {
		return nil, err
	}
	conn, ok := raw.(*grpc.ClientConn)
	if !ok {
		return nil, fmt.Errorf("dispensed a %T", raw)
	}

	return conn, nil
}
