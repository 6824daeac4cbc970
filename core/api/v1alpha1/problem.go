package v1alpha1

import (
	"encoding/json"
	"fmt"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// problem says in the words of a manifest's author why data is not a want.
// Values are not repeated: they may be secrets, or long.
func problem(want reflect.Type, data json.RawMessage, err error) string {
	got := jsonType(data)
	switch want {
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime]():
		return "must be an RFC 3339 time such as 2006-01-02T15:04:05Z"
	case reflect.TypeFor[intstr.IntOrString]():
		if got == "number" {
			return "must be a whole number of at most 32 bits, or a string"
		}
		return "must be a number or a string, not " + article(got)
	}
	if decodesItself(want) {
		return err.Error()
	}
	expected := goJSONType(want)
	if got != expected {
		return "must be " + article(expected) + ", not " + article(got)
	}
	if expected == "number" {
		return fmt.Sprintf("must be a whole number of at most %d bits", want.Bits())
	}
	return err.Error()
}

// jsonType is the JSON type of a valid JSON text.
func jsonType(data json.RawMessage) string {
	switch data[0] {
	case '{':
		return "object"
	case '[':
		return "list"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}

// goJSONType is the JSON type that a Go type without methods decodes from.
func goJSONType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Slice:
		return "list"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	}
	return "number"
}

func article(jsonType string) string {
	if jsonType == "object" {
		return "an object"
	}
	return "a " + jsonType
}
