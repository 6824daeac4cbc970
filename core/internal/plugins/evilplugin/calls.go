package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	metricproviderv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
	trafficrouterv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

type order struct {
	Do  string `json:"do"`
	Arg string `json:"arg"`
}

func orderFrom(c *typesv1.RawConfig) (o order) {
	_ = json.Unmarshal(c.GetJson(), &o)
	return o
}

// kept is what the process has allocated.
var kept [][]byte

// obey does what every call can do wrong.
func (o order) obey() error {
	switch o.Do {
	case "fault":
		commit(o.Arg)
	case "later":
		later(o.Arg)
	case "hang":
		time.Sleep(time.Hour)
	case "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		time.Sleep(time.Hour) // The other threads may run on for a moment.
	case "exit":
		os.Exit(7)
	case "last-words":
		_, _ = os.NewFile(2, "stderr").WriteString("my password is hunter2\n")
		os.Exit(7)
	case "panic":
		panic("boom")
	case "wait":
		for _, err := os.Stat(o.Arg); err != nil; _, err = os.Stat(o.Arg) {
			time.Sleep(5 * time.Millisecond)
		}
	case "read":
		_, err := os.ReadFile(o.Arg)
		return status.Error(codes.FailedPrecondition, fmt.Sprint(err))
	case "trace":
		return status.Error(codes.FailedPrecondition, fmt.Sprint(trace(os.Getppid())))
	case "signal":
		n, _ := strconv.Atoi(o.Arg)
		return status.Error(codes.FailedPrecondition, fmt.Sprint(syscall.Kill(os.Getppid(), syscall.Signal(n))))
	case "allocate":
		n, _ := strconv.Atoi(o.Arg)
		kept = [][]byte{make([]byte, n)}
	case "files":
		var open []*os.File
		for {
			f, err := os.Open("/dev/null")
			if err != nil {
				return status.Error(codes.FailedPrecondition, fmt.Sprintf("%d files: %v", len(open), err))
			}
			open = append(open, f)
		}
	case "code":
		n, _ := strconv.ParseUint(o.Arg, 10, 32)
		return status.Error(codes.Code(n), "as you wish")
	case "retry":
		s, _ := status.New(codes.Unavailable, "later").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(7 * time.Second)})
		return s.Err()
	}
	return nil
}

type router struct {
	trafficrouterv1.UnimplementedTrafficRouterServer
}

func (*router) Capabilities(context.Context, *trafficrouterv1.CapabilitiesRequest) (*trafficrouterv1.CapabilitiesResponse, error) {
	return &trafficrouterv1.CapabilitiesResponse{Capabilities: []trafficrouterv1.Capability{
		trafficrouterv1.Capability_CAPABILITY_OBSERVE, trafficrouterv1.Capability_CAPABILITY_MAX_WEIGHT, 99,
	}}, nil
}

func (*router) Validate(_ context.Context, req *trafficrouterv1.ValidateRequest) (*trafficrouterv1.ValidateResponse, error) {
	if err := orderFrom(req.GetConfig()).obey(); err != nil {
		return nil, err
	}
	return &trafficrouterv1.ValidateResponse{}, nil
}

// Observe answers 80/20 of 100 in one place. Its message tells the process id,
// the arguments, and the names of the variables.
func (*router) Observe(_ context.Context, req *trafficrouterv1.ObserveRequest) (*trafficrouterv1.ObserveResponse, error) {
	o := orderFrom(req.GetConfig())
	if err := o.obey(); err != nil {
		return nil, err
	}
	stable := &trafficrouterv1.Destination{Role: trafficrouterv1.Role_ROLE_STABLE, Service: "web", Weight: 80}
	canary := &trafficrouterv1.Destination{Service: "web-canary", Weight: 20}
	at := &trafficrouterv1.Observed{Place: "HTTPRoute/shop/web rule=0", Traffic: &trafficrouterv1.Traffic{
		TotalWeight: 100, Destinations: []*trafficrouterv1.Destination{stable, canary},
	}}
	answer := &trafficrouterv1.ObserveResponse{
		Needs: []*typesv1.Need{
			{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Versions: []string{"v1"}, Namespace: "shop", Selection: &typesv1.Need_Name{Name: "web"}},
			{Kind: "Pod", Versions: []string{"v1"}, Namespace: "shop", Selection: &typesv1.Need_LabelSelector{LabelSelector: "b in (x,y),a=1"}},
		},
		Observed:    []*trafficrouterv1.Observed{at},
		Convergence: trafficrouterv1.Convergence_CONVERGENCE_DONE,
		Settle:      durationpb.New(2 * time.Second),
		Claims: []*trafficrouterv1.Claim{{
			Object: &typesv1.ObjectRef{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Namespace: "shop", Name: "web"}, Key: "rule=0/backend=Service/shop/web:80",
		}},
		RecheckAfter: durationpb.New(time.Millisecond),
		Message:      introduction(req),
	}
	switch o.Do {
	case "negative-weight":
		canary.Weight = -5
	case "no-total":
		at.Traffic.TotalWeight = 0
	case "too-much-weight":
		stable.Weight, canary.Weight = 150, 50
	case "unknown-role":
		canary.Role = 99
	case "no-place":
		at.Place = ""
	case "same-place":
		answer.Observed = append(answer.Observed, at)
	case "no-traffic":
		at.Traffic = nil
	case "unknown-convergence":
		answer.Convergence = 99
	case "negative-settle":
		answer.Settle = durationpb.New(-time.Second)
	case "bad-need":
		answer.Needs[0].Selection = nil
	case "many-needs":
		for range 1000 {
			answer.Needs = append(answer.Needs, answer.Needs[0])
		}
	case "bad-claim":
		answer.Claims[0].Key = ""
	case "huge":
		answer.Message = strings.Repeat("x", 20<<20)
	case "chatty":
		answer.Message = strings.Repeat("line\n", 100_000)
	}
	return answer, nil
}

func introduction(req *trafficrouterv1.ObserveRequest) string {
	var names []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join([]string{
		"pid", strconv.Itoa(os.Getpid()), "args", strings.Join(os.Args[1:], ","), "env", strings.Join(names, ","),
		"inputs", strconv.Itoa(len(req.GetInputs())),
	}, " ")
}

func (*router) Route(_ context.Context, req *trafficrouterv1.RouteRequest) (*trafficrouterv1.RouteResponse, error) {
	o := orderFrom(req.GetConfig())
	if err := o.obey(); err != nil {
		return nil, err
	}
	write := &typesv1.Write{
		Operation: typesv1.Write_OPERATION_UPDATE,
		Json:      []byte(`{"apiVersion":"gateway.networking.k8s.io/v1","kind":"HTTPRoute","metadata":{"name":"web","namespace":"shop"}}`),
	}
	answer := &trafficrouterv1.RouteResponse{Writes: []*typesv1.Write{write}}
	switch o.Do {
	case "no-operation":
		write.Operation = 0
	case "no-json":
		write.Json = []byte("{")
	case "nameless":
		write.Json = []byte(`{"apiVersion":"v1","kind":"Service"}`)
	case "echo":
		traffic := req.GetDesired()
		if req.GetRelease() != nil {
			traffic = req.GetRelease().GetTraffic()
		}
		said, _ := json.Marshal(traffic)
		answer.Message = string(said)
	}
	return answer, nil
}

type provider struct {
	metricproviderv1.UnimplementedMetricProviderServer
}

func (*provider) Capabilities(context.Context, *metricproviderv1.CapabilitiesRequest) (*metricproviderv1.CapabilitiesResponse, error) {
	return &metricproviderv1.CapabilitiesResponse{Capabilities: []metricproviderv1.Capability{
		metricproviderv1.Capability_CAPABILITY_PENDING, metricproviderv1.Capability_CAPABILITY_CANCEL,
	}}, nil
}

func (*provider) Measure(_ context.Context, req *metricproviderv1.MeasureRequest) (*metricproviderv1.MeasureResponse, error) {
	o := orderFrom(req.GetConfig())
	if err := o.obey(); err != nil {
		return nil, err
	}
	answer := &metricproviderv1.MeasureResponse{Message: req.GetMeasurementId()}
	value := func(v *metricproviderv1.Value) {
		answer.Outcome = &metricproviderv1.MeasureResponse_Value{Value: v}
	}
	switch o.Do {
	case "nothing":
	case "needs":
		answer.Needs = []*typesv1.Need{{Kind: "Service", Versions: []string{"v1"}, Namespace: "shop", Selection: &typesv1.Need_Name{Name: "web"}}}
	case "empty-value":
		value(&metricproviderv1.Value{})
	case "vector":
		value(&metricproviderv1.Value{Kind: &metricproviderv1.Value_Vector{Vector: &metricproviderv1.DoubleList{}}})
	case "big-vector":
		value(&metricproviderv1.Value{Kind: &metricproviderv1.Value_Vector{Vector: &metricproviderv1.DoubleList{Values: make([]float64, 8193)}}})
	case "big-text":
		value(&metricproviderv1.Value{Kind: &metricproviderv1.Value_Text{Text: strings.Repeat("x", 65537)}})
	case "big-json":
		value(&metricproviderv1.Value{Kind: &metricproviderv1.Value_Json{Json: []byte(`"` + strings.Repeat("x", 65535) + `"`)}})
	case "text":
		value(&metricproviderv1.Value{Kind: &metricproviderv1.Value_Text{Text: "ok"}})
	case "bad-json":
		value(&metricproviderv1.Value{Kind: &metricproviderv1.Value_Json{Json: []byte("{")}})
	case "verdict":
		answer.Outcome = &metricproviderv1.MeasureResponse_Verdict{Verdict: &metricproviderv1.Verdict{Result: metricproviderv1.Verdict_RESULT_FAILED, Value: "3 of 5"}}
	case "bad-verdict":
		answer.Outcome = &metricproviderv1.MeasureResponse_Verdict{Verdict: &metricproviderv1.Verdict{Result: 99}}
	case "pending":
		answer.Outcome = &metricproviderv1.MeasureResponse_Pending{Pending: &metricproviderv1.Pending{State: []byte("s" + string(req.GetState())), ResumeAfter: durationpb.New(3 * time.Second)}}
	case "big-state":
		answer.Outcome = &metricproviderv1.MeasureResponse_Pending{Pending: &metricproviderv1.Pending{State: make([]byte, 2000)}}
	case "error":
		answer.Outcome = &metricproviderv1.MeasureResponse_Error{Error: &metricproviderv1.Error{Message: "HTTP 500"}}
	default:
		value(&metricproviderv1.Value{Kind: &metricproviderv1.Value_Scalar{Scalar: 0.97}})
	}
	return answer, nil
}

func (*provider) Cancel(_ context.Context, req *metricproviderv1.CancelRequest) (*metricproviderv1.CancelResponse, error) {
	o := orderFrom(req.GetConfig())
	if err := o.obey(); err != nil {
		return nil, err
	}
	return &metricproviderv1.CancelResponse{Done: o.Do != "not-done", RetryAfter: durationpb.New(4 * time.Second)}, nil
}
