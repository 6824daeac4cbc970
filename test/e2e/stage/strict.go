package stage

import (
	"fmt"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
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
		"Service": "services", "Deployment": "deployments",
	}[o.GetKind()]
	require.True(a.t, ok, fmt.Sprintf("kind %q", o.GetKind()))
	version, err := schema.ParseGroupVersion(o.GetAPIVersion())
	require.NoError(a.t, err)
	_, err = a.stage.dynamic.Resource(version.WithResource(resource)).Namespace(a.Namespace).
		Create(a.ctx, o, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	require.NoError(a.t, err, manifest)
}

// TryStrictly asks the API server whether it would accept the manifest, without
// a field it does not know. For a kind that it does not serve it returns that
// kind.
func (a *App) TryStrictly(manifest string) (notServed string, err error) {
	a.t.Helper()
	o := parse(a.t, manifest)
	o.SetNamespace("")
	mapping, err := a.stage.Client.RESTMapper().RESTMapping(o.GroupVersionKind().GroupKind(), o.GroupVersionKind().Version)
	if meta.IsNoMatchError(err) {
		return o.GetAPIVersion() + " " + o.GetKind(), nil
	}
	require.NoError(a.t, err)
	resource := a.stage.dynamic.Resource(mapping.Resource)
	options := metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll}}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		_, err = resource.Namespace(a.Namespace).Create(a.ctx, o, options)
	} else {
		_, err = resource.Create(a.ctx, o, options)
	}
	if apierrors.IsAlreadyExists(err) { // another story has created it; its name is looked at last
		err = nil
	}
	return "", err
}
