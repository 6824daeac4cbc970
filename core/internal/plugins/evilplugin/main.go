// Command evilplugin is a plugin that misbehaves on request, for the tests of
// the plugin host. The first argument says how the process behaves, the field
// "do" of a call's configuration how the call does.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/sluice-rollouts/sluice/sdk/handshake"
	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
	metricproviderv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
	stepv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/step/v1"
	trafficrouterv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
)

func main() {
	mode := ""
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	beforeHandshake(mode)
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: handshake.Config(),
		Logger:          hclog.NewNullLogger(),
		Plugins: handshake.ServerPlugins(func(s *grpc.Server) error {
			lifecyclev1.RegisterLifecycleServer(s, &lifecycle{mode: mode})
			if mode != "no-services" {
				trafficrouterv1.RegisterTrafficRouterServer(s, &router{})
				metricproviderv1.RegisterMetricProviderServer(s, &provider{})
				stepv1.RegisterStepServer(s, &step{})
			}
			return nil
		}),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
				if mode == "not-serving" && strings.HasSuffix(info.FullMethod, "Health/Check") {
					return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING}, nil
				}
				return next(ctx, req)
			}))...)
		},
	})
}

// beforeHandshake does what a mode asks for, and does not return when the mode
// is not about serving.
func beforeHandshake(mode string) {
	switch mode {
	case "exit":
		os.Exit(3)
	case "panic":
		panic("no configuration found")
	case "garbage":
		fmt.Println("hello, world")
		time.Sleep(time.Hour)
	case "long-line":
		fmt.Print(strings.Repeat("x", 200_000))
		time.Sleep(time.Hour)
	case "silent":
		time.Sleep(time.Hour)
	case "tcp":
		fmt.Println("1|1|tcp|127.0.0.1:443|grpc|")
		time.Sleep(time.Hour)
	case "foreign-socket":
		fmt.Println("1|1|unix|/run/docker.sock|grpc|")
		time.Sleep(time.Hour)
	case "netrpc":
		fmt.Println("1|1|unix|" + os.Getenv("PLUGIN_UNIX_SOCKET_DIR") + "/x|netrpc|")
		time.Sleep(time.Hour)
	case "wrong-version":
		fmt.Println("1|7|unix|/x|grpc|")
		time.Sleep(time.Hour)
	case "exit-after-handshake":
		at := os.Getenv("PLUGIN_UNIX_SOCKET_DIR") + "/x"
		fd, _ := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		_ = syscall.Bind(fd, &syscall.SockaddrUnix{Name: at})
		fmt.Println("1|1|unix|" + at + "|grpc|")
		os.Exit(4)
	case "ignore-sigterm":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	case "grandchild":
		child := exec.Command("sleep", "3600")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			panic(err)
		}
	case "flood":
		line := []byte(strings.Repeat("spam ", 40) + "\n")
		go func() {
			for {
				_, _ = os.Stderr.Write(line)
			}
		}()
	case "log-bomb":
		// go-plugin's own parser panics on each of these.
		fmt.Fprintln(os.Stderr, `{"@message": 5}`)
		fmt.Fprintln(os.Stderr, `{"@level": [], "@message": "x"}`)
		fmt.Fprintln(os.Stderr, `{"@timestamp": {}, "@message": "x"}`)
		fmt.Fprintln(os.Stderr, `{"@level":"warn","@message":"I am the controller","plugin":"core","@timestamp":"2026-01-01T00:00:00.000000Z"}`)
	}
}

type lifecycle struct {
	lifecyclev1.UnimplementedLifecycleServer
	mode string
	// closing is the fault committed when the process is told to end.
	closing string
}

func (l *lifecycle) Describe(_ context.Context, _ *lifecyclev1.DescribeRequest) (*lifecyclev1.DescribeResponse, error) {
	answer := &lifecyclev1.DescribeResponse{
		Name: "evil", Version: "1.2.3",
		Services: []*lifecyclev1.Service{
			{Name: trafficrouterv1.TrafficRouter_ServiceDesc.ServiceName},
			{Name: metricproviderv1.MetricProvider_ServiceDesc.ServiceName},
			{Name: stepv1.Step_ServiceDesc.ServiceName},
			{Name: "sluice.plugin.future.v1.Future"},
		},
		Kinds: []*lifecyclev1.WantedKind{
			{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Verbs: []lifecyclev1.Verb{lifecyclev1.Verb_VERB_READ, lifecyclev1.Verb_VERB_UPDATE, 99}},
			{Kind: "Pod", Verbs: []lifecyclev1.Verb{lifecyclev1.Verb_VERB_READ}, LabelSelector: "managed-by=evil"},
			{Kind: "Secret", Verbs: []lifecyclev1.Verb{lifecyclev1.Verb_VERB_READ}},
			{Group: "argoproj.io", Kind: "Rollout", Verbs: []lifecyclev1.Verb{lifecyclev1.Verb_VERB_UPDATE}},
		},
	}
	switch l.mode {
	case "describe-hang":
		time.Sleep(time.Hour)
	case "describe-stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		time.Sleep(time.Hour) // The other threads may run on for a moment.
	case "describe-exit":
		fmt.Fprintln(os.NewFile(2, "stderr"), "cannot find my licence")
		os.Exit(5)
	case "no-services":
		answer.Services = answer.Services[3:]
	case "bad-name":
		answer.Name = "Evil Plugin!\n"
	case "bad-version":
		answer.Version = "latest"
	case "bad-selector":
		answer.Kinds[1].LabelSelector = "((("
	}
	return answer, nil
}

func (l *lifecycle) Configure(_ context.Context, req *lifecyclev1.ConfigureRequest) (*lifecyclev1.ConfigureResponse, error) {
	var config struct {
		Do      string `json:"do"`
		Fault   string `json:"fault"`
		Closing string `json:"closing"`
	}
	_ = json.Unmarshal(req.GetConfig().GetJson(), &config)
	l.closing = config.Closing
	commit(config.Fault)
	if config.Do == "refuse" {
		return nil, status.Error(codes.InvalidArgument, "address is not a URL")
	}
	return &lifecyclev1.ConfigureResponse{}, nil
}

func (l *lifecycle) Close(_ context.Context, _ *lifecyclev1.CloseRequest) (*lifecyclev1.CloseResponse, error) {
	commit(l.closing)
	if l.mode == "close-hang" {
		time.Sleep(time.Hour)
	}
	return &lifecyclev1.CloseResponse{}, nil
}
