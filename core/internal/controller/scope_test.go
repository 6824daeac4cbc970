package controller

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// With --namespaced nothing outside the controller's namespace is looked at;
// with an instance id only what carries it, and without one only what carries
// none.
func TestScope(t *testing.T) {
	labelled := labels.Set{v1alpha1.LabelInstanceID: "blue"}
	for _, tt := range []struct {
		id             string
		labelled, bare bool
	}{{"", false, true}, {"blue", true, false}, {"green", false, false}} {
		mine, err := instance(tt.id)
		require.NoError(t, err)
		assert.Equal(t, tt.labelled, mine.Matches(labelled), tt.id)
		assert.Equal(t, tt.bare, mine.Matches(labels.Set{}), tt.id)
		assert.Nil(t, cacheOptions(Options{Namespace: "sluice"}, mine).DefaultNamespaces)
		assert.Equal(t, map[string]cache.Config{"sluice": {}}, cacheOptions(Options{Namespace: "sluice", Namespaced: true}, mine).DefaultNamespaces)
	}
}
