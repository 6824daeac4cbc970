package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
	"github.com/sluice-rollouts/sluice/test/devcluster"
)

// stored keeps a stage's objects in a real API server, which validates, prunes and defaults them.
type stored struct {
	*stage

	client dynamic.Interface
}

var resources = map[string]apischema.GroupVersionResource{
	"Ingress":            {Group: ingressGroup, Version: "v1", Resource: "ingresses"},
	"VirtualServer":      {Group: serverGroup, Version: "v1", Resource: "virtualservers"},
	"VirtualServerRoute": {Group: serverGroup, Version: "v1", Resource: "virtualserverroutes"},
}

// sync writes what the stage has done, and shows it what the API server made of it.
func (s stored) sync(ctx context.Context) {
	s.t.Helper()
	for _, wrote := range s.wrote {
		verb, key, _ := strings.Cut(wrote, " ")
		kind, name, _ := strings.Cut(key, "/")
		resource := s.client.Resource(resources[kind]).Namespace("shop")
		if verb == "delete" {
			require.NoError(s.t, resource.Delete(ctx, name, metav1.DeleteOptions{}))

			continue
		}
		o := &unstructured.Unstructured{}
		require.NoError(s.t, json.Unmarshal(s.objects[key], o))
		var err error
		if verb == "create" {
			o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "web", UID: "rollout-uid", Controller: new(true)}})
			o, err = resource.Create(ctx, o, metav1.CreateOptions{FieldValidation: "Strict"})
		} else {
			o, err = resource.Update(ctx, o, metav1.UpdateOptions{FieldValidation: "Strict"})
		}
		require.NoError(s.t, err, wrote)
		s.objects[key], err = o.MarshalJSON()
		require.NoError(s.t, err)
	}
}

// The API server takes what the plugin writes, and gives back what the plugin recognises: no state is ever written twice.
func TestOnARealAPIServer(t *testing.T) {
	if testing.Short() {
		t.Skip("needs an API server")
	}
	cluster, err := devcluster.Start(t.Context(), devcluster.Options{APIServerOnly: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Stop()) })
	crds, err := os.ReadFile(filepath.Join("testdata", "crds.yaml"))
	require.NoError(t, err)
	require.NoError(t, cluster.Apply(t.Context(), string(crds), `{apiVersion: v1, kind: Namespace, metadata: {name: shop}}`))
	client, err := dynamic.NewForConfig(cluster.Config())
	require.NoError(t, err)

	testers := header("testers", "X-Test", trafficrouter.MatchPrefix, "can.")
	for name, config := range map[string]string{"ingress-nginx": byIngress, "F5": byServer} {
		t.Run(name, func(t *testing.T) {
			s := stored{newStage(t, config), client}
			for _, file := range []string{"ingress.json", "server.json", "serverroute.json"} {
				o := &unstructured.Unstructured{}
				require.NoError(t, json.Unmarshal(manifest(t, file), o))
				resource := client.Resource(resources[o.GetKind()]).Namespace("shop")
				require.EventuallyWithT(t, func(c *assert.CollectT) {
					made, err := resource.Get(t.Context(), o.GetName(), metav1.GetOptions{})
					if err != nil {
						made, err = resource.Create(t.Context(), o, metav1.CreateOptions{FieldValidation: "Strict"})
					}
					if assert.NoError(c, err) {
						raw, err := made.MarshalJSON()
						assert.NoError(c, err)
						s.put(raw)
					}
				}, 30*time.Second, 50*time.Millisecond)
			}
			before := s.specs()
			require.NoError(t, s.validate(trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{testers}}))
			for _, want := range []trafficrouter.Traffic{traffic(0), traffic(0, testers), traffic(20, testers), traffic(55), traffic(100, testers), traffic(0)} {
				s.send(want)
				s.sync(t.Context())
				for _, at := range s.see().Observed {
					assert.False(t, at.Residue, at.Place)
					assert.Equal(t, want.Destinations, at.Traffic.Destinations, at.Place)
					assert.Equal(t, want.ManagedRoutes, at.Traffic.ManagedRoutes, at.Place)
				}
				assert.Empty(t, s.send(want), "a state that is reached is not written again")
			}
			s.send(traffic(30, testers))
			s.sync(t.Context())
			require.NoError(t, s.route(traffic(0), true))
			s.sync(t.Context())
			assert.Equal(t, before, s.specs(), "a release leaves nothing")
		})
	}
}

// specs are everything that is not the API server's.
func (s stored) specs() map[string]any {
	all := map[string]any{}
	for key := range s.objects {
		all[key] = []any{s.value(key, "spec"), s.value(key, "metadata", "annotations")}
	}

	return all
}
