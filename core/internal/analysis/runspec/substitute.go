package runspec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/condition"
)

// SecretValue returns the value of one key of a Secret in the run's namespace.
type SecretValue func(v1alpha1.SecretKeyRef) (string, error)

// placeholderSecret stands for secrets where nobody needs their value: it is a
// valid number, boolean operand, duration and text.
func placeholderSecret(v1alpha1.SecretKeyRef) (string, error) { return "0", nil }

// WithoutSecrets resolves a metric for scheduling and judging limits, which
// secrets cannot influence: its provider and conditions hold "0" for secrets.
func WithoutSecrets(metric v1alpha1.Metric, args []v1alpha1.Argument) (v1alpha1.Metric, error) {
	return Resolve(metric, args, placeholderSecret)
}

// Resolve fills the arguments into a metric, field by field on the decoded
// tree: an argument is text inside the field that names it and nothing else,
// in conditions one literal (condition.Fill), in limits one integer. An error
// names the metric, the field and the argument. Errors of secret come back
// wrapped.
func Resolve(metric v1alpha1.Metric, args []v1alpha1.Argument, secret SecretValue) (v1alpha1.Metric, error) {
	f := filler{args: args, secret: secret}
	resolved, err := f.metric(metric)
	if err != nil {
		return v1alpha1.Metric{}, fmt.Errorf("metric %q: %w", metric.Name, err)
	}
	return resolved, nil
}

var placeholder = regexp.MustCompile(`\{\{.*?\}\}`)

// limitFields are integers that may hold an argument; the API keeps them as
// they were written.
var limitFields = map[string]bool{
	"count": true, "failureLimit": true, "inconclusiveLimit": true,
	"consecutiveErrorLimit": true, "consecutiveSuccessLimit": true,
}

// errSecretHere keeps secrets out of fields that end up in the run's status.
var errSecretHere = errors.New("comes from a Secret and can only be used in the provider and in conditions")

type filler struct {
	args   []v1alpha1.Argument
	secret SecretValue
}

func (f filler) metric(metric v1alpha1.Metric) (v1alpha1.Metric, error) {
	raw, err := json.Marshal(metric)
	if err != nil {
		return metric, err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var tree map[string]any
	if err := decoder.Decode(&tree); err != nil {
		return metric, err
	}
	for field, value := range tree {
		if tree[field], err = f.field(field, value); err != nil {
			return metric, err
		}
	}
	if raw, err = json.Marshal(tree); err != nil {
		return metric, err
	}
	var resolved v1alpha1.Metric
	if err := json.Unmarshal(raw, &resolved); err != nil {
		return metric, err
	}
	return resolved, nil
}

func (f filler) field(field string, value any) (any, error) {
	text, isText := value.(string)
	switch {
	case field == "provider":
		return f.tree(field, value)
	case field == "successCondition" || field == "failureCondition":
		filled, err := condition.Fill(text, f.lookup)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", field, condition.Shorten(text, 200), err)
		}
		return filled, nil
	case !isText:
		return value, nil
	}
	filled, err := f.text(text, f.lookupPublic)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	if !limitFields[field] {
		return filled, nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(filled), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%s: %q is not an integer of 32 bits", field, condition.Shorten(filled, 80))
	}
	return n, nil
}

// tree fills every text in a decoded document, keys of maps included.
func (f filler) tree(path string, value any) (_ any, err error) {
	switch v := value.(type) {
	case string:
		filled, err := f.text(v, f.lookup)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return filled, nil
	case []any:
		for i := range v {
			if v[i], err = f.tree(fmt.Sprintf("%s[%d]", path, i), v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		filled := make(map[string]any, len(v))
		for key, child := range v {
			at := path + "." + key
			name, err := f.text(key, f.lookup)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", at, err)
			}
			if _, twice := filled[name]; twice {
				return nil, fmt.Errorf("%s: with its arguments filled in, the key is there twice", at)
			}
			if filled[name], err = f.tree(at, child); err != nil {
				return nil, err
			}
		}
		return filled, nil
	}
	return value, nil
}

func (f filler) text(text string, lookup func(string) (string, error)) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	var failed error
	filled := placeholder.ReplaceAllStringFunc(text, func(spot string) string {
		value, err := lookup(strings.TrimSpace(spot[2 : len(spot)-2]))
		if err != nil && failed == nil {
			failed = err
		}
		return value
	})
	return filled, failed
}

func (f filler) lookupPublic(name string) (string, error) {
	if arg, ok := f.find(name); ok && isSecret(arg) {
		return "", fmt.Errorf("%s %w", name, errSecretHere)
	}
	return f.lookup(name)
}

// lookup returns the value of "args.x". A secret wins over a value, as in Argo
// Rollouts.
func (f filler) lookup(name string) (string, error) {
	arg, ok := f.find(name)
	switch {
	case !ok && !strings.HasPrefix(name, "args."):
		return "", fmt.Errorf("{{%s}} is unknown: only {{args.NAME}} can be used", condition.Shorten(name, 80))
	case !ok:
		return "", fmt.Errorf("{{%s}} is unknown: no argument has this name", condition.Shorten(name, 80))
	case isSecret(arg):
		value, err := f.secret(*arg.ValueFrom.SecretKeyRef)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		return value, nil
	case arg.Value == nil:
		return "", fmt.Errorf("%s was not resolved: give the argument a value", name)
	}
	return *arg.Value, nil
}

func (f filler) find(name string) (v1alpha1.Argument, bool) {
	for _, arg := range f.args {
		if "args."+arg.Name == name {
			return arg, true
		}
	}
	return v1alpha1.Argument{}, false
}
