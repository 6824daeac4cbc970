package stage

import (
	"fmt"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ApplyStrictly creates an argoproj.io object as kubectl does, which refuses
// fields that the schema does not know.
func (a *App) ApplyStrictly(manifest string) {
	a.t.Helper()
	o := parse(a.t, manifest)
	resource, ok := map[string]string{
		"AnalysisTemplate": "analysistemplates", "AnalysisRun": "analysisruns", "Experiment": "experiments", "Rollout": "rollouts",
	}[o.GetKind()]
	require.True(a.t, ok, fmt.Sprintf("kind %q", o.GetKind()))
	version, err := schema.ParseGroupVersion(o.GetAPIVersion())
	require.NoError(a.t, err)
	_, err = a.stage.dynamic.Resource(version.WithResource(resource)).Namespace(a.Namespace).
		Create(a.ctx, o, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	require.NoError(a.t, err, manifest)
}
