package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	metricv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

const smoke = `{"metadata":{"labels":{"team":"shop"},"annotations":{"why":"smoke"}},
	"spec":{"backoffLimit":1,"template":{"metadata":{"labels":{"app":"smoke"}},"spec":{"restartPolicy":"Never","containers":[{"name":"smoke","image":"smoke:1"}]}}}}`

func TestConformance(t *testing.T) {
	conformance.TestMetricProvider(t, conformance.InProcess(info(), service()), fixture())
}

func TestConformanceOfTheBinary(t *testing.T) {
	conformance.TestMetricProvider(t, conformance.Built(t, "."), fixture())
}

// fixture plays the Job controller: every Job succeeds.
func fixture() conformance.ProviderFixture {
	return conformance.ProviderFixture{
		Config: smoke,
		Check:  func(answer *metricv1.MeasureResponse) error { return nil },
		Converge: func(o *objects.Object) {
			if o.Ref.Kind == "Job" {
				o.Set([]any{map[string]any{"type": "Complete", "status": "True"}}, "status", "conditions")
			}
		},
		UnknownField: `{"spec":{"template":{"spec":{"containers":[{}]}}},"spce":{}}`,
		UnknownPath:  "spce",
	}
}

// shown makes inputs of Jobs and pods.
func shown(t *testing.T, jobs, pods []string) *objects.Inputs {
	t.Helper()
	result := func(group, kind string, list []string) *typesv1.NeedResult {
		need := objects.Need{Group: group, Kind: kind, Versions: []string{"v1"}, Namespace: "shop", Selector: selector}
		r := &typesv1.NeedResult{Need: need.Proto(), State: typesv1.NeedResult_STATE_SYNCED}
		for _, one := range list {
			r.Objects = append(r.Objects, &typesv1.Object{Json: []byte(one)})
		}

		return r
	}
	in, err := objects.NewInputs([]*typesv1.NeedResult{result("batch", "Job", jobs), result("", "Pod", pods)})
	require.NoError(t, err)

	return in
}

func jobJSON(name, owner, status string) string {
	return `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"` + name + `","namespace":"shop","resourceVersion":"7","uid":"j",
		"annotations":{"sluice.dev/metric":"smoke"},"ownerReferences":[{"apiVersion":"argoproj.io/v1alpha1","kind":"AnalysisRun","name":"r","uid":"` + owner + `","controller":true}]},
		"status":` + status + `}`
}

func request(in *objects.Inputs, state string) *metricprovider.MeasureRequest {
	return &metricprovider.MeasureRequest{Target: plugin.Target{Namespace: "shop", Name: "r", UID: "run"}, Metric: "smoke", ID: "run.smoke.1",
		Config: []byte(smoke), State: []byte(state), Inputs: in}
}

func TestAJobIsCreatedOnce(t *testing.T) {
	m, err := provider{}.Measure(t.Context(), request(shown(t, nil, nil), ""))
	require.NoError(t, err)
	require.Len(t, m.Writes, 1)
	assert.Equal(t, map[string]string{"job-name": "run.smoke.1", "job-namespace": "shop"}, m.Metadata)
	var job map[string]any
	require.NoError(t, json.Unmarshal(m.Writes[0].JSON, &job))
	assert.Equal(t, map[string]any{"name": "run.smoke.1", "namespace": "shop",
		"labels":      map[string]any{"team": "shop", label: labelValue},
		"annotations": map[string]any{"why": "smoke", metricAnnotation: "smoke"}}, job["metadata"])
	spec := job["spec"].(map[string]any)
	assert.InDelta(t, 1, spec["backoffLimit"], 0)
	assert.Equal(t, map[string]any{"app": "smoke", label: labelValue}, spec["template"].(map[string]any)["metadata"].(map[string]any)["labels"])

	again, err := provider{}.Measure(t.Context(), request(shown(t, []string{jobJSON("run.smoke.1", "run", `{}`)}, nil), ""))
	require.NoError(t, err)
	assert.Empty(t, again.Writes, "an attempt whose answer was lost had created it")
	assert.IsType(t, metricprovider.Pending{}, again.Outcome)
}

func TestTheJobJudges(t *testing.T) {
	const name = "run.smoke.1"
	pulling := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"shop","labels":{"batch.kubernetes.io/job-name":"` + name + `"}},
		"status":{"containerStatuses":[{"name":"smoke","state":{"waiting":{"reason":"ImagePullBackOff","message":"no such image"}}}]}}`
	for what, tc := range map[string]struct {
		jobs, pods []string
		want       metricprovider.Outcome
		message    string
	}{
		"it goes on":     {[]string{jobJSON(name, "run", `{"active":1}`)}, nil, metricprovider.Pending{State: []byte("6"), ResumeAfter: 6e9}, ""},
		"it is complete": {[]string{jobJSON(name, "run", `{"conditions":[{"type":"Complete","status":"True"}]}`)}, nil, metricprovider.Verdict{Result: metricprovider.Successful}, ""},
		"it failed": {[]string{jobJSON(name, "run", `{"conditions":[{"type":"Failed","status":"True","message":"backoff limit"}]}`)}, nil,
			metricprovider.Verdict{Result: metricprovider.Failed}, "backoff limit"},
		"its image is nowhere": {[]string{jobJSON(name, "run", `{"active":1}`)}, []string{pulling},
			metricprovider.Verdict{Result: metricprovider.Inconclusive}, "container smoke of pod p: ImagePullBackOff: no such image"},
		"it was deleted":      {nil, nil, metricprovider.Failure{Message: `Job "run.smoke.1" was deleted before it ended`}, ""},
		"it is somebody else": {[]string{jobJSON(name, "another", `{}`)}, nil, metricprovider.Failure{Message: `Job "run.smoke.1" exists and is not of this run: delete it`}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			m, err := provider{}.Resume(t.Context(), request(shown(t, tc.jobs, tc.pods), "5"))
			require.NoError(t, err)
			assert.Equal(t, tc.want, m.Outcome)
			assert.Equal(t, tc.message, m.Message)
			assert.Equal(t, name, m.Metadata["job-name"])
		})
	}
}

func TestCancelAndCollect(t *testing.T) {
	mine, kept, foreign := jobJSON("run.smoke.1", "run", `{}`), jobJSON("run.smoke.2", "run", `{}`), jobJSON("run.smoke.3", "another", `{}`)
	other := strings.Replace(jobJSON("run.load.1", "run", `{}`), `"smoke"`, `"load"`, 1)
	in := func() *objects.Inputs { return shown(t, []string{mine, kept, foreign, other}, nil) }

	cancelled, err := provider{}.Cancel(t.Context(), (*metricprovider.CancelRequest)(request(in(), "")))
	require.NoError(t, err)
	assert.Equal(t, []string{"run.smoke.1"}, deleted(t, cancelled))

	collected, err := provider{}.Collect(t.Context(), &metricprovider.CollectRequest{Target: request(nil, "").Target, Metric: "smoke", Keep: []string{"run.smoke.2"}, Inputs: in()})
	require.NoError(t, err)
	assert.Equal(t, []string{"run.smoke.1"}, deleted(t, collected))
}

func deleted(t *testing.T, c *metricprovider.Cleanup) []string {
	t.Helper()
	assert.True(t, c.Done)
	var names []string
	for _, w := range c.Writes {
		assert.Equal(t, objects.Delete, w.Operation)
		o, err := objects.Parse(w.JSON)
		require.NoError(t, err)
		names = append(names, o.Ref.Name)
	}

	return names
}

// TestNamesAreInjective: Argo cuts the metric's name off, so that two metrics that begin alike share one Job, and one of the
// checks is never made.
func TestNamesAreInjective(t *testing.T) {
	const uid = "0f7b4c1e-5a2d-4e0e-9f6e-3b8b2f4f9d10"
	long := strings.Repeat("a", 40)
	seen := map[string]string{}
	for _, metric := range []string{"a", "A", long + "1", long + "2", "x-", "x.", "x", "Ünïcode", ""} {
		for _, n := range []string{"1", "2", "1234567890"} {
			id := uid + "." + metric + "." + n
			name := jobName(id)
			assert.LessOrEqual(t, len(name), maxName, id)
			assert.Regexp(t, `^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`, name, id)
			assert.Empty(t, seen[name], "%s and %s", id, seen[name])
			seen[name] = id
		}
	}
	assert.Equal(t, uid+".smoke.1", jobName(uid+".smoke.1"))
}

func TestParseConfigRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ config, path string }{
		"no spec":             {`{}`, "spec.template"},
		"no pod":              {`{"spec":{}}`, "spec.template"},
		"no container":        {`{"spec":{"template":{"spec":{}}}}`, "spec.template.spec.containers"},
		"a label that is not": {`{"metadata":{"labels":{"a":1}}}`, "metadata.labels.a"},
		"labels that are not": {`{"metadata":{"labels":[]}}`, "metadata.labels"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig([]byte(tc.config))
			assert.Contains(t, plugin.Violations(err), tc.path)
		})
	}
	v := &metricprovider.ValidateRequest{Config: []byte(strings.Replace(smoke, `"labels"`, `"name":"x","labels"`, 1))}
	assert.NoError(t, provider{}.Validate(t.Context(), v), "what Argo ignores is ignored, with a remark")
}

func TestSchemaNamesEveryField(t *testing.T) {
	var s struct {
		Properties map[string]any `json:"properties"`
	}
	require.NoError(t, json.Unmarshal(schema, &s))
	for field := range reflect.TypeFor[config]().Fields() {
		assert.Contains(t, s.Properties, field.Tag.Get("json"))
	}
}
