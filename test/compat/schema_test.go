package compat

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

func TestEveryPathIsInTheSchema(t *testing.T) {
	crds := loadCRDs(t)
	for _, p := range loadSchemaPaths(t) {
		crd := crds[p.kind]
		require.NotNil(t, crd, p.kind)
		if err := accepts(schemaOf(crd), p); err != nil {
			t.Errorf("%s %s: %v", p.kind, p.path, err)
		}
	}
}

// accepts says why the schema does not take what the path stands for.
func accepts(schema *apiextensions.JSONSchemaProps, p schemaPath) error {
	for _, segment := range p.segments() {
		if isOpen(schema) {
			return nil
		}
		next := child(schema, segment)
		if next == nil {
			return fmt.Errorf("no %q", segment)
		}
		schema = next
	}
	format, _ := strings.CutPrefix(p.notes, "format=")
	enum, isEnum := strings.CutPrefix(p.notes, "enum=")
	switch {
	case p.notes == "preserve-unknown":
		if !isOpen(schema) {
			return fmt.Errorf("does not keep unknown fields")
		}
	case p.typ == "int-or-string":
		if !schema.XIntOrString {
			return fmt.Errorf("is a %s", schema.Type)
		}
		return nil
	case isEnum:
		for _, value := range strings.Split(enum, "|") {
			if len(schema.Enum) > 0 && !slices.ContainsFunc(schema.Enum, func(have apiextensions.JSON) bool {
				return string(have.Raw) == `"`+value+`"`
			}) {
				return fmt.Errorf("does not allow %q", value)
			}
		}
	case schema.Format != "" && schema.Format != format:
		return fmt.Errorf("has the format %s", schema.Format)
	}
	if schema.Type != p.typ {
		return fmt.Errorf("is a %s", schema.Type)
	}
	if len(schema.Enum) > 0 && !isEnum || schema.Pattern != "" || schema.Minimum != nil || schema.Maximum != nil ||
		schema.MinLength != nil || schema.MaxLength != nil || schema.MinItems != nil || schema.MaxItems != nil {
		return fmt.Errorf("is narrower than any %s", schema.Type)
	}
	return nil
}

func child(schema *apiextensions.JSONSchemaProps, segment string) *apiextensions.JSONSchemaProps {
	switch segment {
	case "[]":
		if schema.Items != nil {
			return schema.Items.Schema
		}
	case "{}":
		if schema.AdditionalProperties != nil {
			return schema.AdditionalProperties.Schema
		}
	default:
		if property, ok := schema.Properties[segment]; ok {
			return &property
		}
	}
	return nil
}

func isOpen(schema *apiextensions.JSONSchemaProps) bool {
	return schema.XPreserveUnknownFields != nil && *schema.XPreserveUnknownFields
}

// An object that has every field of the published schema is decoded, and is
// written as it was.
func TestEveryPathIsKept(t *testing.T) {
	crds := loadCRDs(t)
	objects := map[string]map[string]any{}
	for _, p := range loadSchemaPaths(t) {
		if objects[p.kind] == nil {
			objects[p.kind] = map[string]any{}
		}
		put(objects[p.kind], p)
	}
	for kind, object := range objects {
		t.Run(kind, func(t *testing.T) {
			object["apiVersion"], object["kind"] = v1alpha1.GroupVersion.String(), kind
			object["metadata"] = map[string]any{"name": "all"}
			text, err := json.Marshal(object)
			require.NoError(t, err)
			assertKept(t, crds[kind], text)
		})
	}
}

// put adds a sample of what the path stands for to the object. The paths come
// in the order of the schema: a member comes after the object it is part of.
func put(object map[string]any, p schemaPath) {
	segments := p.segments()
	var at any = object
	for i, segment := range segments {
		last := i == len(segments)-1
		if segment == "*" { // of a pod's or a Job's spec
			segment, p.typ = "activeDeadlineSeconds", "integer"
		}
		if segment == "[]" {
			list := at.([]any)
			if last {
				list[0] = sample(p)
			}
			at = list[0]
			continue
		}
		if segment == "{}" {
			segment = "key"
		}
		members := at.(map[string]any)
		if last {
			members[segment] = sample(p)
		}
		at = members[segment]
	}
}

func sample(p schemaPath) any {
	switch p.typ {
	case "object":
		if p.notes == "preserve-unknown" {
			return map[string]any{"example/any": map[string]any{"list": []any{1.0, "two", false}}}
		}
		return map[string]any{}
	case "array":
		return []any{nil}
	case "integer":
		return 7.0
	case "boolean":
		return true
	case "int-or-string":
		return "25%"
	}
	if values, ok := strings.CutPrefix(p.notes, "enum="); ok {
		first, _, _ := strings.Cut(values, "|")
		return first
	}
	if p.notes == "format=date-time" {
		return "2026-01-02T03:04:05Z"
	}
	return "text"
}

func TestSamplesAreComplete(t *testing.T) {
	object := map[string]any{}
	for _, p := range []schemaPath{{path: "a", typ: "array"}, {path: "a[]", typ: "object"}, {path: "a[].b", typ: "object"}, {path: "a[].b{}", typ: "integer"}} {
		put(object, p)
	}
	assert.Equal(t, map[string]any{"a": []any{map[string]any{"b": map[string]any{"key": 7.0}}}}, object)
}
