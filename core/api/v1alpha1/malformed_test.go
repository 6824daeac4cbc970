package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// rollout decodes a manifest.
func rollout(t *testing.T, manifest string) v1alpha1.Rollout {
	t.Helper()
	var r v1alpha1.Rollout
	require.NoError(t, yaml.Unmarshal([]byte(manifest), &r))
	return r
}

func TestMalformedFieldIsNamedAndItsNeighboursStay(t *testing.T) {
	r := rollout(t, `
metadata: {name: shop}
spec:
  replicas: 3
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: web:1
        resources:
          limits: {cpu: 100m, memory: 1Gi}
          requests: {cpu: 100m, memory: invalid}
        ports: [{containerPort: 8080}]
      - name: sidecar
        image: sidecar:1
      terminationGracePeriodSeconds: 7
  strategy:
    canary: {canaryService: canary}
status:
  stableRS: abc
`)
	require.Len(t, r.Malformed, 1)
	assert.Equal(t, "spec.template.spec.containers[0].resources.requests[memory]", r.Malformed[0].Path)
	assert.Contains(t, r.Malformed[0].Problem, "quantities must match")

	containers := r.Spec.Template.Spec.Containers
	require.Len(t, containers, 2)
	assert.Equal(t, "web:1", containers[0].Image)
	assert.Equal(t, corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}, containers[0].Resources.Requests)
	assert.Len(t, containers[0].Resources.Limits, 2)
	assert.EqualValues(t, 8080, containers[0].Ports[0].ContainerPort)
	assert.Equal(t, "sidecar", containers[1].Name)
	assert.EqualValues(t, 7, *r.Spec.Template.Spec.TerminationGracePeriodSeconds)
	assert.EqualValues(t, 3, *r.Spec.Replicas)
	assert.Equal(t, "canary", r.Spec.Strategy.Canary.CanaryService)
	assert.Equal(t, "abc", r.Status.StableRS)
	assert.Equal(t, "shop", r.Name)
}

func TestMalformedShapes(t *testing.T) {
	cases := []struct {
		name, manifest string
		want           []string // "path: problem", in order; the problem may be cut off
	}{
		{"number as string", `spec: {replicas: "3"}`,
			[]string{"spec.replicas: must be a number, not a string"}},
		{"fraction", `spec: {replicas: 1.5}`,
			[]string{"spec.replicas: must be a whole number of at most 32 bits"}},
		{"too large", `spec: {minReadySeconds: 3000000000}`,
			[]string{"spec.minReadySeconds: must be a whole number of at most 32 bits"}},
		{"string as number", `spec: {strategy: {canary: {canaryService: 5}}}`,
			[]string{"spec.strategy.canary.canaryService: must be a string, not a number"}},
		{"boolean as string", `spec: {paused: "yes"}`,
			[]string{"spec.paused: must be a boolean, not a string"}},
		{"object as list", `spec: {strategy: []}`,
			[]string{"spec.strategy: must be an object, not a list"}},
		{"list as object", `spec: {strategy: {canary: {steps: {setWeight: 5}}}}`,
			[]string{"spec.strategy.canary.steps: must be a list, not an object"}},
		{"object as scalar", "{spec: 5, status: no}",
			[]string{"spec: must be an object, not a number", "status: must be an object, not a boolean"}},
		{"map as list", `spec: {template: {metadata: {labels: [a]}}}`,
			[]string{"spec.template.metadata.labels: must be an object, not a list"}},
		{"map entry", `spec: {template: {metadata: {labels: {b: 1, a: x, c: {}}}}}`,
			[]string{
				"spec.template.metadata.labels[b]: must be a string, not a number",
				"spec.template.metadata.labels[c]: must be a string, not an object",
			}},
		{"list item", `spec: {strategy: {canary: {steps: [{setWeight: 5}, wait, {setWeight: x}]}}}`,
			[]string{
				"spec.strategy.canary.steps[1]: must be an object, not a string",
				"spec.strategy.canary.steps[2].setWeight: must be a number, not a string",
			}},
		{"int-or-string", `spec: {strategy: {canary: {maxSurge: [], maxUnavailable: 1.5, steps: [{pause: {duration: true}}]}}}`,
			[]string{
				"spec.strategy.canary.steps[0].pause.duration: must be a number or a string, not a boolean",
				"spec.strategy.canary.maxUnavailable: must be a whole number of at most 32 bits, or a string",
				"spec.strategy.canary.maxSurge: must be a number or a string, not a list",
			}},
		{"time", `spec: {restartAt: tomorrow}`,
			[]string{"spec.restartAt: must be an RFC 3339 time such as 2006-01-02T15:04:05Z"}},
		{"quantity of another type", `spec: {template: {spec: {containers: [{resources: {limits: {cpu: true}}}]}}}`,
			[]string{"spec.template.spec.containers[0].resources.limits[cpu]: quantities must match"}},
		{"field of an embedded struct", `spec: {template: {spec: {volumes: [{name: v, emptyDir: {sizeLimit: many}}]}}}`,
			[]string{"spec.template.spec.volumes[0].emptyDir.sizeLimit: quantities must match"}},
		{"quantity with a huge exponent", `spec: {template: {spec: {containers: [{resources: {limits: {cpu: "1e-999999999"}}}]}}}`,
			[]string{"spec.template.spec.containers[0].resources.limits[cpu]: quantities must have an exponent of less than 4 digits"}},
		{"plugin configuration", `spec: {strategy: {canary: {trafficRouting: {plugins: [x]}}}}`,
			[]string{"spec.strategy.canary.trafficRouting.plugins: must be an object, not a list"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := rollout(t, c.manifest)
			var got []string
			for _, field := range r.Malformed {
				got = append(got, field.String())
			}
			require.Len(t, got, len(c.want), "%q", got)
			for i := range c.want {
				assert.True(t, strings.HasPrefix(got[i], c.want[i]), "got %q, want %q", got[i], c.want[i])
			}
		})
	}
}

func TestNullsAndUnknownFieldsAreNotMalformed(t *testing.T) {
	r := rollout(t, `
spec: {replicas: null, template: {spec: {containers: null, volumes: [null]}}, strategy: {canary: {steps: null}}, later: {a: 1}}
status: null
`)
	assert.Nil(t, r.Malformed)
}

func TestOnlyQuantitiesAreCheckedForHugeExponents(t *testing.T) {
	r := rollout(t, `spec: {template: {metadata: {labels: {commit: "12e4567"}}}, paused: true}`)
	assert.Nil(t, r.Malformed)
	assert.Equal(t, "12e4567", r.Spec.Template.Labels["commit"])
	assert.True(t, r.Spec.Paused)
}

func TestMalformedItemKeepsItsIndex(t *testing.T) {
	r := rollout(t, `spec: {strategy: {canary: {steps: [{setWeight: 5}, wait, {setWeight: 10}]}}}`)
	steps := r.Spec.Strategy.Canary.Steps
	require.Len(t, steps, 3)
	assert.Empty(t, steps[1])
	assert.EqualValues(t, 10, *steps[2].SetWeight)
}

func TestMalformedIsBounded(t *testing.T) {
	r := rollout(t, `spec: {strategy: {canary: {steps: [`+strings.Repeat("wait, ", 1000)+`]}}}`)
	assert.Len(t, r.Malformed, 16)
	assert.Len(t, r.Spec.Strategy.Canary.Steps, 1000)
}

func TestMalformedMetadataIsAnError(t *testing.T) {
	for _, text := range []string{
		`{"metadata":{"labels":5},"spec":{}}`,
		`{"metadata":"x"}`,
		`{"apiVersion":1,"metadata":{}}`,
		`[]`, `"x"`, `{`, ``,
	} {
		assert.Error(t, json.Unmarshal([]byte(text), &v1alpha1.Rollout{}), text)
	}
}

func TestDecodingStartsAfresh(t *testing.T) {
	r := rollout(t, `{spec: {replicas: "3", paused: true}}`)
	r.Spec.TemplateResolvedFromRef = true
	require.NoError(t, json.Unmarshal([]byte(`{"metadata":{"name":"other"},"spec":{"replicas":2}}`), &r))
	assert.Nil(t, r.Malformed)
	assert.False(t, r.Spec.Paused)
	assert.False(t, r.Spec.TemplateResolvedFromRef)

	before := r.DeepCopy()
	require.NoError(t, json.Unmarshal([]byte(`null`), &r))
	assert.Equal(t, before, &r, "null leaves the value alone")
}

func TestMalformedIsCopiedAndNotWritten(t *testing.T) {
	r := rollout(t, `{metadata: {name: shop}, spec: {replicas: "3"}}`)
	clone := r.DeepCopy()
	clone.Malformed[0].Path = "changed"
	assert.Equal(t, "spec.replicas", r.Malformed[0].Path)

	text, err := json.Marshal(r)
	require.NoError(t, err)
	assert.JSONEq(t, `{"metadata":{"name":"shop"},"spec":{}}`, string(text))
}

// An informer decodes lists through the scheme's codec. One bad item must not
// cost it the others.
func TestBadItemDoesNotStopItsList(t *testing.T) {
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	codecs := serializer.NewCodecFactory(scheme).WithoutConversion()
	info, ok := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	require.True(t, ok)
	decoder := codecs.DecoderToVersion(info.Serializer, v1alpha1.GroupVersion)

	const bad = `{"metrics":5,"template":{"spec":{"containers":[{"resources":{"requests":{"memory":"x"}}}]}},` +
		`"templates":[{"name":"a","replicas":"1"}]}`
	for kind, path := range map[string]string{
		v1alpha1.KindRollout:                 "spec.template.spec.containers[0].resources.requests[memory]",
		v1alpha1.KindAnalysisTemplate:        "spec.metrics",
		v1alpha1.KindClusterAnalysisTemplate: "spec.metrics",
		v1alpha1.KindAnalysisRun:             "spec.metrics",
		v1alpha1.KindExperiment:              "spec.templates[0].replicas",
	} {
		t.Run(kind, func(t *testing.T) {
			item := func(name, spec string) string {
				return fmt.Sprintf(`{"apiVersion":"argoproj.io/v1alpha1","kind":%q,"metadata":{"name":%q},"spec":%s}`, kind, name, spec)
			}
			list := fmt.Sprintf(`{"apiVersion":"argoproj.io/v1alpha1","kind":"%sList","metadata":{"resourceVersion":"7"},"items":[%s,%s,%s]}`,
				kind, item("a", `{}`), item("b", bad), item("c", `{}`))

			object, _, err := decoder.Decode([]byte(list), nil, nil)
			require.NoError(t, err)
			names, malformed := itemsOf(t, object)
			assert.Equal(t, []string{"a", "b", "c"}, names)
			assert.Empty(t, malformed[0])
			require.NotEmpty(t, malformed[1])
			assert.Equal(t, path, malformed[1][0].Path)
			assert.Empty(t, malformed[2])

			// As the object of a watch event, and through the converter that
			// dynamic clients use.
			_, _, err = decoder.Decode([]byte(item("b", bad)), nil, nil)
			require.NoError(t, err)
			var content map[string]any
			require.NoError(t, json.Unmarshal([]byte(item("b", bad)), &content))
			into, err := scheme.New(v1alpha1.GroupVersion.WithKind(kind))
			require.NoError(t, err)
			assert.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(content, into))
		})
	}
}

func itemsOf(t *testing.T, list runtime.Object) (names []string, malformed [][]v1alpha1.MalformedField) {
	t.Helper()
	add := func(name string, fields []v1alpha1.MalformedField) {
		names, malformed = append(names, name), append(malformed, fields)
	}
	switch l := list.(type) {
	case *v1alpha1.RolloutList:
		for _, i := range l.Items {
			add(i.Name, i.Malformed)
		}
	case *v1alpha1.AnalysisTemplateList:
		for _, i := range l.Items {
			add(i.Name, i.Malformed)
		}
	case *v1alpha1.ClusterAnalysisTemplateList:
		for _, i := range l.Items {
			add(i.Name, i.Malformed)
		}
	case *v1alpha1.AnalysisRunList:
		for _, i := range l.Items {
			add(i.Name, i.Malformed)
		}
	case *v1alpha1.ExperimentList:
		for _, i := range l.Items {
			add(i.Name, i.Malformed)
		}
	default:
		t.Fatalf("unexpected list %T", list)
	}
	return names, malformed
}
