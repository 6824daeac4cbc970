package config

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

type unknownField struct{ path, hint string }

// unknownFields walks tree along t and returns what t has no field for. It stops at types that decode themselves and at
// interfaces, which take anything. A value of the wrong type is not its business.
func unknownFields(t reflect.Type, tree any, path []any) []unknownField {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if decodesItself(t) {
		return nil
	}

	var found []unknownField
	switch value := tree.(type) {
	case []any:
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
			return nil
		}
		for i, element := range value {
			found = append(found, unknownFields(t.Elem(), element, join(path, i))...)
		}
	case map[string]any:
		switch t.Kind() {
		case reflect.Map:
			for _, key := range sortedKeys(value) {
				found = append(found, unknownFields(t.Elem(), value[key], join(path, key))...)
			}
		case reflect.Struct:
			known := fields(t)
			for _, key := range sortedKeys(value) {
				field, ok := known[key]
				if !ok {
					found = append(found, unknownField{Path(join(path, key)...), hint(known, key)})

					continue
				}
				found = append(found, unknownFields(field, value[key], join(path, key))...)
			}
		}
	}

	return found
}

// join copies: sibling paths must not share an array.
func join(path []any, element any) []any { return append(slices.Clip(path), element) }

func decodesItself(t reflect.Type) bool {
	pointer := reflect.PointerTo(t)

	return t.Kind() == reflect.Interface ||
		pointer.Implements(reflect.TypeFor[json.Unmarshaler]()) ||
		pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// fields returns the types of a struct's JSON fields by name, those of embedded structs included.
func fields(t reflect.Type) map[string]reflect.Type {
	known := map[string]reflect.Type{}
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		embedded := field.Type
		if embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		switch {
		case name == "-" && field.Tag.Get("json") == "-":
			continue
		case field.Anonymous && name == "" && embedded.Kind() == reflect.Struct:
			for inner, innerType := range fields(embedded) {
				if _, shadowed := known[inner]; !shadowed {
					known[inner] = innerType
				}
			}
		case !field.IsExported():
			continue
		case name == "":
			known[field.Name] = field.Type
		default:
			known[name] = field.Type
		}
	}

	return known
}

// hint proposes the field that was probably meant: one that differs in case, by one letter, or by two swapped.
func hint(known map[string]reflect.Type, key string) string {
	var best string
	for name := range known {
		if strings.EqualFold(name, key) || near(strings.ToLower(name), strings.ToLower(key)) {
			if best == "" || name < best {
				best = name
			}
		}
	}
	if best == "" {
		return ""
	}

	return fmt.Sprintf(", did you mean %q?", best)
}

// near says whether a and b differ by one edit or one swap of neighbours.
func near(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch len(b) - len(a) {
	case 0:
		return i == len(a) || a[i+1:] == b[i+1:] ||
			i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	case 1:
		return a[i:] == b[i+1:]
	default:
		return false
	}
}
