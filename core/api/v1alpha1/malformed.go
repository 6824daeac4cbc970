package v1alpha1

// MalformedField is a part of a stored object that did not decode.
type MalformedField struct {
	// Path is where it is, such as
	// "spec.template.spec.containers[0].resources.requests[memory]": list items
	// by index, map entries by key.
	Path string
	// Problem says what is wrong with it, without repeating its value.
	Problem string
}

// String is "path: problem".
func (f MalformedField) String() string { return f.Path + ": " + f.Problem }

// UnmarshalJSON decodes a Rollout as far as it goes: see decodeTolerantly.
func (r *Rollout) UnmarshalJSON(data []byte) error {
	type fields Rollout
	decoded, malformed, err := decodeTolerantly[fields](data)
	if decoded == nil || err != nil {
		return err
	}
	*r = Rollout(*decoded)
	r.Malformed = malformed
	return nil
}

// UnmarshalJSON decodes an AnalysisTemplate as far as it goes: see
// decodeTolerantly.
func (t *AnalysisTemplate) UnmarshalJSON(data []byte) error {
	type fields AnalysisTemplate
	decoded, malformed, err := decodeTolerantly[fields](data)
	if decoded == nil || err != nil {
		return err
	}
	*t = AnalysisTemplate(*decoded)
	t.Malformed = malformed
	return nil
}

// UnmarshalJSON decodes a ClusterAnalysisTemplate as far as it goes: see
// decodeTolerantly.
func (t *ClusterAnalysisTemplate) UnmarshalJSON(data []byte) error {
	type fields ClusterAnalysisTemplate
	decoded, malformed, err := decodeTolerantly[fields](data)
	if decoded == nil || err != nil {
		return err
	}
	*t = ClusterAnalysisTemplate(*decoded)
	t.Malformed = malformed
	return nil
}

// UnmarshalJSON decodes an AnalysisRun as far as it goes: see decodeTolerantly.
func (r *AnalysisRun) UnmarshalJSON(data []byte) error {
	type fields AnalysisRun
	decoded, malformed, err := decodeTolerantly[fields](data)
	if decoded == nil || err != nil {
		return err
	}
	*r = AnalysisRun(*decoded)
	r.Malformed = malformed
	return nil
}

// UnmarshalJSON decodes an Experiment as far as it goes: see decodeTolerantly.
func (e *Experiment) UnmarshalJSON(data []byte) error {
	type fields Experiment
	decoded, malformed, err := decodeTolerantly[fields](data)
	if decoded == nil || err != nil {
		return err
	}
	*e = Experiment(*decoded)
	e.Malformed = malformed
	return nil
}
