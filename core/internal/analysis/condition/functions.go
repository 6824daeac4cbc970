package condition

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// environment is what an expression can name. isNil and default look at their
// own argument; in Argo Rollouts they look at the whole result whatever they
// are given.
func environment(result any) map[string]any {
	return map[string]any{
		"result":  result,
		"asInt":   asInt,
		"asFloat": asFloat,
		"isNaN":   func(x any) (bool, error) { f, err := number("isNaN", x); return math.IsNaN(f), err },
		"isInf":   func(x any) (bool, error) { f, err := number("isInf", x); return math.IsInf(f, 0), err },
		"isNil":   isNil,
		"default": func(x, fallback any) any {
			if isNil(x) {
				return fallback
			}
			return x
		},
	}
}

func isNil(x any) bool { return x == nil }

// asInt cuts numbers off towards zero and reads texts as decimal integers.
func asInt(x any) (int, error) {
	if s, ok := x.(string); ok {
		n, err := strconv.ParseInt(s, 10, 64)
		return int(n), err
	}
	f, err := number("asInt", x)
	switch {
	case err != nil:
		return 0, err
	case math.IsNaN(f) || math.Abs(f) > math.MaxInt64:
		return 0, fmt.Errorf("asInt() of %s is not an integer", Format(f))
	}
	return int(f), nil
}

// asFloat reads texts as decimal numbers.
func asFloat(x any) (float64, error) {
	if s, ok := x.(string); ok {
		return strconv.ParseFloat(s, 64)
	}
	return number("asFloat", x)
}

func number(function string, x any) (float64, error) {
	switch v := reflect.ValueOf(x); {
	case v.CanFloat():
		return v.Float(), nil
	case v.CanInt():
		return float64(v.Int()), nil
	case v.CanUint():
		return float64(v.Uint()), nil
	}
	return 0, fmt.Errorf("%s() takes a number, not %T %s", function, x, Format(x))
}

// Decode reads a JSON document the way conditions see it: numbers are float64
// as in every other result, except integers that a float64 cannot hold, which
// keep all their digits.
func Decode(raw []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, fmt.Errorf("the answer is not JSON: %w", err)
	}
	return settle(v)
}

func settle(v any) (_ any, err error) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if n, notInt := v.Int64(); notInt == nil && int64(f) != n {
			return int(n), nil
		}
		return f, err
	case []any:
		for i := range v {
			if v[i], err = settle(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range v {
			if v[key], err = settle(v[key]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// Format shows a value the way Prometheus prints it: numbers without exponent,
// lists as [a,b], null as nil, everything else as JSON.
func Format(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		return v
	case []float64:
		parts := make([]string, len(v))
		for i, f := range v {
			parts[i] = Format(f)
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}
