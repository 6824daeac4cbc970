package condition_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sluice-rollouts/sluice/core/internal/analysis/condition"
)

func always(value string) func(string) (string, error) {
	return func(string) (string, error) { return value, nil }
}

func TestArgumentsAreLiterals(t *testing.T) {
	for _, c := range []struct{ source, value, want string }{
		{"result < {{args.limit}}", "5", "result <  5 "},
		{"result < {{ args.limit }}", "0.95", "result <  0.95 "},
		{"result < {{args.limit}}", "-3", "result < (-3)"},
		{"result < {{args.limit}}", "5\n", "result <  5 "},
		{"result < {{args.limit}}", " -3 ", "result < (-3)"},
		{"result == {{args.flag}}", "true", "result ==  true "},
		{"result == '{{args.text}}'", "it's", `result == 'it\'s'`},
		{`result == "{{args.text}}"`, `a "b" \c`, `result == "a \"b\" \\c"`},
		{"result == `{{args.text}}`", `a "b" \c`, "result == `a \"b\" \\c`"},
		{"result['{{args.key}}'] > 1", "latency", "result['latency'] > 1"},
	} {
		got, err := condition.Fill(c.source, always(c.value))
		require.NoError(t, err, c.source)
		assert.Equal(t, c.want, got)
	}
}

func TestArgumentsCannotBreakOut(t *testing.T) {
	for _, c := range []struct{ source, value string }{
		{"result < {{args.limit}}", "5 || true"},
		{"result < {{args.limit}}", "result"},
		{"result < {{args.limit}}", "1..9"},
		{"result < {{args.limit}}", "'a'"},
		{"result < {{args.limit}}", ""},
		{"result < {{args.limit}}", "0x10"},
		{"result < {{args.limit}}", "5 // "},
		{"result < {{args.limit}}", "5\n6"},
		{"result < {{args.limit}}", "\n"},
		{"result < 1{{args.limit}}", "5"},
		{"res{{args.limit}}ult < 1", "5"},
		{"result.{{args.field}} < 1", "5"},
		{"result {{args.limit}}", "-5"},
		{"`{{args.text}}` == result", "` + `"},
		{"{{args.text}}", "true || true"},
		{"result < 5 {{args.op}} true", "||"},
	} {
		_, err := condition.Fill(c.source, always(c.value))
		assert.Error(t, err, "%s with %q", c.source, c.value)
	}
}

// TestQuotedTextStaysText: whatever the text, the condition compares with
// exactly that text.
func TestQuotedTextStaysText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`['"\\ |&a\n}{]{0,8}`)).Draw(t, "text")
		quote := rapid.SampledFrom([]string{"'", `"`}).Draw(t, "quote")
		source, err := condition.Fill("result == "+quote+"{{args.x}}"+quote, always(text))
		if err != nil {
			t.Logf("refused: %v", err)
			return
		}
		got, err := condition.Eval(source, text)
		require.NoError(t, err, source)
		assert.True(t, got.True, source)
		other, err := condition.Eval(source, text+"x")
		require.NoError(t, err, source)
		assert.False(t, other.True, source)
	})
}
