package objects

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/config"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

// Ref names one object, whatever version it is served in.
type Ref struct {
	// Group is empty for the core group, Namespace for cluster-scoped kinds.
	Group, Kind, Namespace, Name string
}

// String names the object for people: `HTTPRoute "shop/web"`.
func (r Ref) String() string { return r.Kind + " " + qualified(r.Namespace, r.Name) }

// Proto converts a reference to the wire.
func (r Ref) Proto() *typesv1.ObjectRef {
	return &typesv1.ObjectRef{Group: r.Group, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
}

// Object is an object as the host showed it, and the plugin's edits to it.
//
// Edits go to the raw tree, so that whatever the plugin does not know stays: unknown fields, the order of lists, numbers
// digit by digit. Values read from the tree are map[string]any, []any, string, bool, nil and json.Number.
type Object struct {
	// Ref names the object.
	Ref Ref
	// APIVersion is the version it is shown in.
	APIVersion string
	// ResourceVersion is the state it is shown in.
	ResourceVersion string
	// Held: the router holds the object from an earlier call.
	Held bool

	shown []byte
	tree  map[string]any
	err   error
}

// Parse reads an object from JSON, for tests and for objects to create.
func Parse(raw []byte) (*Object, error) {
	tree, err := parse(raw)
	if err != nil {
		return nil, err
	}
	root, ok := tree.(map[string]any)
	if !ok {
		return nil, errors.New("object is not a JSON object")
	}
	o := &Object{shown: raw, tree: root}
	o.APIVersion = o.text("apiVersion")
	group, _, found := strings.Cut(o.APIVersion, "/")
	if !found {
		group = ""
	}
	o.Ref = Ref{group, o.text("kind"), o.text("metadata", "namespace"), o.text("metadata", "name")}
	o.ResourceVersion = o.text("metadata", "resourceVersion")
	if o.APIVersion == "" || o.Ref.Kind == "" || o.Ref.Name == "" {
		return nil, fmt.Errorf("object has apiVersion %q, kind %q, name %q: want all three", o.APIVersion, o.Ref.Kind, o.Ref.Name)
	}

	return o, nil
}

func fromWire(o *typesv1.Object) (*Object, error) {
	object, err := Parse(o.GetJson())
	if err != nil {
		return nil, err
	}
	object.Held = o.GetHeld()

	return object, nil
}

func (o *Object) text(path ...any) string {
	value, _ := o.Value(path...)
	text, _ := value.(string)

	return text
}

// Value returns what is at path, the plugin's edits included, and whether anything is. Elements are keys (string) and
// indices (int). The result is for reading.
func (o *Object) Value(path ...any) (any, bool) {
	var node any = o.tree
	for _, element := range path {
		next, ok := child(node, element)
		if !ok {
			return nil, false
		}
		node = next
	}

	return node, true
}

// Set puts value at path. Keys that are missing on the way are created; an index must exist, or be the length of its
// list, which appends. Value is anything that encodes to JSON, typed structs included; what it replaces is gone, so
// fields of others are kept by setting leaves, not whole objects.
//
// The first error of an object's edits is kept and returned by Update and Changed, so that a run of edits reads as one.
func (o *Object) Set(value any, path ...any) {
	o.edit(path, func(parent, last any) (any, error) {
		tree, err := toTree(value)
		if err != nil {
			return nil, err
		}
		switch p := parent.(type) {
		case map[string]any:
			key, ok := last.(string)
			if !ok {
				return nil, errors.New("an object has no index")
			}
			p[key] = tree

			return p, nil
		case []any:
			return put(p, last, tree)
		default:
			return nil, fmt.Errorf("%T has no fields", parent)
		}
	})
}

// Insert puts value into the list that path names, before the element at index. The list is created if it is missing.
func (o *Object) Insert(index int, value any, path ...any) {
	o.edit(append(path, index), func(parent, _ any) (any, error) {
		tree, err := toTree(value)
		if err != nil {
			return nil, err
		}
		list, ok := parent.([]any)
		if !ok || index < 0 || index > len(list) {
			return nil, fmt.Errorf("no list of at least %d elements", index)
		}
		grown := make([]any, 0, len(list)+1)
		grown = append(append(grown, list[:index]...), tree)

		return append(grown, list[index:]...), nil
	})
}

// Delete removes the key or list element at path. Nothing there: nothing happens. An object or list that becomes empty
// stays.
func (o *Object) Delete(path ...any) {
	if _, ok := o.Value(path...); !ok {
		return
	}
	o.edit(path, func(parent, last any) (any, error) {
		switch p := parent.(type) {
		case map[string]any:
			delete(p, last.(string)) // Value has found a key there
			return p, nil
		default:
			list, i := parent.([]any), last.(int) // Value has found an index there
			shrunk := make([]any, 0, len(list)-1)

			return append(append(shrunk, list[:i]...), list[i+1:]...), nil
		}
	})
}

// Err returns the first error of the object's edits, nil if there was none.
func (o *Object) Err() error { return o.err }

// JSON returns the object with the plugin's edits.
func (o *Object) JSON() ([]byte, error) {
	if o.err != nil {
		return nil, o.err
	}

	return encode(o.tree)
}

// Update returns the write that makes the cluster's object look like this one, and false if nothing was changed.
func (o *Object) Update() (Write, bool, error) {
	edited, err := o.JSON()
	if err != nil {
		return Write{}, false, err
	}
	shown, err := parse(o.shown)
	if err != nil {
		return Write{}, false, err
	}
	before, err := encode(shown)
	if err != nil {
		return Write{}, false, err
	}

	return Write{Operation: Update, JSON: edited}, !bytes.Equal(before, edited), nil
}

// edit finds the parent of path's last element and replaces it by what change makes of it. Lists are values in Go, so a
// list that grew has to be put back into its own parent.
func (o *Object) edit(path []any, change func(parent, last any) (any, error)) {
	if o.err != nil {
		return
	}
	fail := func(err error) { o.err = fmt.Errorf("editing %v at %s: %w", o.Ref, config.Path(path...), err) }
	if len(path) == 0 {
		fail(errors.New("empty path"))

		return
	}
	changed, err := descend(o.tree, path, change)
	if err != nil {
		fail(err)

		return
	}
	root, ok := changed.(map[string]any)
	if !ok {
		fail(errors.New("an object has no index"))

		return
	}
	o.tree = root
}

func descend(node any, path []any, change func(parent, last any) (any, error)) (any, error) {
	if node == nil { // Missing on the way, or null.
		if _, isIndex := path[0].(int); isIndex {
			node = []any{}
		} else {
			node = map[string]any{}
		}
	}
	if len(path) == 1 {
		return change(node, path[0])
	}
	next, _ := child(node, path[0])
	changed, err := descend(next, path[1:], change)
	if err != nil {
		return nil, err
	}
	switch n := node.(type) {
	case map[string]any:
		key, ok := path[0].(string)
		if !ok {
			return nil, errors.New("an object has no index")
		}
		n[key] = changed

		return n, nil
	case []any:
		return put(n, path[0], changed)
	default:
		return nil, fmt.Errorf("%T has no fields", node)
	}
}

func child(node, element any) (any, bool) {
	switch n := node.(type) {
	case map[string]any:
		if key, ok := element.(string); ok {
			value, found := n[key]

			return value, found
		}
	case []any:
		if i, ok := element.(int); ok && i >= 0 && i < len(n) {
			return n[i], true
		}
	}

	return nil, false
}

func put(list []any, element, value any) (any, error) {
	i, ok := element.(int)
	switch {
	case !ok:
		return nil, errors.New("a list has no keys")
	case i >= 0 && i < len(list):
		list[i] = value

		return list, nil
	case i == len(list):
		return append(list, value), nil
	default:
		return nil, fmt.Errorf("index %d of a list of %d", i, len(list))
	}
}

// Clone copies a value as Value returns it, so that the copy can be edited and set elsewhere.
func Clone(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, inner := range v {
			out[key] = Clone(inner)
		}

		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = Clone(inner)
		}

		return out
	default:
		return value
	}
}

func toTree(value any) (any, error) {
	raw, err := encode(value)
	if err != nil {
		return nil, err
	}

	return parse(raw)
}

// parse keeps numbers as they are written: float64 would turn 9007199254740993 into its neighbour.
func parse(raw []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("decoding object: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decoding object: more than one value")
	}

	return tree, nil
}

// encode does not escape <, > and &, which encoding/json does by default and the API server does not.
func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}

	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
