package broker

import (
	"encoding/json"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"pgregory.net/rapid"
)

func tree(t require.TestingT, s string) map[string]any {
	var out map[string]any
	require.NoError(t, utiljson.Unmarshal([]byte(s), &out))
	return out
}

func TestPatchIsTheDifference(t *testing.T) {
	for name, tc := range map[string]struct{ from, to, patch string }{
		"nothing":                    {`{"a":{"b":[1,{"c":2}]}}`, `{"a":{"b":[1,{"c":2}]}}`, `{}`},
		"one number spelled anew":    {`{"a":1}`, `{"a":1.0}`, `{}`},
		"a field changes":            {`{"a":1,"b":2}`, `{"a":1,"b":3}`, `{"b":3}`},
		"a field goes":               {`{"a":{"x":1,"y":2}}`, `{"a":{"y":2}}`, `{"a":{"x":null}}`},
		"null means absent":          {`{"a":1}`, `{"a":null}`, `{"a":null}`},
		"null that was absent":       {`{}`, `{"a":null}`, `{}`},
		"absent that was null":       {`{"a":null}`, `{}`, `{}`},
		"an empty object comes":      {`{}`, `{"a":{}}`, `{"a":{}}`},
		"an empty object stays":      {`{"a":{}}`, `{"a":{}}`, `{}`},
		"an object comes with nulls": {`{}`, `{"a":{"b":null,"c":1}}`, `{"a":{"c":1}}`},
		"arrays are replaced whole":  {`{"a":[{"w":90},{"w":10}]}`, `{"a":[{"w":80},{"w":20}]}`, `{"a":[{"w":80},{"w":20}]}`},
		"an object for a number":     {`{"a":1}`, `{"a":{"b":2}}`, `{"a":{"b":2}}`},
		"a number for an object":     {`{"a":{"b":2}}`, `{"a":1}`, `{"a":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(diff(tree(t, tc.from), tree(t, tc.to)))
			require.NoError(t, err)
			assert.JSONEq(t, tc.patch, string(got))
		})
	}
}

// Applied by somebody else's implementation of merge patches, the difference
// between any two trees leads from one to the other.
func TestPatchLeadsFromOneToTheOther(t *testing.T) {
	leaf := rapid.OneOf(
		rapid.Map(rapid.Int64Range(-9, 9), func(i int64) any { return i }),
		rapid.Map(rapid.SampledFrom([]string{"", "x", "y"}), func(s string) any { return s }),
		rapid.Map(rapid.SliceOfN(rapid.Int64Range(0, 2), 0, 2), func(is []int64) any {
			out := make([]any, len(is))
			for i := range is {
				out[i] = is[i]
			}
			return out
		}),
	)
	key := rapid.SampledFrom([]string{"a", "b", "c"})
	object := func(inner *rapid.Generator[any]) *rapid.Generator[any] {
		return rapid.Map(rapid.MapOfN(key, inner, 0, 3), func(m map[string]any) any { return m })
	}
	two := object(rapid.OneOf(leaf, object(rapid.OneOf(leaf, object(leaf)))))
	rapid.Check(t, func(t *rapid.T) {
		from, to := two.Draw(t, "from").(map[string]any), two.Draw(t, "to").(map[string]any)
		a, _ := json.Marshal(from)
		b, _ := json.Marshal(to)
		patch, _ := json.Marshal(diff(from, to))
		got, err := jsonpatch.MergePatch(a, patch)
		require.NoError(t, err)
		require.JSONEq(t, string(b), string(got), "patch %s", patch)
		if string(a) == string(b) {
			require.Equal(t, `{}`, string(patch))
		}
	})
}
