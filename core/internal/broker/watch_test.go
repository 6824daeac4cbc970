package broker

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// An API server that fails is no reason to give up, nor to call the need
// refused: it is named, and the need syncs when the server is back. Where a
// server answers 403 for a while, what was known before is not used.
func TestAFailingAPIServerIsWaitedFor(t *testing.T) {
	var status atomic.Int32
	status.Store(http.StatusInternalServerError)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if code := int(status.Load()); code != http.StatusOK {
			w.WriteHeader(code)
			_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"etcd is away","reason":"` + http.StatusText(code) + `","code":500}`))
			return
		}
		if r.URL.Query().Get("watch") != "" {
			if r.URL.Query().Get("sendInitialEvents") != "" {
				w.WriteHeader(http.StatusUnprocessableEntity)
				return
			}
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		assert.Equal(t, "metadata.name=web", r.URL.Query().Get("fieldSelector"))
		_, _ = w.Write([]byte(`{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","namespace":"shop","resourceVersion":"7"}}]}`))
	}))
	defer server.Close()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := make(chan string, 100)
	client, err := dynamic.NewForConfig(&rest.Config{Host: server.URL})
	require.NoError(t, err)
	b := New(Options{Client: client, Discovery: oneKind{}, Notify: func(s string) { told <- s }})
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()

	grant, need := all("", "ConfigMap"), []rollout.Need{named("", "ConfigMap", "v1", "shop", "web")}
	ask := func() rollout.NeedResult { return b.Resolve(caller("shop"), "me", grant, need)[0] }
	ask()
	assert.Equal(t, "me", <-told)
	assert.Equal(t, rollout.NeedSyncing, ask().State)
	assert.Contains(t, ask().Message, "reading ConfigMap shop/web: failed to list ConfigMap shop/web: etcd is away")

	status.Store(http.StatusOK)
	assert.Equal(t, "me", <-told)
	require.Equal(t, rollout.NeedSynced, ask().State)
	assert.Equal(t, "7", ask().Objects[0].ResourceVersion)

	status.Store(http.StatusForbidden)
	server.CloseClientConnections()
	assert.Equal(t, "me", <-told)
	assert.Equal(t, rollout.NeedForbidden, ask().State)
	assert.Empty(t, ask().Objects)
	cancel()
	require.NoError(t, <-done)
}
