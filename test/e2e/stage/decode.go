package stage

import (
	"encoding/json"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func decode(u *unstructured.Unstructured, into any) error {
	raw, err := json.Marshal(u.Object)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func yamlToJSON(manifest string) ([]byte, error) { return yaml.YAMLToJSON([]byte(manifest)) }

// put keeps or drops one object of a map by name.
func put[T any](into map[string]*T, u *unstructured.Unstructured, gone bool) {
	delete(into, u.GetName())
	obj := new(T)
	if !gone && decode(u, obj) == nil {
		into[u.GetName()] = obj
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
