package compat

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// maxCRDBytes keeps a CRD small enough for the annotation that client-side
// `kubectl apply` puts the whole object into, which is limited to 256 KiB.
const maxCRDBytes = 200 << 10

func TestCRDsFitIntoAnAnnotation(t *testing.T) {
	for kind, crd := range loadCRDs(t) {
		text, err := json.Marshal(crd)
		require.NoError(t, err)
		assert.LessOrEqual(t, len(text), maxCRDBytes, kind)
	}
}

func TestNamesAndSubresources(t *testing.T) {
	crds := loadCRDs(t)
	cases := []struct {
		kind, plural, short string
		scope               apiextensions.ResourceScope
		columns             []string
	}{
		{"Rollout", "rollouts", "ro", apiextensions.NamespaceScoped, []string{
			"Desired .spec.replicas", "Current .status.replicas", "Up-to-date .status.updatedReplicas",
			"Available .status.availableReplicas", "Age .metadata.creationTimestamp",
		}},
		{"AnalysisTemplate", "analysistemplates", "at", apiextensions.NamespaceScoped, []string{"Age .metadata.creationTimestamp"}},
		{"ClusterAnalysisTemplate", "clusteranalysistemplates", "cat", apiextensions.ClusterScoped, []string{"Age .metadata.creationTimestamp"}},
		{"AnalysisRun", "analysisruns", "ar", apiextensions.NamespaceScoped, []string{"Status .status.phase", "Age .metadata.creationTimestamp"}},
		{"Experiment", "experiments", "exp", apiextensions.NamespaceScoped, []string{"Status .status.phase", "Age .metadata.creationTimestamp"}},
	}
	require.Len(t, crds, len(cases))
	for _, c := range cases {
		t.Run(c.kind, func(t *testing.T) {
			crd := crds[c.kind]
			assert.Equal(t, c.plural+".argoproj.io", crd.Name)
			assert.Equal(t, c.plural, crd.Spec.Names.Plural)
			assert.Equal(t, []string{c.short}, crd.Spec.Names.ShortNames)
			assert.Equal(t, c.scope, crd.Spec.Scope)
			require.Len(t, crd.Spec.Versions, 1)
			version := crd.Spec.Versions[0]
			assert.Equal(t, "v1alpha1", version.Name)
			var columns []string
			for _, column := range version.AdditionalPrinterColumns {
				columns = append(columns, column.Name+" "+column.JSONPath)
			}
			assert.Equal(t, c.columns, columns)
			if c.kind != "Rollout" {
				// Clients write the status through the object itself.
				assert.True(t, version.Subresources == nil || version.Subresources.Status == nil)
				return
			}
			assert.NotNil(t, version.Subresources.Status)
			scale := version.Subresources.Scale
			assert.Equal(t, ".spec.replicas", scale.SpecReplicasPath)
			assert.Equal(t, ".status.HPAReplicas", scale.StatusReplicasPath)
			assert.Equal(t, ".status.selector", *scale.LabelSelectorPath)
			selector := version.Schema.OpenAPIV3Schema.Properties["spec"].Properties["selector"]
			require.Len(t, selector.XValidations, 1)
			assert.Equal(t, "self == oldSelf", selector.XValidations[0].Rule)
		})
	}
}

// loadCRDs gives the project's CRDs by kind.
func loadCRDs(t *testing.T) map[string]*apiextensions.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob("../../deploy/crds/*_*.yaml")
	require.NoError(t, err)
	crds := map[string]*apiextensions.CustomResourceDefinition{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		crd := &apiextensions.CustomResourceDefinition{}
		require.NoError(t, yaml.UnmarshalStrict(text, crd), file)
		crds[crd.Spec.Names.Kind] = crd
	}
	require.NotEmpty(t, crds)
	return crds
}

func schemaOf(crd *apiextensions.CustomResourceDefinition) *apiextensions.JSONSchemaProps {
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// schemaPath is one line of argo-schema-paths.tsv.
type schemaPath struct {
	kind  string
	path  string // members joined by dots; [] is a list item, {} a map value, a last * anything
	typ   string // a JSON type, "int-or-string", or words for anything
	notes string // "", "format=…", "enum=a|b" or "preserve-unknown"
}

func loadSchemaPaths(t *testing.T) []schemaPath {
	t.Helper()
	text, err := os.ReadFile("testdata/argo-schema-paths.tsv")
	require.NoError(t, err)
	var paths []schemaPath
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(t, columns, 4, line)
		paths = append(paths, schemaPath{columns[0], columns[1], columns[2], columns[3]})
	}
	require.Greater(t, len(paths), 1000)
	return paths
}

// segments splits a path: "a.b[].c" is a, b, [], c.
func (p schemaPath) segments() []string {
	path := strings.NewReplacer("[]", ".[]", "{}", ".{}").Replace(p.path)
	return strings.Split(path, ".")
}
