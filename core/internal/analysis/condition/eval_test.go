package condition_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/internal/analysis/condition"
)

func document(t *testing.T, text string) any {
	t.Helper()
	v, err := condition.Decode([]byte(text))
	require.NoError(t, err)
	return v
}

func TestConditionsJudgeWhatWasMeasured(t *testing.T) {
	array := document(t, `[{"name":"a","errors":3},{"name":"b","errors":0}]`)
	for _, c := range []struct {
		source string
		result any
		want   bool
	}{
		{"result < 5", 4.9, true},
		{"result > 5", 7.2, true},
		{"result[0] >= 0.95", []float64{0.95, 0.1}, true},
		{"all(result, # < 5)", []float64{1, 2, 3}, true},
		{"len(result) == 0 || result[0] > 1", []float64{}, true},
		{"len(result) > 0 && result[0] > 1", []float64{}, false},
		{"result == 'It worked!'", "It worked!", true},
		{"result.status in ['green', 'yellow']", document(t, `{"status":"green"}`), true},
		{"any(result, .errors > 2)", array, true},
		{"sum(result, .errors) == 3", array, true},
		{"result[0].name matches '^[a-c]$'", array, true},
		{"asInt(result) == 1", 1.123, true},
		{"asInt(result) == 42", "42", true},
		{"asFloat(result) > 1.5", "1.6", true},
		{"isNaN(result)", math.NaN(), true},
		{"isInf(result)", math.Inf(-1), true},
		{"isNaN(result) || result > 5", 1.0, false},
		{"isNil(result)", nil, true},
		{"isNil(result.missing)", document(t, `{"a":1}`), true},
		{"isNil(result.a)", document(t, `{"a":1}`), false},
		{"default(result, 0) == 0", nil, true},
		{"default(result.missing, 7) == 7", document(t, `{"a":1}`), true},
		{"default(result.a, 7) == 1", document(t, `{"a":1}`), true},
		{"result.id == 9007199254740993", document(t, `{"id":9007199254740993}`), true},
		{"let share = result.a / 2; share == 0.5", document(t, `{"a":1}`), true},
		{"reduce(result, #acc + #, 0) == 6", []float64{1, 2, 3}, true},
		{"max(result) < 10 and min(result) > 0", []float64{1, 9}, true},
		{"count(map(1..10, # * 2), # > 10) == 5", 0.0, true},
	} {
		t.Run(c.source, func(t *testing.T) {
			got, err := condition.Eval(c.source, c.result)
			require.NoError(t, err)
			assert.Equal(t, c.want, got.True)
		})
	}
}

func TestEvidenceShowsBothSidesOfTheComparison(t *testing.T) {
	for _, c := range []struct {
		source string
		result any
		want   string
	}{
		{"result > 5", 7.2, "7.2 > 5"},
		{"result[0] < 0.95", []float64{0.1}, "0.1 < 0.95"},
		{"len(result) > 3", []float64{1, 2}, "2 > 3"},
		{"asFloat(result.rate) > 5", map[string]any{"rate": "9.5"}, "9.5 > 5"},
		{"all(result, # < 5)", []float64{1, 2}, "[1,2]"},
		{"result > 5", math.NaN(), "NaN > 5"},
	} {
		got, err := condition.Eval(c.source, c.result)
		require.NoError(t, err)
		assert.Equal(t, c.want, got.Seen, c.source)
	}
}

func TestWhatCannotBeEvaluatedIsAnErrorThatSaysWhy(t *testing.T) {
	for _, c := range []struct {
		source string
		result any
		want   string
	}{
		{"result", 5.0, "expected bool, but got float64"},
		{"true == 1 ? 5 : 6", 5.0, "mismatched types"},
		{"NotAVariable", 5.0, "unknown name NotAVariable"},
		{"result[0] > 5", []float64{}, "no data was returned: result is [] ("},
		{"result[0] > 5", nil, "no data was returned: result is nil ("},
		{"result.a.b > 5", map[string]any{}, "no data was returned: result is {} ("},
		{"asInt(result) == 1", "1.1", "invalid syntax"},
		{"asFloat(result) == 1", "one", "invalid syntax"},
		{"asInt(result) == 1", []float64{1}, "asInt() takes a number, not []float64 [1]"},
		{"result > 'a", 5.0, "literal not terminated"},
	} {
		t.Run(c.source, func(t *testing.T) {
			_, err := condition.Eval(c.source, c.result)
			require.ErrorContains(t, err, c.want)
			assert.NotContains(t, err.Error(), "\n", "one line in a message")
		})
	}
}
