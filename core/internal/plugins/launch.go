package plugins

import (
	"context"
	"errors"
	"fmt"
	"net/rpc"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-rollouts/sluice/sdk/handshake"
)

// child is a started process with a connection to it.
type child struct {
	client *plugin.Client
	proc   *process
	// conn is the connection of a gRPC plugin, rpc and ping those of a net/rpc
	// one.
	conn *grpc.ClientConn
	rpc  *rpc.Client
	ping func() error
	// dir is the process's own, removed with it.
	dir string
}

// errDigest is a digest that is not the entry's.
var errDigest = errors.New("its sha256 is not the one in the plugin ConfigMap; it was not run")

// launch starts the entry's binary and shakes hands with it. Everything is made
// afresh: go-plugin's clients, commands and checksums cannot be used twice.
// The context bounds the whole of it; on an error nothing is left behind.
func (d *deps) launch(ctx context.Context, e *entry, logs *logSink) (*child, error) {
	dir, err := os.MkdirTemp(d.runDir, "sluice-") // 0700
	if err != nil {
		return nil, fmt.Errorf("making its directory: %w", err)
	}
	path, err := d.executable(ctx, e, dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	spawn := d.spawn
	if e.inherit {
		spawn = d.trusted
	}
	c := &child{dir: dir, proc: newProcess(spawn, logs)}
	out := [2]*output{{sink: logs}, {sink: logs}}
	config := &plugin.ClientConfig{
		HandshakeConfig:  handshake.Config(),
		Plugins:          handshake.ClientPlugins(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     d.timing.start,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
		GRPCDialOptions:  append(handshake.ClientOptions(), grpc.WithChainStreamInterceptor(optionalStdio)),
		// The process's output is read by process; go-plugin itself has
		// nothing to say that the supervisor does not say better.
		Logger:     hclog.NewNullLogger(),
		SyncStdout: out[0],
		SyncStderr: out[1],
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, socketDir string) (runner.Runner, error) {
			cmd := exec.Command(path, e.args...)
			cmd.Env = append(environment(e), spec.Env...)
			cmd.Dir = dir
			if e.argo != "" {
				// Older go-plugin makes its socket where temporary files go.
				cmd.Env = append(cmd.Env, "TMPDIR="+socketDir)
			}
			c.proc.prepare(cmd, socketDir)
			return c.proc, nil
		},
	}
	if e.argo != "" {
		speakNetRPC(config, e.argo)
	}
	c.client = plugin.NewClient(config)
	if err := c.connect(ctx, e, d.timing.start); err != nil {
		c.kill(d.timing.kill)
		return nil, c.explain(err)
	}
	return c, nil
}

// connect shakes hands. Both of go-plugin's calls block without a deadline;
// ending the process is what ends them.
func (c *child) connect(ctx context.Context, e *entry, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not shake hands within %v", limit))
	defer cancel()
	stop := context.AfterFunc(ctx, c.proc.terminate)
	defer stop()
	protocol, err := c.client.Client()
	if err == nil {
		err = c.dispense(protocol, e)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// speakNetRPC makes it the configuration of a plugin for Argo Rollouts.
func speakNetRPC(config *plugin.ClientConfig, kind Kind) {
	config.HandshakeConfig = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: argoCookie, MagicCookieValue: argoKinds[kind].cookie}
	config.Plugins = plugin.PluginSet{argoKinds[kind].set: argoWire{}}
	config.AllowedProtocols = []plugin.Protocol{plugin.ProtocolNetRPC}
	config.AutoMTLS = false // Plugins of that protocol know nothing of it.
	config.GRPCDialOptions = nil
}

// dispense takes the connection from go-plugin.
func (c *child) dispense(protocol plugin.ClientProtocol, e *entry) error {
	name := handshake.PluginName
	if e.argo != "" {
		name = argoKinds[e.argo].set
	}
	got, err := protocol.Dispense(name)
	if err != nil {
		return err
	}
	switch conn := got.(type) {
	case *grpc.ClientConn:
		c.conn = conn
	case *rpc.Client:
		c.rpc, c.ping = conn, protocol.Ping
	}
	return nil
}

// kill ends the process and frees what it held. go-plugin's Kill blocks while
// the process does not answer, so the process goes first, with everything it
// started; what is left of Kill after limit goes on by itself.
func (c *child) kill(limit time.Duration) {
	c.proc.terminate()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.client.Kill()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	_ = os.RemoveAll(c.dir) // Empty by now, or not worth failing for.
}

// explain prefers the end of the process, and its last words, to what
// go-plugin made of it. Only after kill.
func (c *child) explain(err error) error {
	if end := c.proc.ownFate("it ended during its start"); end != nil {
		return end
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(cut(first, 256))
}

// executable is what is run: a bundled binary as it lies there, any other as a
// copy that has been verified, so that nobody changes it in between.
func (d *deps) executable(ctx context.Context, e *entry, dir string) (string, error) {
	if !e.bundled && (e.url != "" || !e.unpinned) {
		return d.fetch.get(ctx, e, dir)
	}
	_, err := os.Stat(e.path)
	return e.path, err
}

// optionalStdio lets go-plugin's client be made although the process has ended
// already: with any other code go-plugin gives up half-way and leaks the
// connection, and with it goroutines that dial for ever.
func optionalStdio(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	streamer grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := streamer(ctx, desc, conn, method, opts...)
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return stream, nil
}

// passed are the variables every plugin gets: where programs and certificates
// are, and how text and time are written. Nothing that says where the API
// server is.
var passed = []string{"PATH", "TZ", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "SLUICE_PLUGIN_LOG_LEVEL"}

// inherited are passed in addition with credentials: inherit.
var inherited = []string{
	"HOME", "KUBECONFIG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
}

// environment is the whole environment of the process but for what go-plugin
// adds.
func environment(e *entry) []string {
	var env []string
	pass := func(name string) {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for _, name := range passed {
		pass(name)
	}
	if e.inherit {
		for _, name := range inherited {
			pass(name)
		}
		for _, v := range os.Environ() {
			if strings.HasPrefix(v, "KUBERNETES_") {
				env = append(env, v)
			}
		}
	}
	for _, v := range e.env {
		if v.Value == nil {
			pass(v.Name)
			continue
		}
		env = append(env, v.Name+"="+*v.Value)
	}
	return env
}
