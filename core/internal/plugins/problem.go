package plugins

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	"github.com/sluice-rollouts/sluice/sdk/handshake"
)

// Reasons of a Problem; see rollout.HoldReason.
const (
	reasonUnavailable = string(rollout.HoldPluginUnavailable)
	reasonWaiting     = string(rollout.HoldWaitingForPlugin)
	reasonRefused     = string(rollout.HoldPluginRefused)
	reasonInvalid     = string(rollout.HoldInvalidSpec)
)

// referenceRetry is when a missing reference is looked for again even though
// no event told of it.
const referenceRetry = 20 * time.Second

// maxMessage bounds what a plugin may say in a status condition.
const maxMessage = 1 << 10

func unavailable(format string, args ...any) *rollout.Problem {
	return &rollout.Problem{
		Class: rollout.ProblemUnavailable, Reason: reasonUnavailable, Message: fmt.Sprintf(format, args...),
	}
}

func waiting(format string, args ...any) *rollout.Problem {
	return &rollout.Problem{Class: rollout.ProblemWaiting, Reason: reasonWaiting, Message: fmt.Sprintf(format, args...)}
}

func refused(format string, args ...any) *rollout.Problem {
	return &rollout.Problem{Class: rollout.ProblemRefused, Reason: reasonRefused, Message: fmt.Sprintf(format, args...)}
}

// brokenContract is an answer that cannot be used.
type brokenContract struct{ what string }

func (e *brokenContract) Error() string { return e.what }

func broken(format string, args ...any) error {
	return &brokenContract{what: fmt.Sprintf(format, args...)}
}

// classify says what an error of a call means for the rollout. The message
// names the plugin, except where it is the user's configuration that is wrong.
func classify(plugin, method string, err error) *rollout.Problem {
	var bad *brokenContract
	if errors.As(err, &bad) {
		return unavailable("plugin %q broke the contract in its answer to %s: %s", plugin, method, bad.what)
	}
	s := status.Convert(err)
	if p := oversize(plugin, method, s); p != nil {
		return p
	}
	text := sentence(s.Message())
	if brokenConnection(s) {
		text = "the connection to its process broke"
	}
	var path string
	var missing bool
	var retry time.Duration
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.BadRequest:
			if v := d.GetFieldViolations(); len(v) > 0 {
				path = cut(strings.Map(printable, strings.ToValidUTF8(v[0].GetField(), "?")), 256)
				text = violations(v)
			}
		case *errdetails.ErrorInfo:
			missing = missing || d.GetReason() == "REFERENCE_NOT_FOUND"
		case *errdetails.RetryInfo:
			retry = min(max(d.GetRetryDelay().AsDuration(), 0), time.Hour)
		}
	}
	switch code := s.Code(); {
	case missing:
		return &rollout.Problem{
			Class: rollout.ProblemInvalid, Reason: reasonInvalid, Path: path, Message: text, Retry: referenceRetry,
		}
	case code == codes.InvalidArgument || code == codes.OutOfRange:
		return &rollout.Problem{Class: rollout.ProblemInvalid, Reason: reasonInvalid, Path: path, Message: text}
	case terminal(code):
		return refused("plugin %q refuses %s (%s): %s", plugin, method, code, text)
	case code == codes.DeadlineExceeded:
		p := unavailable("plugin %q did not answer %s in time", plugin, method)
		p.Retry = retry
		return p
	default:
		p := unavailable("plugin %q failed %s (%s): %s", plugin, method, codeLabel(err), text)
		p.Retry = retry
		return p
	}
}

// oversize recognises gRPC's own words for a message beyond the limit. Asking
// again helps neither way, so nobody is left to believe that it does.
func oversize(plugin, method string, s *status.Status) *rollout.Problem {
	if s.Code() != codes.ResourceExhausted {
		return nil
	}
	switch text := s.Message(); {
	case strings.HasPrefix(text, "grpc: received message larger than max"), strings.HasPrefix(text, "grpc: received message after decompression larger than max"):
		return refused("plugin %q broke the contract: its answer to %s is larger than %d MiB", plugin, method, handshake.MaxMessageSize>>20)
	case strings.HasPrefix(text, "trying to send message larger than max"), strings.HasPrefix(text, "grpc: trying to send message larger than max"):
		return refused("plugin %q asks to see objects of more than %d MiB in %s; it has to need fewer of them", plugin, handshake.MaxMessageSize>>20, method)
	}
	return nil
}

// brokenConnection recognises gRPC's own words for it. They name sockets and
// change from call to call, which makes them bad news for a status.
func brokenConnection(s *status.Status) bool {
	switch s.Code() {
	case codes.Unavailable:
		return strings.HasPrefix(s.Message(), "connection error: ") || strings.HasPrefix(s.Message(), "error reading from server: ")
	case codes.Canceled:
		return s.Message() == "grpc: the client connection is closing"
	default:
		return false
	}
}

// terminal codes are not worth asking again soon.
func terminal(code codes.Code) bool {
	switch code {
	case codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented, codes.DataLoss, codes.FailedPrecondition:
		return true
	default:
		return false
	}
}

// violations after the first carry their path in the text: a Problem has room
// for one.
func violations(all []*errdetails.BadRequest_FieldViolation) string {
	texts := []string{all[0].GetDescription()}
	for _, v := range all[1:] {
		texts = append(texts, v.GetField()+": "+v.GetDescription())
	}
	return sentence(strings.Join(texts, "; "))
}

// sentence makes a plugin's text fit for a condition: one line, bounded.
func sentence(text string) string {
	text = strings.Map(printable, strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " "))
	if text == "" {
		text = "it gave no reason"
	}
	return cut(text, maxMessage)
}

// printable drops what steers a terminal or hides in a text.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return -1
}

// remark is sentence for optional texts.
func remark(text string) string {
	if strings.TrimSpace(text) == "" {
		return ""
	}
	return sentence(text)
}

// codeLabel is the code of a call for metrics: the names gRPC defines and
// InvalidAnswer, nothing a plugin can make up.
func codeLabel(err error) string {
	var bad *brokenContract
	switch {
	case err == nil:
		return codes.OK.String()
	case errors.As(err, &bad):
		return "InvalidAnswer"
	case errors.Is(err, context.Canceled):
		return codes.Canceled.String()
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded.String()
	}
	if code := status.Code(err); code <= codes.Unauthenticated {
		return code.String()
	}
	return codes.Unknown.String()
}
