package conformance

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// deadlines are the host's, by method; see "Calls" in PROTOCOL.md. Others have none of their own.
var deadlines = map[string]time.Duration{
	"Describe": introduceTimeout, "Configure": introduceTimeout, "Close": closeTimeout,
	"Capabilities": 5 * time.Second, "Validate": 5 * time.Second, "Observe": 5 * time.Second,
	"Route": 10 * time.Second, "Run": 10 * time.Second, "Terminate": 10 * time.Second, "Abort": 10 * time.Second,
	"Cancel": 10 * time.Second, "Collect": 10 * time.Second, "Measure": 60 * time.Second,
}

// bounded gives every call the host's deadline, so that a plugin that hangs is a sentence and not a wait.
type bounded struct{ grpc.ClientConnInterface }

// Invoke implements grpc.ClientConnInterface.
func (b bounded) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	limit, ok := deadlines[path.Base(method)]
	if !ok {
		return b.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	}
	call, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := b.ClientConnInterface.Invoke(call, method, args, reply, opts...)
	if ctx.Err() == nil && errors.Is(call.Err(), context.DeadlineExceeded) && status.Code(err) == codes.DeadlineExceeded {
		return status.Errorf(codes.DeadlineExceeded, "%s did not answer within %v, the host's deadline", path.Base(method), limit)
	}

	return err
}

// gone says that the plugin has ended, or answers nothing any more; nil: it is there. A plugin without health service is
// there.
func (c *Connection) gone(ctx context.Context) error {
	if c.process != nil {
		select {
		case <-c.process.exited:
			return c.process.fate()
		default:
		}
	}
	err := healthy(ctx, c)
	switch status.Code(err) {
	case codes.DeadlineExceeded, codes.Unavailable:
	default:
		return nil
	}
	if c.process != nil {
		// The connection is often noticed to be gone before the process is.
		select {
		case <-c.process.exited:
			return c.process.fate()
		case <-time.After(drainLimit):
		}
	}

	return fmt.Errorf("the plugin answers nothing any more: %w", err)
}

// fate says how the process ended. Only after exited.
func (p *process) fate() error {
	p.mu.Lock()
	defer p.mu.Unlock()

	return withWords(fmt.Errorf("the plugin ended (%w)", p.end), p.stderr.words())
}
