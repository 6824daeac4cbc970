package analysis

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

const token = `t0k"en/+ with 100% of the <odd> characters and more than eighty of them, so that cutting shows`

func secretArg() []v1alpha1.Argument {
	return []v1alpha1.Argument{{Name: "token", ValueFrom: &v1alpha1.ValueFrom{
		SecretKeyRef: &v1alpha1.SecretKeyRef{Name: "login", Key: "token"},
	}}}
}

func secretRun() *v1alpha1.AnalysisRun {
	run := named("a", errorRate(func(m *v1alpha1.Metric) {
		m.FailureCondition = "result != 'x' && result != '{{args.token}}'"
		m.SuccessCondition = "result == '{{args.token}}'"
		m.Provider = v1alpha1.MetricProvider{Web: &v1alpha1.WebMetric{URL: "https://x/?t={{args.token}}"}}
	}))
	run.Spec.Args = secretArg()
	return run
}

func TestSecretsReachTheProviderAndNothingElse(t *testing.T) {
	stored := map[string]map[string][]byte{"shop/login": {"token": []byte(token)}}
	for story, answer := range map[string]func() (Answer, error){
		"value": func() (Answer, error) {
			text := "you sent " + token
			return Answer{Value: &Value{Text: &text}, Metadata: map[string]string{token: token}, ResultMetadata: map[string]string{"q": token}, Message: token}, nil
		},
		"json": func() (Answer, error) {
			raw, err := json.Marshal(map[string]string{"echo": token})
			return Answer{Value: &Value{JSON: raw}}, err
		},
		"failure": func() (Answer, error) { return Answer{Err: errors.New("GET " + token)}, nil },
		"verdict": func() (Answer, error) { return Answer{Verdict: &Verdict{Phase: failed, Value: token}}, nil },
		"outage":  func() (Answer, error) { return Answer{}, errors.New("dial " + token) },
		"pending": func() (Answer, error) { return Answer{Pending: &Pending{State: []byte(token)}}, nil },
	} {
		t.Run(story, func(t *testing.T) {
			s := &stage{secrets: stored, measure: func(context.Context, Request) (Answer, error) { return answer() }}
			c := s.calls(t)
			run := secretRun()
			c.Act(run, Plan{Ops: []Op{measureOp(run, 0)}})
			<-s.news
			assert.Equal(t, "https://x/?t="+token, s.requests[0].Metric.Provider.Web.URL)
			assert.Contains(t, string(s.requests[0].Config), `t0k\"en`)
			plan := Decide(Snapshot{Now: epoch, Run: run, Calls: c.Of(run)})
			raw, err := json.Marshal(plan)
			require.NoError(t, err)
			shown := fmt.Sprintf("%s %+v", raw, c.Of(run)["error-rate"].Result)
			for _, piece := range []string{"t0k", "eighty of them", "odd"} {
				assert.NotContains(t, shown, piece)
			}
			handed, err := json.Marshal(s.requests[0].Run)
			require.NoError(t, err)
			assert.NotContains(t, string(handed), "t0k", "the run a provider gets holds references only")
		})
	}
}

func TestMissingSecretsEndTheRun(t *testing.T) {
	for _, c := range []struct {
		secrets map[string]map[string][]byte
		down    error
		fatal   string
		waiting string
	}{
		{fatal: `Unable to resolve metric arguments: secret "login" not found`},
		{secrets: map[string]map[string][]byte{"shop/login": {}}, fatal: `Unable to resolve metric arguments: key "token" does not exist in secret "login"`},
		{down: errors.New("server timeout"), waiting: "server timeout"},
	} {
		s := &stage{secrets: c.secrets, down: c.down}
		calls := s.calls(t)
		run := secretRun()
		calls.Act(run, Plan{Ops: []Op{measureOp(run, 0)}})
		<-s.news
		plan := Decide(Snapshot{Now: epoch, Run: run, Calls: calls.Of(run)})
		if c.fatal == "" {
			assert.Equal(t, running, plan.Status.Phase)
			assert.True(t, strings.HasSuffix(plan.Status.Message, c.waiting), plan.Status.Message)
			continue
		}
		assert.Equal(t, errored, plan.Status.Phase)
		assert.Equal(t, c.fatal, plan.Status.Message)
		assert.NotNil(t, plan.Status.CompletedAt)
		assert.Empty(t, s.requests, "nobody is asked without it")
	}
}

// Asking again does not make an argument fit, and the reason shows no secret.
func TestUnresolvableArgumentsEndTheRun(t *testing.T) {
	for _, c := range []struct {
		story, value, condition, fatal string
	}{
		{
			story: "no literal", value: "hunter2\n", condition: "result < {{args.token}}",
			fatal: `Unable to resolve metric arguments: metric "error-rate": the value of secret "login" cannot be used here; in a condition, outside of quotes, it must be one number, true or false`,
		},
		{
			story: "broken syntax", value: "hunter`2", condition: "result == `{{args.token}}`",
			fatal: `Unable to resolve metric arguments: metric "error-rate": the value of secret "login" cannot be used here; in a condition, outside of quotes, it must be one number, true or false`,
		},
		{
			story: "wrong without it", value: "hunter2", condition: "result == '{{args.token}}' && result < {{args.no}}",
			fatal: `Unable to resolve metric arguments: metric "error-rate": successCondition "result == '{{args.token}}' && result < {{args.no}}": {{args.no}} is unknown: no argument has this name`,
		},
		{
			story: "no secret at all", condition: "result < {{args.no}}",
			fatal: `Unable to resolve metric arguments: metric "error-rate": successCondition "result < {{args.no}}": {{args.no}} is unknown: no argument has this name`,
		},
		{story: "blanks around", value: " 5\n", condition: "result < {{args.token}}"},
	} {
		t.Run(c.story, func(t *testing.T) {
			one := 1.0
			s := &stage{
				secrets: map[string]map[string][]byte{"shop/login": {"token": []byte(c.value)}},
				measure: func(context.Context, Request) (Answer, error) { return Answer{Value: &Value{Scalar: &one}}, nil },
			}
			calls := s.calls(t)
			run := named("a", errorRate(func(m *v1alpha1.Metric) { m.SuccessCondition, m.FailureCondition = c.condition, "" }))
			run.Spec.Args = secretArg()
			calls.Act(run, Plan{Ops: []Op{measureOp(run, 0)}})
			<-s.news
			r := calls.Of(run)["error-rate"].Result
			assert.Empty(t, r.Waiting)
			assert.Equal(t, c.fatal, r.Fatal)
			assert.NotContains(t, fmt.Sprintf("%+v", r), "hunter")
			if c.fatal == "" {
				require.NotNil(t, r.Measurement)
				assert.Equal(t, successful, r.Measurement.Phase)
			}
		})
	}
}

func TestSecretsAreHiddenHoweverTheyWereRewritten(t *testing.T) {
	var r redactor
	r.add("  first?>line\n\tsecond~~line \n")
	for written, want := range map[string]string{
		"trimmed: first?>line\n\tsecond~~line.": "trimmed: *****.",
		"one line: first?>line second~~line.":   "one line: *****.",
		"cut: first?>line sec…":                 "cut: *****…",
		"cut: first?>line\n\tsec…":              "cut: *****…",
		"cut early: firs…":                      "cut early: *****…",
		"cut: fir…":                             "cut: fir…", // Too little to tell anything.
		"cut elsewhere: nothing of it…":         "cut elsewhere: nothing of it…",
		"not cut: firs":                         "not cut: firs",
		"%20first%3F%3Eline%20second~~line%20":  "%20*****%20",
	} {
		assert.Equal(t, want, r.text(written))
	}
	for _, form := range []string{"  first?>line\n\tsecond~~line \n", "first?>line\n\tsecond~~line", "first?>line second~~line"} {
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			assert.Regexp(t, `^key \*{5}=?=?$`, r.text("key "+e.EncodeToString([]byte(form))), form)
		}
	}
	var blank redactor
	blank.add(" \n")
	assert.Equal(t, "a b", blank.text("a b"), "blanks alone are nothing to hide in every text")
}
