package runspec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Field reads a field of a rollout as text. A path that begins with "metadata"
// is read as the downward API does: name, namespace, uid, labels, annotations,
// labels['key'], annotations['key']. Any other path is walked through the
// rollout's JSON ("spec.strategy.canary.steps[0].setWeight") and must end at a
// text, number or boolean.
func Field(ro *v1alpha1.Rollout, path string) (string, error) {
	if ro == nil {
		return "", errors.New("fieldRef: there is no rollout to read from")
	}
	if strings.HasPrefix(path, "metadata") {
		return metadataField(ro, path)
	}
	raw, err := json.Marshal(ro)
	if err != nil {
		return "", fmt.Errorf("fieldRef %q: %w", path, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var at any
	if err := decoder.Decode(&at); err != nil {
		return "", fmt.Errorf("fieldRef %q: %w", path, err)
	}
	for _, key := range strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		next, ok := child(at, key)
		if !ok {
			return "", fmt.Errorf("fieldRef %q: the rollout has no %q there; correct fieldPath", path, key)
		}
		at = next
	}
	switch v := at.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", fmt.Errorf("fieldRef %q is not a text, number or boolean; correct fieldPath", path)
}

func child(parent any, key string) (any, bool) {
	switch v := parent.(type) {
	case map[string]any:
		value, ok := v[key]
		return value, ok
	case []any:
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i >= len(v) {
			return nil, false
		}
		return v[i], true
	}
	return nil, false
}

var subscript = regexp.MustCompile(`^metadata\.(labels|annotations)\['([^']+)'\]$`)

func metadataField(ro *v1alpha1.Rollout, path string) (string, error) {
	switch path {
	case "metadata.name":
		return ro.Name, nil
	case "metadata.namespace":
		return ro.Namespace, nil
	case "metadata.uid":
		return string(ro.UID), nil
	case "metadata.labels":
		return keyValues(ro.Labels), nil
	case "metadata.annotations":
		return keyValues(ro.Annotations), nil
	}
	if m := subscript.FindStringSubmatch(path); m != nil {
		if m[1] == "labels" {
			return ro.Labels[m[2]], nil
		}
		return ro.Annotations[m[2]], nil
	}
	return "", fmt.Errorf("fieldRef %q is not supported: below metadata use name, namespace, uid, labels['key'] or annotations['key']", path)
}

func keyValues(m map[string]string) string {
	lines := make([]string, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, fmt.Sprintf("%s=%q", key, m[key]))
	}
	return strings.Join(lines, "\n")
}
