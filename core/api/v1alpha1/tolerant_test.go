package v1alpha1

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FuzzTolerantDecoding: any JSON object with metadata decodes, whatever else is
// in it; what decodes as a whole decodes to the same by parts, and stays the
// same when it is written and read again.
func FuzzTolerantDecoding(f *testing.F) {
	for _, seed := range []string{
		`{}`,
		`{"metadata":{"name":"a","creationTimestamp":null},"spec":null,"status":{"abort":1}}`,
		`{"spec":{"replicas":"3","restartAt":"x","strategy":{"canary":{"maxSurge":"25","steps":[{"setWeight":1e2},{"pause":{"duration":"10s"}},null,5]}}}}`,
		`{"spec":{"template":{"metadata":{"labels":{"a":1}},"spec":{"containers":[{"resources":{"limits":{"cpu":"1e-999999999","memory":"x"}}}],"volumes":[{"emptyDir":{"sizeLimit":1}}]}}}}`,
		`{"spec":{"metrics":[{"name":"m","count":"{{args.n}}","provider":{"job":{"spec":{"template":{"spec":{"containers":[]}}}},"plugin":{"a/b":{"x":[1]}}}}]}}`,
		`{"spec":{"templates":[{"name":"a","selector":{"matchLabels":[]},"template":{"spec":{"initContainers":{}}}}],"analyses":[{"args":[{"valueFrom":{"secretKeyRef":1}}]}]}}`,
		`{"status":{"canary":{"routers":[{"config":{"a":1},"since":"2026-01-01T00:00:00Z","holds":[{"object":1}]}]},"conditions":[{"lastUpdateTime":5}]}}`,
		`{"spec":{"template":{"spec":{"containers":[{"readinessProbe":{"httpGet":{"port":"http"},"exec":[]},"envFrom":[{"secretRef":{"name":1}}]}]}}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		fuzzKind[Rollout](t, data)
		fuzzKind[AnalysisTemplate](t, data)
		fuzzKind[ClusterAnalysisTemplate](t, data)
		fuzzKind[AnalysisRun](t, data)
		fuzzKind[Experiment](t, data)
	})
}

func fuzzKind[T any](t *testing.T, data []byte) {
	var kind T
	err := json.Unmarshal(data, &kind)

	members, notObject := object(data)
	var envelope struct {
		metav1.TypeMeta
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	if notObject != nil || unmarshal(data, &envelope) != nil {
		return
	}
	require.NoError(t, err)
	malformed := reflect.ValueOf(kind).FieldByName("Malformed").Interface().([]MalformedField)
	if len(malformed) > 0 {
		return
	}

	var parts T
	var w walk
	w.fields(reflect.ValueOf(&parts).Elem(), members, "")
	require.Empty(t, w.malformed)
	want, err := json.Marshal(kind)
	require.NoError(t, err)
	got, err := json.Marshal(parts)
	require.NoError(t, err)
	require.Equal(t, substance(t, want), substance(t, got))

	var again T
	require.NoError(t, json.Unmarshal(want, &again))
	got, err = json.Marshal(again)
	require.NoError(t, err)
	require.Equal(t, substance(t, want), substance(t, got))
}

// substance is a JSON text without nulls, empty objects and empty lists, which
// may come and go when a value is written.
func substance(t *testing.T, text []byte) any {
	t.Helper()
	var content any
	require.NoError(t, json.Unmarshal(text, &content))
	return strip(content)
}

func strip(content any) any {
	switch c := content.(type) {
	case map[string]any:
		for key, value := range c {
			if c[key] = strip(value); c[key] == nil {
				delete(c, key)
			}
		}
		if len(c) == 0 {
			return nil
		}
	case []any:
		for i := range c {
			c[i] = strip(c[i])
		}
		if len(c) == 0 {
			return nil
		}
	}
	return content
}

func TestMayHoldHugeExponent(t *testing.T) {
	for text, want := range map[string]bool{
		`{"cpu":"1e-999999999"}`:       true,
		`{"cpu":1E+12345,"x":1}`:       true,
		`"1.e1234"`:                    true,
		`1e1234`:                       true,
		`{"cpu":"1e999"}`:              false,
		`{"image":"a@sha256:1e1234a"}`: false,
		`{"name":"release1234"}`:       false,
		`{"e12345":"e12345"}`:          false,
		``:                             false,
		`1e`:                           false,
	} {
		assert.Equal(t, want, mayHoldHugeExponent([]byte(text)), text)
	}
}
