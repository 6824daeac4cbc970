package v1alpha1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// maxMalformed bounds what is remembered of one object. Somebody who repairs it
// sees the rest then.
const maxMalformed = 16

// decodeTolerantly decodes an object of a kind of this package. T has the
// fields of the kind and not its methods.
//
// An object that decodes as a whole gives no malformed fields. Of any other,
// everything that decodes by itself is kept: a field that does not is left
// empty, a list item that does not is kept as an empty item, so that the index
// of the others stays right, and a map entry that does not is left out. The
// metadata is not tolerated: the API server has checked it, and without it
// there is no object to report on. It returns nil for a JSON null.
//
// It starts from an empty object, unlike encoding/json, which would keep the
// fields of an earlier version that are gone from this one.
func decodeTolerantly[T any](data []byte) (*T, []MalformedField, error) {
	if string(bytes.TrimSpace(data)) == "null" {
		return nil, nil, nil
	}
	if !mayHoldHugeExponent(data) {
		decoded := new(T)
		if err := unmarshal(data, decoded); err == nil {
			return decoded, nil, nil
		}
	}
	var envelope struct {
		metav1.TypeMeta
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	if err := unmarshal(data, &envelope); err != nil {
		return nil, nil, fmt.Errorf("cannot decode the metadata: %w", err)
	}
	members, err := object(data)
	if err != nil {
		return nil, nil, err
	}
	decoded := new(T)
	var w walk
	w.fields(reflect.ValueOf(decoded).Elem(), members, "")
	return decoded, w.malformed, nil
}

// unmarshal decodes like the serializers of apimachinery do.
func unmarshal(data []byte, into any) error {
	return kjson.UnmarshalCaseSensitivePreserveInts(data, into)
}

// walk goes through a Go value and its JSON side by side. It gives what
// unmarshal gives, and goes on where that stops.
type walk struct {
	malformed []MalformedField
}

// value decodes into v, which is settable and empty, and reports whether it
// could.
func (w *walk) value(v reflect.Value, data json.RawMessage, path string) bool {
	var err error
	switch {
	case decodesItself(v.Type()):
		err = leaf(v, data)
	case string(data) == "null":
	case v.Kind() == reflect.Pointer:
		target := reflect.New(v.Type().Elem())
		if !w.value(target.Elem(), data, path) {
			return false
		}
		v.Set(target)
	case v.Kind() == reflect.Struct:
		var members map[string]json.RawMessage
		if members, err = object(data); err == nil {
			w.fields(v, members, path)
		}
	case v.Kind() == reflect.Map:
		var members map[string]json.RawMessage
		if members, err = object(data); err == nil {
			w.entries(v, members, path)
		}
	case v.Kind() == reflect.Slice:
		var items []json.RawMessage
		if err = json.Unmarshal(data, &items); err == nil {
			w.items(v, items, path)
		}
	default:
		err = leaf(v, data)
	}
	if err != nil {
		w.report(path, v.Type(), data, err)
	}
	return err == nil
}

// fields decodes the members of an object into the fields of a struct. Fields
// of embedded structs are members of the same object.
func (w *walk) fields(v reflect.Value, members map[string]json.RawMessage, path string) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && name == "" {
			w.fields(v.Field(i), members, path)
			continue
		}
		data, given := members[name]
		if !given || name == "" || name == "-" {
			continue
		}
		w.value(v.Field(i), data, join(path, name))
	}
}

// entries decodes the members of an object into a map with string keys.
func (w *walk) entries(v reflect.Value, members map[string]json.RawMessage, path string) {
	v.Set(reflect.MakeMapWithSize(v.Type(), len(members)))
	for _, key := range slices.Sorted(maps.Keys(members)) {
		entry := reflect.New(v.Type().Elem()).Elem()
		if w.value(entry, members[key], path+"["+key+"]") {
			v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), entry)
		}
	}
}

// items decodes the items of an array into a slice of the same length.
func (w *walk) items(v reflect.Value, items []json.RawMessage, path string) {
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, data := range items {
		w.value(v.Index(i), data, fmt.Sprintf("%s[%d]", path, i))
	}
}

// leaf decodes a value the walk does not look into. It leaves v empty if it
// cannot.
func leaf(v reflect.Value, data json.RawMessage) error {
	if v.Type() == quantity && mayHoldHugeExponent(data) {
		return errHugeExponent
	}
	whole := reflect.New(v.Type())
	if err := unmarshal(data, whole.Interface()); err != nil {
		return err
	}
	v.Set(whole.Elem())
	return nil
}

func (w *walk) report(path string, want reflect.Type, data json.RawMessage, err error) {
	if len(w.malformed) < maxMalformed {
		w.malformed = append(w.malformed, MalformedField{Path: path, Problem: problem(want, data, err)})
	}
}

var (
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()
	byteSlice   = reflect.TypeFor[[]byte]()
	quantity    = reflect.TypeFor[resource.Quantity]()
)

// decodesItself reports whether the walk must not look inside the type.
func decodesItself(t reflect.Type) bool {
	return t == byteSlice || reflect.PointerTo(t).Implements(unmarshaler)
}

var errHugeExponent = errors.New("quantities must have an exponent of less than 4 digits")

// mayHoldHugeExponent reports whether some number in the JSON ends in an
// exponent of 4 digits or more. As a quantity, "1e-999999999" keeps
// resource.ParseQuantity busy for minutes, and the schema does not keep it out:
// one such object would stop all others.
func mayHoldHugeExponent(data []byte) bool {
	for i := 1; i < len(data); i++ {
		if data[i]|0x20 != 'e' || !isDigit(data[i-1]) && data[i-1] != '.' {
			continue
		}
		end := i + 1
		if end < len(data) && (data[end] == '+' || data[end] == '-') {
			end++
		}
		first := end
		for end < len(data) && isDigit(data[end]) {
			end++
		}
		if end-first < 4 {
			continue
		}
		if end == len(data) || strings.IndexByte("\",}] \t\r\n", data[end]) >= 0 {
			return true
		}
	}
	return false
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// object splits a JSON object into its members. Unlike encoding/json it takes
// null for an error.
func object(data []byte) (map[string]json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, err
	}
	if members == nil {
		return nil, errors.New("not an object")
	}
	return members, nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
