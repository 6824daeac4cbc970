// Package config decodes the blocks users write, strictly: a misspelled field is an error that says where it is, not a
// setting that silently does nothing.
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// Decode decodes raw into a T, following encoding/json's tags. Empty raw is the same as {}.
//
// Every error is a plugin.InvalidConfig with the path of what is wrong, such as `httpRoutes[0].anme`: a field T does not
// have (names are compared exactly, unlike in encoding/json), a value of the wrong type, malformed JSON. All unknown
// fields are reported, not only the first. Defaults and required fields are the caller's.
func Decode[T any](raw []byte) (T, error) {
	var value T
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = []byte("{}")
	}
	tree, err := parse(raw)
	if err != nil {
		return value, plugin.InvalidConfig("", "malformed JSON: %v", err)
	}
	if _, ok := tree.(map[string]any); !ok {
		return value, plugin.InvalidConfig("", "expected an object, found %s", kindOf(tree))
	}

	var unknown []error
	for _, field := range unknownFields(reflect.TypeFor[T](), tree, nil) {
		unknown = append(unknown, plugin.InvalidConfig(field.path, "unknown field%s", field.hint))
	}
	if err := errors.Join(unknown...); err != nil {
		return value, err
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		var zero T

		return zero, wrongType(raw, err)
	}

	return value, nil
}

// Path renders a path of keys (string) and indices (int) as users read it: Path("httpRoutes", 0, "name") is
// `httpRoutes[0].name`. A key that is no identifier is quoted: `labels["app.kubernetes.io/name"]`.
func Path(elements ...any) string {
	var b strings.Builder
	for _, element := range elements {
		switch e := element.(type) {
		case string:
			switch {
			case !identifier.MatchString(e):
				fmt.Fprintf(&b, "[%q]", e)
			case b.Len() > 0:
				b.WriteString("." + e)
			default:
				b.WriteString(e)
			}
		default:
			fmt.Fprintf(&b, "[%v]", e)
		}
	}

	return b.String()
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

func parse(raw []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}

	return tree, nil
}

// wrongType turns an error of encoding/json into one with a path.
func wrongType(raw []byte, err error) error {
	var mismatch *json.UnmarshalTypeError
	if !errors.As(err, &mismatch) {
		// From an UnmarshalJSON of the author's own types; encoding/json does not say where.
		return plugin.InvalidConfig("", "%v", err)
	}
	path := pathAt(raw, mismatch.Offset)
	if path == "" {
		path = mismatch.Field
	}

	return plugin.InvalidConfig(path, "expected %s, found %s", expected(mismatch.Type), mismatch.Value)
}

// pathAt returns the path of the value that ends at or contains offset. encoding/json itself names fields without
// indices, which is of no use in a list of twenty.
func pathAt(raw []byte, offset int64) string {
	type level struct {
		list  bool
		key   any
		isKey bool // in an object: the next string is a key
	}
	var (
		stack   []level
		decoder = json.NewDecoder(bytes.NewReader(raw))
		path    = func() string {
			var elements []any
			for _, l := range stack {
				if l.key != nil {
					elements = append(elements, l.key)
				}
			}

			return Path(elements...)
		}
	)
	for {
		token, err := decoder.Token()
		if err != nil {
			return ""
		}
		top := len(stack) - 1
		if delim, ok := token.(json.Delim); ok && (delim == ']' || delim == '}') {
			stack = stack[:top]

			continue
		}
		if top >= 0 && !stack[top].list && stack[top].isKey {
			stack[top].key, stack[top].isKey = token, false

			continue
		}
		if top >= 0 && stack[top].list {
			if i, ok := stack[top].key.(int); ok {
				stack[top].key = i + 1
			} else {
				stack[top].key = 0
			}
		}
		if decoder.InputOffset() >= offset {
			return path()
		}
		if top >= 0 && !stack[top].list {
			stack[top].isKey = true
		}
		if delim, ok := token.(json.Delim); ok {
			stack = append(stack, level{list: delim == '[', isKey: delim == '{'})
		}
	}
}

func expected(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number in range"
	default:
		return t.String()
	}
}

func kindOf(tree any) string {
	switch tree.(type) {
	case nil:
		return "null"
	case []any:
		return "a list"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return "a bool"
	default:
		return "an object"
	}
}

// sortedKeys makes reports deterministic.
func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)

	return keys
}
