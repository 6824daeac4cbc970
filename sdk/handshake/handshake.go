// Package handshake holds what host and plugin have to agree on before the first call. The host imports it, and so does
// every plugin through Serve; it imports neither.
package handshake

import (
	"context"
	"errors"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

const (
	// ProtocolVersion is the epoch of the framing, go-plugin's own notion of a version. It does not change with
	// features: those are negotiated by service names and capabilities.
	ProtocolVersion = 1

	// CookieKey and CookieValue keep a plugin from being run by mistake, by hand or by another program. They are no
	// secret.
	CookieKey   = "SLUICE_PLUGIN"
	CookieValue = "sluice"

	// PluginName is the one entry of the plugin set. All services of a process share one connection, so there is
	// nothing to choose between.
	PluginName = "sluice"

	// HealthService is the name under which go-plugin's server answers grpc.health.v1 in every process.
	HealthService = plugin.GRPCServiceName

	// MaxMessageSize is the limit of a message in either direction, in bytes.
	MaxMessageSize = 4 << 20
)

// Config returns the handshake of both sides. It is a function so that nobody can change it for others.
func Config() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		ProtocolVersion:  ProtocolVersion,
		MagicCookieKey:   CookieKey,
		MagicCookieValue: CookieValue,
	}
}

// ClientPlugins is the host's plugin set: dispensing PluginName yields the *grpc.ClientConn of the process, over which
// the client of every service can be made.
func ClientPlugins() plugin.PluginSet {
	return plugin.PluginSet{PluginName: &wire{}}
}

// ServerPlugins is the plugin's plugin set: register is called once with the process's server.
func ServerPlugins(register func(*grpc.Server) error) plugin.PluginSet {
	return plugin.PluginSet{PluginName: &wire{register: register}}
}

// ClientOptions are the dial options of a host that keeps to MaxMessageSize.
func ClientOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithDefaultCallOptions(
		grpc.MaxCallRecvMsgSize(MaxMessageSize),
		grpc.MaxCallSendMsgSize(MaxMessageSize),
	)}
}

// wire joins services to go-plugin, which knows of connections only.
type wire struct {
	plugin.NetRPCUnsupportedPlugin

	register func(*grpc.Server) error
}

var _ plugin.GRPCPlugin = (*wire)(nil)

func (w *wire) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	if w.register == nil {
		return errors.New("this plugin set is a client's")
	}

	return w.register(s)
}

func (w *wire) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}
