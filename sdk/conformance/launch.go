package conformance

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
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

		return &Connection{Conn: conn, Close: func() {
			_ = conn.Close() // It is in memory.
			server.Stop()
		}}, nil
	}
}

// startTimeout is what a plugin has between its start and its handshake.
const startTimeout = 10 * time.Second

// Binary runs an executable in any language as the host would: handshake, AutoMTLS, a unix socket in a directory of its
// own, no environment of ours. What it logs goes to standard error if the environment variable SLUICE_CONFORMANCE_LOG is
// set.
func Binary(path string, args ...string) Launcher {
	return func(ctx context.Context) (*Connection, error) {
		dir, err := os.MkdirTemp("", "sluice-conformance-")
		if err != nil {
			return nil, fmt.Errorf("making a directory for the socket: %w", err)
		}
		cmd := exec.CommandContext(context.WithoutCancel(ctx), path, args...) // running it is the purpose
		// A group of its own: a plugin's children must not keep its pipes open after it is gone.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		logger := hclog.NewNullLogger()
		if os.Getenv("SLUICE_CONFORMANCE_LOG") != "" {
			logger = hclog.New(&hclog.LoggerOptions{Name: "conformance", Level: hclog.Debug, Output: os.Stderr})
		}
		client := goplugin.NewClient(&goplugin.ClientConfig{
			HandshakeConfig:  handshake.Config(),
			Plugins:          handshake.ClientPlugins(),
			Cmd:              cmd,
			AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
			AutoMTLS:         true,
			SkipHostEnv:      true,
			StartTimeout:     startTimeout,
			UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: dir},
			GRPCDialOptions:  handshake.ClientOptions(),
			Logger:           logger,
		})
		kill := func() {
			if cmd.Process != nil {
				// Before Kill, which waits for a process that hangs.
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			}
			client.Kill()
			_ = os.RemoveAll(dir)
		}
		conn, err := dispense(client)
		if err != nil {
			kill()

			return nil, fmt.Errorf("starting %s: %w", path, err)
		}

		return &Connection{Conn: conn, Close: kill}, nil
	}
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
