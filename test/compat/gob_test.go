package compat

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Argo's net/rpc plugins get objects as gob, which goes by Go field names. This
// is how such a plugin sees a Rollout: its own types, of which only the names
// count.
type pluginsRollout struct {
	ObjectMeta struct{ Name, Namespace string }
	Spec       struct {
		TemplateResolvedFromRef bool
		Strategy                struct {
			Canary *struct {
				CanaryService, StableService string
				Steps                        []struct {
					SetWeight      *int32
					Pause          *struct{}
					SetHeaderRoute *struct {
						Name  string
						Match []struct {
							HeaderName  string
							HeaderValue *struct{ Exact, Prefix, Regex string }
						}
					}
				}
				TrafficRouting *struct {
					ManagedRoutes []struct{ Name string }
					Plugins       map[string]json.RawMessage
				}
			}
		}
	}
	Status struct {
		StableRS, CurrentPodHash string
		Canary                   struct {
			CurrentExperiment string
			Weights           *struct {
				Canary, Stable struct {
					Weight                       int32
					ServiceName, PodTemplateHash string
				}
			}
		}
	}
}

func TestPluginsReadRollouts(t *testing.T) {
	five := int32(5)
	sent := v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "prod", CreationTimestamp: metav1.Now()}}
	sent.Spec.TemplateResolvedFromRef = true
	sent.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{
		CanaryService: "canary",
		StableService: "stable",
		AntiAffinity: &v1alpha1.AntiAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &v1alpha1.RequiredDuringSchedulingIgnoredDuringExecution{},
		},
		TrafficRouting: &v1alpha1.RolloutTrafficRouting{
			ManagedRoutes: []v1alpha1.ManagedRoute{{Name: "beta"}},
			Plugins:       map[string]json.RawMessage{"a/b": json.RawMessage(`{"c":1}`)},
		},
		Steps: []v1alpha1.CanaryStep{
			{SetWeight: &five},
			{Pause: &v1alpha1.RolloutPause{}},
			{SetHeaderRoute: &v1alpha1.SetHeaderRoute{Name: "beta", Match: []v1alpha1.HeaderRoutingMatch{
				{HeaderName: "X-Beta", HeaderValue: &v1alpha1.StringMatch{Exact: "yes"}},
			}}},
		},
	}
	sent.Status.StableRS = "abc"
	sent.Status.Canary.Weights = &v1alpha1.TrafficWeights{Canary: v1alpha1.WeightDestination{Weight: 5, PodTemplateHash: "def"}}
	sent.Status.Canary.Routers = []v1alpha1.RouterStatus{{Plugin: "a/b", Config: json.RawMessage(`{}`)}}
	sent.Malformed = []v1alpha1.MalformedField{{Path: "spec", Problem: "none"}}

	var got pluginsRollout
	throughGob(t, sent, &got)
	assert.Equal(t, "web", got.ObjectMeta.Name)
	assert.True(t, got.Spec.TemplateResolvedFromRef)
	canary := got.Spec.Strategy.Canary
	require.NotNil(t, canary)
	assert.Equal(t, "canary", canary.CanaryService)
	assert.JSONEq(t, `{"c":1}`, string(canary.TrafficRouting.Plugins["a/b"]))
	require.Len(t, canary.Steps, 3)
	assert.EqualValues(t, 5, *canary.Steps[0].SetWeight)
	assert.Equal(t, "yes", canary.Steps[2].SetHeaderRoute.Match[0].HeaderValue.Exact)
	assert.Equal(t, "abc", got.Status.StableRS)
	assert.Equal(t, "def", got.Status.Canary.Weights.Canary.PodTemplateHash)

	var back v1alpha1.Rollout
	throughGob(t, sent, &back)
	assert.Equal(t, sent.Spec.Strategy, back.Spec.Strategy)
}

func TestPluginsAnswerWithMeasurements(t *testing.T) {
	at := metav1.NewTime(time.Unix(1_700_000_000, 0))
	var got v1alpha1.Measurement
	throughGob(t, struct {
		Phase      string
		Value      string
		Metadata   map[string]string
		StartedAt  *metav1.Time
		FinishedAt *metav1.Time
	}{"Successful", "1", map[string]string{"a": "b"}, &at, &at}, &got)
	assert.Equal(t, v1alpha1.AnalysisPhaseSuccessful, got.Phase)
	assert.Equal(t, "1", got.Value)
	assert.True(t, at.Equal(got.FinishedAt))
}

func throughGob(t *testing.T, from, into any) {
	t.Helper()
	var wire bytes.Buffer
	require.NoError(t, gob.NewEncoder(&wire).Encode(from))
	require.NoError(t, gob.NewDecoder(&wire).Decode(into))
}
