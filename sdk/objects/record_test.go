package objects_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/objects"
)

func TestARecordIsOneOwnersAndGoesWithoutATrace(t *testing.T) {
	type mine struct {
		Services []string `json:"services"`
	}
	const key = "test.sluice.dev/owned"
	o, err := objects.Parse([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}`))
	require.NoError(t, err)
	assert.Empty(t, objects.Record[mine](o, key, "shop/web"))

	require.NoError(t, objects.SetRecord(o, key, "shop/web", mine{[]string{"a"}}))
	require.NoError(t, objects.SetRecord(o, key, "shop/api", mine{[]string{"b"}}))
	assert.Equal(t, mine{[]string{"a"}}, objects.Record[mine](o, key, "shop/web"))
	assert.Equal(t, mine{[]string{"b"}}, objects.Record[mine](o, key, "shop/api"))

	copied, err := o.Copy()
	require.NoError(t, err)
	require.NoError(t, objects.SetRecord(o, key, "shop/web", nil))
	require.NoError(t, objects.SetRecord(o, key, "shop/api", nil))
	require.NoError(t, objects.SetRecord(o, key, "nobody", nil))
	_, changed, err := o.Update()
	require.NoError(t, err)
	assert.False(t, changed, "as it was before the first record")
	assert.Equal(t, mine{[]string{"a"}}, objects.Record[mine](copied, key, "shop/web"), "a copy has a life of its own")

	o.Set("{not json", "metadata", "annotations", key)
	assert.Empty(t, objects.Record[mine](o, key, "shop/web"))
}

func TestOwnedByItsController(t *testing.T) {
	owned := func(owners string) bool {
		o, err := objects.Parse([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","ownerReferences":` + owners + `}}`))
		require.NoError(t, err)

		return o.OwnedBy("u1")
	}
	assert.True(t, owned(`[{"uid":"u0","controller":false},{"uid":"u1","controller":true}]`))
	assert.False(t, owned(`[{"uid":"u1"}]`))
	assert.False(t, owned(`[{"uid":"u2","controller":true}]`))
	assert.False(t, owned(`null`))
}
