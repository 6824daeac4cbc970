package config_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

type base struct {
	Namespace string `json:"namespace,omitempty"`
}

type route struct {
	Name   string            `json:"name"`
	Ports  []int32           `json:"ports,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
}

type block struct {
	base

	HTTPRoutes []route          `json:"httpRoutes,omitempty"`
	Drain      *route           `json:"drain,omitempty"`
	ByName     map[string]route `json:"byName,omitempty"`
	Anything   any              `json:"anything,omitempty"`
	Raw        json.RawMessage  `json:"raw,omitempty"`
	Hidden     string           `json:"-"`
}

func TestDecodeSaysWhereItIsWrong(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		raw  string
		want []string
	}{
		"a misspelled field in a list":        {`{"httpRoutes":[{"name":"a"},{"anme":"web"}]}`, []string{"httpRoutes[1].anme"}},
		"a field of the root":                 {`{"foo":1}`, []string{"foo"}},
		"several at once":                     {`{"foo":1,"drain":{"bar":2}}`, []string{"drain.bar", "foo"}},
		"a field behind a pointer":            {`{"drain":{"x":1}}`, []string{"drain.x"}},
		"a field in a map's value":            {`{"byName":{"a.b":{"x":1}}}`, []string{`byName["a.b"].x`}},
		"another case of letters":             {`{"HttpRoutes":[]}`, []string{"HttpRoutes"}},
		"a field hidden from JSON":            {`{"Hidden":"x"}`, []string{"Hidden"}},
		"a wrong type in a list":              {`{"httpRoutes":[{"name":"a"},{"name":7}]}`, []string{"httpRoutes[1].name"}},
		"a wrong type in a list of a list":    {`{"httpRoutes":[{"ports":[1]},{"ports":[1,2,"x"]}]}`, []string{"httpRoutes[1].ports[2]"}},
		"an object where a list should be":    {`{"httpRoutes":{"name":"a"}}`, []string{"httpRoutes"}},
		"a number out of range":               {`{"httpRoutes":[{"ports":[4294967296]}]}`, []string{"httpRoutes[0].ports[0]"}},
		"a wrong type after an object":        {`{"drain":{"name":"a"},"namespace":[]}`, []string{"namespace"}},
		"malformed JSON":                      {`{"httpRoutes":`, []string{""}},
		"two values":                          {`{} {}`, []string{""}},
		"a list at the root":                  {`[]`, []string{""}},
		"null at the root":                    {`null`, []string{""}},
		"a wrong type behind a list and keys": {`{"byName":{"a":{"labels":{"k":1}}}}`, []string{"byName.a.labels.k"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			value, err := config.Decode[block]([]byte(test.raw))
			require.Error(t, err)
			assert.Equal(t, test.want, slices.Sorted(maps.Keys(plugin.Violations(err))), "error: %v", err)
			assert.Equal(t, block{}, value)
		})
	}
}

func TestDecodeTakesWhatIsRight(t *testing.T) {
	t.Parallel()

	value, err := config.Decode[block]([]byte(`{"namespace":"shop","httpRoutes":[{"name":"web","labels":{"a.b/c":"d"}}],
		"anything":{"what":{"ever":1}},"raw":{"n":9007199254740993}}`))
	require.NoError(t, err)
	assert.Equal(t, "shop", value.Namespace)
	assert.Equal(t, []route{{Name: "web", Labels: map[string]string{"a.b/c": "d"}}}, value.HTTPRoutes)
	assert.JSONEq(t, `{"n":9007199254740993}`, string(value.Raw))

	empty, err := config.Decode[block](nil)
	require.NoError(t, err)
	assert.Equal(t, block{}, empty)

	pointer, err := config.Decode[*route]([]byte(`{"name":"web"}`))
	require.NoError(t, err)
	assert.Equal(t, "web", pointer.Name)
}

func TestDecodeProposesTheFieldThatWasMeant(t *testing.T) {
	t.Parallel()

	for _, key := range []string{"anme", "Name", "nam", "names", "nbme"} {
		_, err := config.Decode[route]([]byte(`{"` + key + `":"x"}`))
		assert.ErrorContains(t, err, `did you mean "name"?`, "key %q", key)
	}
	_, err := config.Decode[route]([]byte(`{"something":"x"}`))
	assert.NotContains(t, err.Error(), "did you mean")
}

func TestPath(t *testing.T) {
	t.Parallel()

	assert.Equal(t, "httpRoutes[0].name", config.Path("httpRoutes", 0, "name"))
	assert.Equal(t, `labels["app.kubernetes.io/name"]`, config.Path("labels", "app.kubernetes.io/name"))
	assert.Empty(t, config.Path())
}
