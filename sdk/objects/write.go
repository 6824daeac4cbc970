package objects

import (
	"encoding/json"
	"fmt"

	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

// Operation is what to do with an object.
type Operation int

const (
	// Create the object; it becomes owned by the calling object, in whose namespace it must be.
	Create Operation = iota + 1
	// Update the object; what differs from what was shown is patched.
	Update
	// Delete the object; gone already is success.
	Delete
)

// Write asks the host to change one object. At most one write per object and answer.
type Write struct {
	// Operation is required.
	Operation Operation
	// JSON is the whole object; for Delete what identifies it.
	JSON []byte
}

// Changed returns the updates of those objects that were edited, in the order given. An object given twice is written
// once. It returns the first error of any object's edits.
func Changed(edited ...*Object) ([]Write, error) {
	var (
		writes []Write
		seen   = map[*Object]bool{}
	)
	for _, object := range edited {
		if seen[object] {
			continue
		}
		seen[object] = true
		write, changed, err := object.Update()
		if err != nil {
			return nil, err
		}
		if changed {
			writes = append(writes, write)
		}
	}

	return writes, nil
}

// NewCreate returns the write that creates an object: anything that encodes to its JSON, with apiVersion, kind and a name.
func NewCreate(object any) (Write, error) {
	raw, err := encode(object)
	if err != nil {
		return Write{}, err
	}
	if _, err := Parse(raw); err != nil {
		return Write{}, fmt.Errorf("creating: %w", err)
	}

	return Write{Operation: Create, JSON: raw}, nil
}

// NewDelete returns the write that deletes an object in the state it was shown in.
func NewDelete(object *Object) (Write, error) {
	metadata := map[string]any{}
	for _, key := range []string{"namespace", "name", "uid", "resourceVersion"} {
		if value, ok := object.Value("metadata", key); ok {
			metadata[key] = value
		}
	}
	raw, err := json.Marshal(map[string]any{
		"apiVersion": object.APIVersion, "kind": object.Ref.Kind, "metadata": metadata,
	})
	if err != nil {
		return Write{}, fmt.Errorf("deleting %v: %w", object.Ref, err)
	}

	return Write{Operation: Delete, JSON: raw}, nil
}

// Protos converts writes to the wire.
func Protos(writes []Write) []*typesv1.Write {
	protos := make([]*typesv1.Write, 0, len(writes))
	for _, write := range writes {
		operation := typesv1.Write_OPERATION_UNSPECIFIED
		switch write.Operation {
		case Create:
			operation = typesv1.Write_OPERATION_CREATE
		case Update:
			operation = typesv1.Write_OPERATION_UPDATE
		case Delete:
			operation = typesv1.Write_OPERATION_DELETE
		}
		protos = append(protos, &typesv1.Write{Operation: operation, Json: write.JSON})
	}

	return protos
}
