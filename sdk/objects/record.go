package objects

import (
	"encoding/json"
	"fmt"
)

// Record is what one owner has put into an object that is not its own, as SetRecord wrote it into the annotation key. An
// owner is anything that names the rollout, such as `shop/web`: an object can have several.
//
// Nothing recorded gives the zero T. So does an annotation that somebody has made unreadable: what is not recorded is the
// user's, whatever it looks like.
func Record[T any](o *Object, key, owner string) T {
	var none T
	record, ok := records(o, key)[owner]
	if !ok {
		return none
	}
	var value T
	if json.Unmarshal(record, &value) != nil {
		return none
	}

	return value
}

// SetRecord replaces the record of one owner, and leaves those of others. A nil value removes it; the annotation goes with
// the last record.
func SetRecord(o *Object, key, owner string, value any) error {
	all := records(o, key)
	delete(all, owner)
	if value != nil {
		raw, err := encode(value)
		if err != nil {
			return fmt.Errorf("recording what is owned in %v: %w", o.Ref, err)
		}
		all[owner] = raw
	}
	if len(all) > 0 {
		raw, err := encode(all)
		if err != nil {
			return fmt.Errorf("recording what is owned in %v: %w", o.Ref, err)
		}
		o.Set(string(raw), "metadata", "annotations", key)

		return nil
	}
	o.Delete("metadata", "annotations", key)
	if left, ok := o.Value("metadata", "annotations"); ok {
		if annotations, ok := left.(map[string]any); ok && len(annotations) == 0 {
			o.Delete("metadata", "annotations") // The API server keeps no empty map either.
		}
	}

	return nil
}

func records(o *Object, key string) map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	if json.Unmarshal([]byte(o.text("metadata", "annotations", key)), &all) != nil || all == nil {
		return map[string]json.RawMessage{}
	}

	return all
}

// Copy is the object as it is now, edits included, with a life of its own: for trying what an edit would change.
func (o *Object) Copy() (*Object, error) {
	raw, err := o.JSON()
	if err != nil {
		return nil, err
	}
	other, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	other.Held = o.Held

	return other, nil
}

// OwnedBy says whether the object has this UID as its controlling owner: the host gives it to what a plugin creates.
func (o *Object) OwnedBy(uid string) bool {
	value, _ := o.Value("metadata", "ownerReferences")
	owners, _ := value.([]any)
	for _, owner := range owners {
		of, _ := owner.(map[string]any)
		if of["uid"] == uid && of["controller"] == true && uid != "" {
			return true
		}
	}

	return false
}
