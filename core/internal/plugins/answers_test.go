package plugins

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

// An honest answer, in values.
func TestObserve(t *testing.T) {
	w := newWorld(t, nil, "evil")
	req := request("")
	req.TotalWeight = 1000
	req.Inputs = []rollout.NeedResult{{Need: rollout.Need{Kind: "Service", Name: "web"}, State: rollout.NeedSynced}}
	got, problem := w.router("evil").Observe(context.Background(), req)
	require.Nil(t, problem)
	assert.Contains(t, got.Observation.Message, "inputs 1")
	got.Observation.Message = ""
	want := rollout.ObserveAnswer{
		Needs: []rollout.Need{
			{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Versions: []string{"v1"}, Namespace: "shop", Name: "web"},
			{
				Kind: "Pod", Versions: []string{"v1"}, Namespace: "shop", SelectorText: "b in (x,y),a=1",
				Selector: &metav1.LabelSelector{
					MatchLabels:      map[string]string{"a": "1"},
					MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "b", Operator: metav1.LabelSelectorOpIn, Values: []string{"x", "y"}}},
				},
			},
		},
		Observation: rollout.Observation{
			Observed: []rollout.Observed{{Place: "HTTPRoute/shop/web rule=0", Traffic: rollout.Traffic{
				TotalWeight: 1000,
				Destinations: []rollout.Destination{
					{Role: rollout.RoleStable, Service: "web", Weight: 800},
					// The plugin could not tell the role; the host finds it by name.
					{Role: rollout.RoleCanary, Service: "web-canary", Weight: 200},
				},
			}}},
			Convergence: rollout.ConvergenceDone,
			Settle:      2 * time.Second,
			Claims:      []rollout.Claim{{Object: "HTTPRoute.gateway.networking.k8s.io/shop/web", Key: "rule=0/backend=Service/shop/web:80"}},
			// Asked for 1 ms.
			Recheck: time.Second,
		},
	}
	assert.Empty(t, cmp.Diff(want, got))
}

// An answer that breaks the contract is not used, and the plugin is named.
func TestAnswersThatBreakTheContract(t *testing.T) {
	w := newWorld(t, nil, "evil")
	for do, want := range map[string]string{
		"negative-weight": "observed[0].traffic: destinations[1].weight is -5",
		"no-total":        "observed[0].traffic: total_weight is 0",
		"unknown-role":    "observed[0].traffic: destinations[1]: role is 99",
		"no-place":        "observed[0].place",
		"same-place":      "observed[1].place",
		"no-traffic":      "observed[0].traffic: it is missing",
		"negative-settle": "settle is -1s",
		"bad-need":        "needs[0]: neither name nor label_selector is set",
		"many-needs":      "it lists 1002 needs, more than 256",
		"bad-claim":       "claims[0] lacks kind, name or key",
	} {
		_, problem := observe(w, "evil", do)
		require.NotNil(t, problem, do)
		assert.Equal(t, rollout.ProblemUnavailable, problem.Class, do)
		assert.Contains(t, problem.Message, `plugin "evil" broke the contract in its answer to TrafficRouter/Observe: `, do)
		assert.Contains(t, problem.Message, want, do)
		assert.Positive(t, problem.Retry, do)
	}
	assert.Equal(t, 10.0, w.count("calls", "evil", "TrafficRouter/Observe", "InvalidAnswer"))

	_, problem := observe(w, "evil", "huge")
	require.NotNil(t, problem)
	assert.Equal(t, `plugin "evil" broke the contract: its answer to TrafficRouter/Observe is larger than 4 MiB`, problem.Message)
	assert.Equal(t, rollout.ProblemRefused, problem.Class, "asking again does not make it smaller")
	big := request("")
	big.Inputs = []rollout.NeedResult{{State: rollout.NeedSynced, Objects: []rollout.Object{{JSON: make([]byte, 5<<20)}}}}
	_, problem = w.router("evil").Observe(context.Background(), big)
	require.NotNil(t, problem)
	assert.Equal(t, `plugin "evil" asks to see objects of more than 4 MiB in TrafficRouter/Observe; it has to need fewer of them`, problem.Message)
	assert.Equal(t, rollout.ProblemRefused, problem.Class)

	answer, problem := observe(w, "evil", "chatty")
	require.Nil(t, problem)
	assert.LessOrEqual(t, len(answer.Observation.Message), maxMessage)
	assert.NotContains(t, answer.Observation.Message, "\n")

	answer, problem = observe(w, "evil", "unknown-convergence")
	require.Nil(t, problem)
	assert.Equal(t, rollout.ConvergencePending, answer.Observation.Convergence, "what is not understood holds")

	answer, problem = observe(w, "evil", "too-much-weight")
	require.Nil(t, problem)
	assert.EqualValues(t, 75, answer.Observation.Observed[0].Traffic.Weight(rollout.RoleStable))

	for do, want := range map[string]string{
		"no-operation": "writes[0].operation is 0",
		"no-json":      "writes[0].json is no object",
		"nameless":     "writes[0].json lacks",
	} {
		_, problem := w.router("evil").Route(context.Background(), rollout.RouteRequest{
			Config: request(do).Config, Desired: &rollout.Traffic{TotalWeight: 100},
		})
		require.NotNil(t, problem, do)
		assert.Contains(t, problem.Message, want, do)
	}
	w.eventually("no harm done", func() bool { return w.State("evil") == StateReady })
	assert.Zero(t, w.count("restarts", "evil"))
}

func TestRoute(t *testing.T) {
	w := newWorld(t, nil, "evil")
	prefix := "/api"
	desired := rollout.Traffic{
		TotalWeight: 100,
		Destinations: []rollout.Destination{
			{Role: rollout.RoleStable, Service: "web", Hash: "aaa", Weight: 90},
			{Role: rollout.RoleCanary, Service: "web-canary", Hash: "bbb", Weight: 10},
		},
		Managed: []rollout.ManagedRoute{
			{Name: "beta", Header: []rollout.HeaderMatch{{Name: "X-Beta", Value: rollout.StringMatch{Exact: "yes"}}}},
			{Name: "shadow", Mirror: &rollout.MirrorRoute{Percentage: 5, Match: []rollout.RouteMatch{{Path: &rollout.StringMatch{Prefix: prefix}}}}},
		},
		ManagedNames: []string{"beta", "shadow", "old"},
	}
	answer, problem := w.router("evil").Route(context.Background(), rollout.RouteRequest{Config: request("echo").Config, Desired: &desired})
	require.Nil(t, problem)
	require.Len(t, answer.Writes, 1)
	assert.Equal(t, rollout.WriteUpdate, answer.Writes[0].Verb)
	for _, part := range []string{`"pod_template_hash":"bbb"`, `"weight":10`, `"name":"shadow"`, `"Prefix":"/api"`, `"percentage":5`, `"old"`} {
		assert.Contains(t, answer.Message, part)
	}

	answer, problem = w.router("evil").Route(context.Background(), rollout.RouteRequest{
		Config: request("echo").Config, Release: &rollout.Release{TotalWeight: 100, ManagedNames: []string{"beta"}, StableService: "web", CanaryService: "web-canary"},
	})
	require.Nil(t, problem)
	var left struct {
		Destinations []struct {
			Service string
			Weight  int32
		}
	}
	require.NoError(t, json.Unmarshal([]byte(answer.Message), &left))
	assert.EqualValues(t, 100, left.Destinations[0].Weight)
	assert.EqualValues(t, 0, left.Destinations[1].Weight)
}

func TestMeasure(t *testing.T) {
	w := newWorld(t, nil, "evil")
	p, problem := w.Provider("evil")
	require.Nil(t, problem)
	ask := func(do string) (analysis.Answer, error) {
		return p.Measure(context.Background(), analysis.Request{
			Run: &v1alpha1.AnalysisRun{}, Config: request(do).Config, MeasurementID: "m1", State: []byte("1"),
		})
	}
	good := map[string]func(analysis.Answer) bool{
		"":        func(a analysis.Answer) bool { return *a.Value.Scalar == 0.97 && a.Message == "m1" },
		"vector":  func(a analysis.Answer) bool { return a.Value.Vector != nil && len(a.Value.Vector) == 0 },
		"text":    func(a analysis.Answer) bool { return *a.Value.Text == "ok" },
		"verdict": func(a analysis.Answer) bool { return a.Verdict.Phase == "Failed" && a.Verdict.Value == "3 of 5" },
		"pending": func(a analysis.Answer) bool {
			return string(a.Pending.State) == "s1" && a.Pending.ResumeAfter == 3*time.Second
		},
		"error": func(a analysis.Answer) bool { return a.Err.Error() == "HTTP 500" },
		// The query is at fault: an answer, and not something to wait for.
		"big-vector": func(a analysis.Answer) bool {
			return a.Value == nil && a.Err.Error() == "the value has 8193 numbers, at most 8192 are judged; aggregate in the query so that it returns less"
		},
		"big-text": func(a analysis.Answer) bool {
			return a.Value == nil && a.Err.Error() == "the value has 65537 bytes of text, at most 65536 are judged; aggregate in the query so that it returns less"
		},
		"big-json": func(a analysis.Answer) bool {
			return a.Value == nil && a.Err.Error() == "the value has 65537 bytes of JSON, at most 65536 are judged; aggregate in the query so that it returns less"
		},
		"needs": func(a analysis.Answer) bool { return len(a.Needs) == 1 && a.Value == nil },
	}
	for do, is := range good {
		answer, err := ask(do)
		require.NoError(t, err, do)
		assert.True(t, is(answer), "%s: %+v", do, answer)
	}
	for do, want := range map[string]string{
		"nothing":     "it has no outcome and lists no needs",
		"empty-value": "value has no kind",
		"bad-json":    "value.json is no JSON",
		"bad-verdict": "verdict.result is 99",
		"big-state":   "pending.state has 2000 bytes",
	} {
		answer, err := ask(do)
		require.ErrorContains(t, err, want, do)
		assert.Zero(t, answer, "no answer is no measurement")
	}
	_, err := ask("exit")
	require.ErrorContains(t, err, `plugin "evil" failed MetricProvider/Measure`)
	require.ErrorContains(t, err, "the connection to its process broke")
	w.eventually("its return", func() bool {
		_, err := ask("")
		return err == nil
	})

	require.NoError(t, p.Cancel(context.Background(), analysis.Request{}))
	err = p.Cancel(context.Background(), analysis.Request{Config: request("not-done").Config})
	var later *rollout.Problem
	require.ErrorAs(t, err, &later)
	assert.Equal(t, 4*time.Second, later.Retry)
	require.NoError(t, p.Collect(context.Background(), analysis.Request{}, nil), "it has nothing to collect and is not asked")
	assert.Zero(t, w.count("calls", "evil", "MetricProvider/Collect", "OK"))
}

// The table of the contract's section "Errors".
func TestClassify(t *testing.T) {
	with := func(code codes.Code, details ...protoadapt.MessageV1) error {
		s, err := status.New(code, "as  you\nwish").WithDetails(details...)
		require.NoError(t, err)
		return s.Err()
	}
	violation := &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: "httpRoutes[0].nmae", Description: "unknown field"}, {Field: "x", Description: "too long"},
	}}
	for _, c := range []struct {
		err  error
		want rollout.Problem
	}{
		{with(codes.InvalidArgument, violation), rollout.Problem{Class: rollout.ProblemInvalid, Reason: "InvalidSpec", Path: "httpRoutes[0].nmae", Message: "unknown field; x: too long"}},
		{with(codes.OutOfRange), rollout.Problem{Class: rollout.ProblemInvalid, Reason: "InvalidSpec", Message: "as you wish"}},
		{with(codes.NotFound, &errdetails.ErrorInfo{Reason: "REFERENCE_NOT_FOUND", Domain: "sluice"}), rollout.Problem{Class: rollout.ProblemInvalid, Reason: "InvalidSpec", Message: "as you wish", Retry: 20 * time.Second}},
		{with(codes.Unimplemented), rollout.Problem{Class: rollout.ProblemRefused, Reason: "PluginRefused", Message: `plugin "p" refuses M (Unimplemented): as you wish`}},
		{with(codes.FailedPrecondition), rollout.Problem{Class: rollout.ProblemRefused, Reason: "PluginRefused", Message: `plugin "p" refuses M (FailedPrecondition): as you wish`}},
		{with(codes.Aborted), rollout.Problem{Class: rollout.ProblemUnavailable, Reason: "PluginUnavailable", Message: `plugin "p" failed M (Aborted): as you wish`}},
		{with(codes.Code(77)), rollout.Problem{Class: rollout.ProblemUnavailable, Reason: "PluginUnavailable", Message: `plugin "p" failed M (Unknown): as you wish`}},
	} {
		assert.Equal(t, &c.want, classify("p", "M", c.err))
	}
}

// RetryInfo is honoured; without it, the pause grows while nothing is answered.
func TestRetry(t *testing.T) {
	w := newWorld(t, func(t *timing) { t.backoffMin, t.backoffMax = time.Second, time.Minute }, "evil")
	_, problem := observe(w, "evil", "retry")
	require.NotNil(t, problem)
	assert.Equal(t, 7*time.Second, problem.Retry)
	mustObserve(w, "evil")
	for _, want := range []float64{1, 2, 4} {
		_, problem := observe(w, "evil", "code", "13")
		require.NotNil(t, problem)
		assert.InDelta(t, want, problem.Retry.Seconds(), want*0.21)
	}
}

func TestScale(t *testing.T) {
	for _, c := range []struct {
		weights     []int32
		from, total int64
		want        []int32
	}{
		{[]int32{30, 30}, 60, 100, []int32{50, 50}},
		{[]int32{999, 1}, 1000, 100, []int32{100, 1}}, // What carries traffic never shows as 0.
		{[]int32{0, 0}, 0, 100, []int32{0, 0}},
		{[]int32{math.MaxInt32, math.MaxInt32}, 2 * math.MaxInt32, math.MaxInt32, []int32{math.MaxInt32/2 + 1, math.MaxInt32/2 + 1}},
	} {
		var to []rollout.Destination
		for _, w := range c.weights {
			to = append(to, rollout.Destination{Weight: w})
		}
		scale(to, c.from, c.total)
		var got []int32
		for _, d := range to {
			got = append(got, d.Weight)
		}
		assert.Equal(t, c.want, got)
	}
}

// Plugins find their needs by the selector's text: it comes back as it was.
func TestNeedRoundTrip(t *testing.T) {
	for _, text := range []string{"", "a=1", "b in (x,y),a=1", "a,!b"} {
		wire := &typesv1.Need{Kind: "Pod", Versions: []string{"v1"}, Selection: &typesv1.Need_LabelSelector{LabelSelector: text}}
		need, err := needFrom(wire)
		require.NoError(t, err)
		require.NotNil(t, need.Selector)
		assert.Equal(t, text, needTo(need).GetLabelSelector())
	}
	assert.Equal(t, "a=1", needTo(rollout.Need{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "1"}}}).GetLabelSelector())
}

// What a plugin says ends up in conditions, events and terminals.
func TestSentencesArePlainText(t *testing.T) {
	assert.Equal(t, "red [31malert spoofed ?", sentence("red\n\x1b[31malert\t\u202espoofed \xff"))
	assert.Len(t, sentence(string(make([]byte, 1<<20))), len("it gave no reason"))
	assert.LessOrEqual(t, len(sentence(strings.Repeat("ä", 1<<20))), maxMessage)
}
