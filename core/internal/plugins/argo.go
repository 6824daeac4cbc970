package plugins

import (
	"context"
	"errors"
	"fmt"
	"net/rpc"
	"strings"
	"sync"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// argoCookie is the variable by which Argo Rollouts' plugins know that they are
// run as plugins; its value says which kind is wanted.
const argoCookie = "ARGO_ROLLOUTS_RPC_PLUGIN"

// argoKinds are the cookie's value and the name in the plugin set, by kind.
var argoKinds = map[Kind]struct{ cookie, set string }{
	KindTrafficRouter:  {"trafficrouter", "RpcTrafficRouterPlugin"},
	KindMetricProvider: {"metricprovider", "RpcMetricProviderPlugin"},
	KindStep:           {"step", "RpcStepPlugin"},
}

// argoWire dispenses the net/rpc client of a process as it is.
type argoWire struct{}

// Server implements plugin.Plugin; the host serves nothing.
func (argoWire) Server(*plugin.MuxBroker) (any, error) {
	return nil, errors.New("this plugin set is a client's")
}

// Client implements plugin.Plugin.
func (argoWire) Client(_ *plugin.MuxBroker, c *rpc.Client) (any, error) { return c, nil }

// argo drives a plugin built for Argo Rollouts' net/rpc protocol. net/rpc knows
// neither deadlines nor cancellation: a process that has not answered when the
// time is up is killed, since nothing else ends the call.
type argo struct {
	kind Kind
	rpc  *rpc.Client
	ping func() error
	// end kills the process, and is told why.
	end func(error)

	mu sync.Mutex
	// managed are the routes last set, by UID of the Rollout; absent when this
	// process has not been told yet.
	managed map[string][]rollout.ManagedRoute
}

// introduce makes the plugin usable, and says what is known of it: it describes
// neither itself nor what it can do, so it is believed to do everything but to
// observe.
func (a *argo) introduce(ctx context.Context) (*facts, error) {
	var failed argoError
	if err := a.call(ctx, "InitPlugin", nil, &failed); err != nil {
		return nil, err
	}
	if failed.ErrorString != "" {
		return nil, status.Error(codes.FailedPrecondition, failed.ErrorString)
	}
	return &facts{
		version: "net-rpc", offers: map[Kind]bool{a.kind: true},
		router:  rollout.Capabilities{HeaderRoutes: true, MirrorRoutes: true, Experiments: true, MaxWeight: true, ExternalEffects: true},
		cancels: true, collects: true, terminates: true, aborts: true,
	}, nil
}

// call calls one method. The argument travels as an interface, as the other
// side expects it, nil included.
func (a *argo) call(ctx context.Context, method string, args, reply any) error {
	call := a.rpc.Go("Plugin."+method, &args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		return argoStatus(call.Error)
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			a.end(fmt.Errorf("it did not answer %s in time, and a net/rpc call cannot be cancelled", method))
		}
		return status.FromContextError(ctx.Err()).Err()
	}
}

// do is call for methods that answer with an error only.
func (a *argo) do(ctx context.Context, method string, args any) error {
	var failed argoError
	if err := a.call(ctx, method, args, &failed); err != nil {
		return err
	}
	return failed.of(method)
}

// of is the error as that of a call; nil when there is none.
func (e argoError) of(method string) error {
	if e.ErrorString == "" {
		return nil
	}
	return status.Errorf(codes.Unknown, "%s: %s", method, e.ErrorString)
}

// check is the health check: go-plugin's Ping, which has no deadline.
func (a *argo) check(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- a.ping() }() // Ends with the process, which a failed check ends.
	select {
	case err := <-done:
		if err != nil {
			return status.Error(codes.Unavailable, "connection error: "+err.Error())
		}
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// argoStatus puts an error of net/rpc in gRPC's terms, which the rest of the
// host understands. What the other side said is an answer; anything else is the
// connection.
func argoStatus(err error) error {
	var said rpc.ServerError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said) && strings.HasPrefix(string(said), "rpc: can't find"):
		return status.Error(codes.Unimplemented, string(said))
	case errors.As(err, &said):
		return status.Error(codes.Internal, string(said))
	case strings.HasPrefix(err.Error(), "gob: ") || strings.HasPrefix(err.Error(), "reading body gob: "):
		return status.Error(codes.Internal, err.Error())
	default:
		return status.Error(codes.Unavailable, "connection error: "+err.Error())
	}
}
