package plugin

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

// maxStack keeps a logged stack well under the 64 KiB at which go-plugin cuts a line, which would break its JSON.
const maxStack = 16 << 10

// Log returns the logger of a call: what it logs reaches the host's log with the plugin's name, the method and the
// target. Outside of a call it is hclog's default logger.
func Log(ctx context.Context) hclog.Logger { return hclog.FromContext(ctx) }

// intercept gives each call its logger, turns errors into statuses, and a panic into INTERNAL: a bug met by one rollout
// must not end the process that serves all others.
func intercept(logger hclog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, call *grpc.UnaryServerInfo, next grpc.UnaryHandler) (answer any, err error) {
		log := logger.With("method", call.FullMethod)
		if r, ok := req.(interface{ GetTarget() *typesv1.Target }); ok {
			log = log.With("namespace", r.GetTarget().GetNamespace(), "name", r.GetTarget().GetName())
		}
		if r, ok := req.(interface{ GetOperationId() string }); ok {
			log = log.With("operation", r.GetOperationId())
		}
		defer func() {
			if cause := recover(); cause != nil {
				stack := debug.Stack()
				log.Error("Plugin panicked", "panic", fmt.Sprint(cause), "stack", string(stack[:min(len(stack), maxStack)]))
				answer, err = nil, status.Errorf(codes.Internal, "plugin panicked: %v", cause)
			}
		}()

		answer, err = next(hclog.WithContext(ctx, log), req)
		if err != nil {
			return nil, toStatus(err).Err()
		}

		return answer, nil
	}
}
