package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// ReasonReferenceNotFound is the google.rpc.ErrorInfo reason of an object the configuration names and that is not
	// there.
	ReasonReferenceNotFound = "REFERENCE_NOT_FOUND"
	// ErrorDomain is the google.rpc.ErrorInfo domain of the contract's reasons.
	ErrorDomain = "sluice"
)

// Error is an error with a class the host knows: see PROTOCOL.md, "Errors". It survives wrapping with %w, and joined
// InvalidConfig errors reach the host as one status with all their paths. A plain error becomes UNKNOWN, which the host
// treats as retryable.
type Error struct {
	code    codes.Code
	message string
	detail  protoadapt.MessageV1
}

// Error returns the sentence users see.
func (e *Error) Error() string { return e.message }

// GRPCStatus makes gRPC send the class and its detail.
func (e *Error) GRPCStatus() *status.Status {
	s := status.New(e.code, e.message)
	if e.detail == nil {
		return s
	}
	detailed, err := s.WithDetails(e.detail)
	if err != nil { // Only a detail that cannot be encoded; the class alone is still right.
		return s
	}

	return detailed
}

// InvalidConfig says that the user's configuration is wrong at path, such as `httpRoutes[0].name` (see config.Path).
// Empty path: the configuration as a whole. The rollout is refused until its spec changes.
func InvalidConfig(path, format string, args ...any) error {
	reason := fmt.Sprintf(format, args...)
	message := reason
	if path != "" {
		message = path + ": " + reason
	}

	return &Error{code: codes.InvalidArgument, message: message, detail: &errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: path, Description: reason}},
	}}
}

// ReferenceNotFound says that the configuration names an object that is not there. The host asks again when it appears.
// Empty namespace: the kind is cluster-scoped.
func ReferenceNotFound(kind, namespace, name string) error {
	full := name
	if namespace != "" {
		full = namespace + "/" + name
	}

	return &Error{
		code:    codes.NotFound,
		message: fmt.Sprintf("%s %q not found", kind, full),
		detail: &errdetails.ErrorInfo{
			Reason: ReasonReferenceNotFound, Domain: ErrorDomain,
			Metadata: map[string]string{"kind": kind, "namespace": namespace, "name": name},
		},
	}
}

// Retry says that the plugin cannot answer now, such as when its data plane does not respond. The host holds and asks
// again after about the given time; 0 leaves the time to the host.
func Retry(after time.Duration, format string, args ...any) error {
	e := &Error{code: codes.Unavailable, message: fmt.Sprintf(format, args...)}
	if after > 0 {
		e.detail = &errdetails.RetryInfo{RetryDelay: durationpb.New(after)}
	}

	return e
}

// Blocked says that the plugin cannot answer until somebody changes something it cannot name a path for. The host holds
// and does not retry soon.
func Blocked(format string, args ...any) error {
	return &Error{code: codes.FailedPrecondition, message: fmt.Sprintf(format, args...)}
}

// Unsupported says that the plugin cannot do what is asked and never will. The host holds and does not retry soon.
func Unsupported(format string, args ...any) error {
	return &Error{code: codes.Unimplemented, message: fmt.Sprintf(format, args...)}
}

// Violations returns the paths of an InvalidConfig error and what is wrong there, also one that came over the wire.
// Nil: it is not such an error.
func Violations(err error) map[string]string {
	paths := map[string]string{}
	for _, detail := range toStatus(err).Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				paths[v.GetField()] = v.GetDescription()
			}
		}
	}
	if len(paths) == 0 {
		return nil
	}

	return paths
}

// IsReferenceNotFound says whether err is a ReferenceNotFound error, also one that came over the wire.
func IsReferenceNotFound(err error) bool {
	for _, detail := range toStatus(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetReason() == ReasonReferenceNotFound {
			return true
		}
	}

	return false
}

// toStatus is what goes over the wire for err. Several InvalidConfig errors joined together become one with all their
// violations; in any other mixture the first decides the class.
func toStatus(err error) *status.Status {
	var invalid []*errdetails.BadRequest_FieldViolation
	found := leaves(err, nil)
	for _, e := range found {
		if bad, ok := e.detail.(*errdetails.BadRequest); ok {
			invalid = append(invalid, bad.GetFieldViolations()...)
		}
	}
	if len(found) > 1 && len(invalid) > 0 && found[0].code == codes.InvalidArgument {
		message := strings.ReplaceAll(err.Error(), "\n", "; ")
		joined := &Error{codes.InvalidArgument, message, &errdetails.BadRequest{FieldViolations: invalid}}

		return joined.GRPCStatus()
	}
	if s, ok := status.FromError(err); ok {
		return s
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return status.New(codes.DeadlineExceeded, err.Error())
	}
	if errors.Is(err, context.Canceled) {
		return status.New(codes.Canceled, err.Error())
	}

	return status.New(codes.Unknown, err.Error())
}

// leaves appends the Errors in err's tree, in the order of its message.
func leaves(err error, found []*Error) []*Error {
	switch e := err.(type) { //nolint:errorlint // walks the tree itself, one level at a time
	case *Error:
		return append(found, e)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			found = leaves(inner, found)
		}
	case interface{ Unwrap() error }:
		return leaves(e.Unwrap(), found)
	}

	return found
}
