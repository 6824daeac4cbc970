package condition_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/internal/analysis/condition"
)

// hostile expressions each exhaust memory or spin for minutes when expr
// evaluates them with its own limits, or try something close to it.
var hostile = []string{
	`len(reduce(1..30, #acc + #acc, 'aaaaaaaaaa')) > 0`,
	`len(reduce(1..40, [#acc, #acc], 1)) > 0`,
	`toJSON(reduce(1..40, ({"a": #acc, "b": #acc}), 1)) != ""`,
	`reduce(1..40, ({"a": #acc, "b": #acc}), 1) == reduce(1..40, ({"a": #acc, "b": #acc}), 1)`,
	`all(1..100000, all(1..100000, true))`,
	`all(1..99999, all(1..999, all(1..999, true)))`,
	`all(result, all(result, all(result, true)))`,
	`len(1..1000000000) > 0`,
	`len(-9223372036854775807..9223372036854775807) > 0`,
	`len(map(1..100000, repeat("aaaaaaaaaa", 100000))) > 0`,
	`repeat(repeat(repeat("a", 1000000), 1000000), 1000000) == ""`,
	`repeat("a", 999999999) == ""`,
	`repeat("a", len(result) * 1000000) == ""`,
	`replace(repeat("a", 100000), "a", repeat("b", 100000)) == ""`,
	`replace(replace(replace(repeat("a",9999),"a",repeat("a",9999)),"a",repeat("a",9999)),"a","b") == ""`,
	`join(map(1..100000, repeat("x", 10000)), repeat("y", 10000)) == ""`,
	`repeat("a", 100000) matches "(a*)*b(a{1000}){1}c{1000}d{1000}e{1000}f{1000}"`,
	`result[0] > 0 || "x" matches "` + strings.Repeat("a{1000}", 400) + `"`,
	`"x" matches "((a{30}){30}){30}{30}{30}"`,
	`len(groupBy(1..100000, repeat("a", # + 1000))) > 0`,
	`len(sortBy(1..100000, repeat("a", 100000))) > 0`,
	`len(uniq(1..100000)) > 0`,
	`let a = repeat("a", 1000000); let b = a+a+a+a+a+a+a+a; let c = b+b+b+b+b+b+b+b; c+c+c+c+c+c+c+c == ""`,
	`len(concat(1..100000, 1..100000, 1..100000)) > 0 && len(flatten(map(1..1000, 1..1000))) > 0`,
	`len(split(repeat("a", 10000000), "")) > 0`,
	`toJSON(reduce(1..5000, [#acc], 1)) != ""`,
	`fromJSON(repeat("[", 1000000)) == nil`,
	`len(toBase64(toBase64(toBase64(toBase64(repeat("a", 20000000)))))) > 0`,
	`$env.result > 0`,
	`$env["result"] > 0`,
	strings.Repeat("(", 4000),
	strings.Repeat("!", 4000) + "true",
	strings.Repeat("-", 4000) + "1 > 0",
	strings.Repeat("[", 4000),
	strings.Repeat("1+", 1500) + "1 > 0",
	strings.Repeat("a", 1<<20),
	`all(1..1000, reduce(1..1000, #acc + string(#acc), "a") != "")`,
	`reduce(result, #acc + toJSON(#acc), "") != ""`,
	`reduce(map(result, string(#)), upper(#acc) + #acc + #, "x") != ""`,
	`any(fromJSON('[' + join(map(1..20000, "1"), ",") + ']'), all(fromJSON('[' + join(map(1..20000, "1"), ",") + ']'), true))`,
	`all("` + strings.Repeat("a", 3000) + `" | split(""), all("` + strings.Repeat("a", 900) + `" | split(""), all(1..900, true)))`,
}

// TestHostileExpressionsAreRefused: none of them runs, on no kind of value. The
// allocation figure is the evidence: it counts every byte, also the freed ones.
func TestHostileExpressionsAreRefused(t *testing.T) {
	vector := make([]float64, 2000)
	documents := make([]any, 2000)
	for i := range documents {
		documents[i] = strings.Repeat("v", 100)
	}
	for i, source := range hostile {
		for kind, value := range map[string]any{"vector": vector, "documents": documents} {
			var err error
			spent := allocated(func() { _, err = condition.Eval(source, value) })
			require.Error(t, err, source)
			assert.LessOrEqual(t, spent, uint64(64<<20), "%s: %s", kind, condition.Shorten(source, 100))
			if kind == "vector" {
				t.Logf("%2d %7d KiB  %-60s %s", i, spent>>10, condition.Shorten(source, 60), condition.Shorten(err.Error(), 120))
			}
		}
	}
}

// TestLargeAnswersAreStillJudged: the budget leaves room for what people write.
func TestLargeAnswersAreStillJudged(t *testing.T) {
	vector := make([]float64, 20_000)
	var items []string
	for i := range 3000 {
		items = append(items, fmt.Sprintf(`{"name":"pod-%d","labels":{"app":"shop"},"errors":%d}`, i, i%3))
	}
	large := document(t, "["+strings.Join(items, ",")+"]")
	for source, value := range map[string]any{
		"all(result, # < 5)":                                vector,
		"sum(result) / len(result) < 0.5":                   vector,
		"len(filter(result, # > 1)) < 10":                   vector,
		"all(0..len(result)-1, result[#] < 5)":              vector,
		"sort(result)[len(result)-1] < 5":                   vector,
		"all(result, .errors < 5 && .labels.app == 'shop')": large,
		"count(result, .name startsWith 'pod-1') > 10":      large,
		"len(groupBy(result, .errors)) == 3":                large,
		"sum(result, .errors) == 3000":                      large,
		"reduce(result, #acc + #, 0) == 0":                  vector[:19_999],
		"len(filter(map(result, .errors), # == 2)) == 1000": large,
		"all(result, not (.errors > 10 || 'a' == .name))":   large,
	} {
		got, err := condition.Eval(source, value)
		require.NoError(t, err, source)
		assert.True(t, got.True, source)
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
