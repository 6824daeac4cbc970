package condition

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestTheBoundHolds runs random expressions that were found affordable and
// compares what they build with what the walker promised. This is what the
// safety of evaluating in the controller's process rests on.
func TestTheBoundHolds(t *testing.T) {
	affordableOnes, ran := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		result := anyValue(3).Draw(t, "result")
		source := anyExpression(4).Draw(t, "source")
		tree, err := parse(source)
		if err != nil {
			t.Skip(err)
		}
		if affordable(tree, shapeOf(result)) != nil {
			return
		}
		affordableOnes++
		w := &walker{result: shapeOf(result), vars: map[string]shape{}}
		bound, effort := w.node(tree)

		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		value, err := run(source, result)
		runtime.ReadMemStats(&after)
		spent := float64(after.TotalAlloc - before.TotalAlloc)
		if err != nil {
			return
		}
		ran++
		require.LessOrEqual(t, weigh(reflect.ValueOf(value)), bound.size(), source)
		// 1 MiB for parsing and compiling, and eight bytes a unit of work for
		// what the virtual machine boxes on the way.
		require.LessOrEqual(t, spent, 1<<20+8*effort.work, source)
	})
	t.Logf("%d expressions affordable, %d ran to a value", affordableOnes, ran)
}

func weigh(v reflect.Value) float64 {
	size := float64(word)
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return size
		}
		return weigh(v.Elem())
	case reflect.String:
		return size + float64(v.Len())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			size += weigh(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			size += weigh(key) - word + weigh(v.MapIndex(key))
		}
	}
	return size
}

func anyValue(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 5
		if depth > 0 {
			kinds = 8
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return nil
		case 1:
			return float64(rapid.IntRange(-5, 50).Draw(t, "number"))
		case 2:
			return rapid.StringN(0, 12, 40).Draw(t, "text")
		case 3:
			return rapid.SliceOfN(rapid.Float64(), 0, 20).Draw(t, "vector")
		case 4:
			return strings.Repeat("ab,", rapid.IntRange(0, 100).Draw(t, "repeats"))
		case 5, 6:
			return rapid.SliceOfN(anyValue(depth-1), 0, 6).Draw(t, "list")
		}
		return rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "longer key"}), anyValue(depth-1), 0, 3).Draw(t, "map")
	})
}

var forms = []string{
	"(%s + %s)", "(%s == %s)", "(%s ?? %s)", "[%s, %s]", "({'a': %s, 'bb': %s})", "map(%s, [#, %s])", "map(%s, # + %s)",
	"reduce(%s, #acc + #, %s)", "reduce(%s, [#acc, #], %s)", "reduce(%s, string(#acc) + 'x', %s)", "reduce(%s, [#acc], %s)",
	"filter(%s, # == %s)", "groupBy(%s, string(#) + string(%s))", "join(map(%s, string(#)), string(%s))",
	"concat(%s, %s)", "replace(string(%s), 'a', string(%s))", "split(string(%s), string(%s))", "toJSON([%s, %s])",
	"let x = %s; [x, x, %s]", "(%s in [%s])", "default(%s, %s)", "map(1..9, [%s, %s])", "sortBy(%s, string(#) + string(%s))",
	"splitAfter(string(%s), string(%s))", "trim(string(%s), string(%s))", "(string(%s) contains string(%s))",
	"(true ? %s : %s)", "get(%s, %s)", "flatten([%s, [%s]])",
}

var wraps = []string{
	"%s", "string(%s)", "upper(string(%s))", "toBase64(string(%s))", "repeat(string(%s), 7)", "keys(%s)", "values(%s)",
	"toPairs(%s)", "fromPairs(toPairs(%s))", "reverse(%s)", "uniq(%s)", "sort(%s)", "first(%s)", "last(%s)", "take(%s, 3)",
	"len(%s)", "max(%s)", "min(%s)", "sum(%s)", "median(%s)", "fromJSON(toJSON(%s))", "%s?.a", "%s[0]", "%s[1:]", "%s[:2]",
	"lower(string(%s))", "type(%s)", "isNil(%s)", "flatten(%s)",
}

var leaves = []string{"result", "1", "'text'", "result?.a", "result[0]", "1..5", "[]", "#", "#acc", "x", "nil", "'ŉŉ'"}

func anyExpression(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		if depth == 0 || rapid.IntRange(0, 5).Draw(t, "leaf") == 0 {
			return rapid.SampledFrom(leaves).Draw(t, "name")
		}
		below := anyExpression(depth - 1)
		if rapid.Bool().Draw(t, "one") {
			return fmt.Sprintf(rapid.SampledFrom(wraps).Draw(t, "wrap"), below.Draw(t, "operand"))
		}
		return fmt.Sprintf(rapid.SampledFrom(forms).Draw(t, "form"), below.Draw(t, "left"), below.Draw(t, "right"))
	})
}

// TestCuttingOffLevelsKeepsTheBound: a value nested deeper than is looked into
// still has the elements of its innermost list.
func TestCuttingOffLevelsKeepsTheBound(t *testing.T) {
	s := list(50, scalar())
	for range maxLevels + 2 {
		s = list(1, s)
	}
	u := s.union(scalar())
	for range maxLevels + 2 {
		u = u.element()
	}
	require.GreaterOrEqual(t, u.count(), 50.0)
	require.GreaterOrEqual(t, u.size(), s[maxLevels+2].size)
}
