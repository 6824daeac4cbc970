package compat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

const upstreamExamples = "SLUICE_UPSTREAM_EXAMPLES"

// unreadableExample has {{…}} without quotes in places where YAML does not
// allow it, so that nothing can read it as it is.
const unreadableExample = "traffic-management/rollout-linkerd.yaml"

func TestManifestsAreKept(t *testing.T) {
	kinds := keepAll(t, "testdata/manifests")
	for _, kind := range []string{"Rollout", "AnalysisTemplate", "ClusterAnalysisTemplate", "AnalysisRun", "Experiment"} {
		assert.NotZero(t, kinds[kind], "no manifest of a %s", kind)
	}
}

func TestUpstreamExamplesAreKept(t *testing.T) {
	folder := os.Getenv(upstreamExamples)
	if folder == "" {
		t.Skipf("%s is not set", upstreamExamples)
	}
	assert.NotZero(t, keepAll(t, folder)["Rollout"])
}

// keepAll checks every manifest below the folder that is of one of the group's
// kinds, and counts them by kind.
func keepAll(t *testing.T, folder string) map[string]int {
	t.Helper()
	crds := loadCRDs(t)
	kinds := map[string]int{}
	require.NoError(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, folder+string(filepath.Separator)))
		if name == unreadableExample {
			t.Run(name, func(t *testing.T) { t.Skip("is not YAML") })
			return nil
		}
		for _, document := range documents(t, path) {
			var head struct{ APIVersion, Kind string }
			require.NoError(t, json.Unmarshal(document, &head), path)
			if head.APIVersion != v1alpha1.GroupVersion.String() {
				continue
			}
			kinds[head.Kind]++
			t.Run(name, func(t *testing.T) {
				assertKept(t, crds[head.Kind], document)
			})
		}
		return nil
	}))
	return kinds
}

// documents gives the documents of a YAML file as JSON.
func documents(t *testing.T, path string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	var all [][]byte
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err, path)
		converted, err := yaml.YAMLToJSON(document)
		require.NoError(t, err, path)
		if !bytes.Equal(converted, []byte("null")) {
			all = append(all, converted)
		}
	}
}

// assertKept checks that the schema takes the object and drops nothing, and
// that the Go type decodes all of it and writes what it read.
func assertKept(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition, text []byte) {
	t.Helper()
	require.NotNil(t, crd)
	var original map[string]any
	require.NoError(t, json.Unmarshal(text, &original))

	internal := &apiextensions.JSONSchemaProps{}
	require.NoError(t, apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(schemaOf(crd), internal, nil))
	validator, _, err := validation.NewSchemaValidator(internal)
	require.NoError(t, err)
	assert.Empty(t, validation.ValidateCustomResource(nil, original, validator))
	structural, err := structuralschema.NewStructural(internal)
	require.NoError(t, err)
	pruned := runtime.DeepCopyJSON(original)
	pruning.Prune(pruned, structural, true)
	assert.Empty(t, cmp.Diff(original, pruned), "the schema drops fields")

	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	typed, err := scheme.New(v1alpha1.GroupVersion.WithKind(crd.Spec.Names.Kind))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, typed))
	assert.Empty(t, reflect.ValueOf(typed).Elem().FieldByName("Malformed").Interface())
	written, err := json.Marshal(typed)
	require.NoError(t, err)
	var again map[string]any
	require.NoError(t, json.Unmarshal(written, &again))
	dropAddedEmpties(again, original)
	assert.Empty(t, cmp.Diff(original, again))
}

// dropAddedEmpties removes the nulls and the empty objects that Kubernetes' own
// types write where there was nothing ("resources": {}). An empty object that
// was there means something, as in "pause": {}, and has to come back.
func dropAddedEmpties(again, original any) {
	switch again := again.(type) {
	case map[string]any:
		original, _ := original.(map[string]any)
		for key, value := range again {
			was, given := original[key]
			dropAddedEmpties(value, was)
			object, isObject := value.(map[string]any)
			if !given && (value == nil || isObject && len(object) == 0) {
				delete(again, key)
			}
		}
	case []any:
		original, _ := original.([]any)
		for i := range min(len(again), len(original)) {
			dropAddedEmpties(again[i], original[i])
		}
	}
}
