package load

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/test/demo/internal/measure"
)

func newLoad(t *testing.T, handler http.HandlerFunc) *Load {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	var clock atomic.Int64
	return New(Config{
		URL: server.URL, Host: "app.example", Rate: 1000, Workers: 3, Timeout: time.Minute,
		Clock: func() time.Duration { return time.Duration(clock.Add(1)) },
	})
}

func TestRequestsTellWhoAnsweredAndWhatFailed(t *testing.T) {
	cases := map[string]struct {
		code          int
		body          string
		revision, bad string
	}{
		"answered":                {200, `{"pod":"p","hash":"abc"}`, "abc", ""},
		"an error of the app":     {500, `{"hash":"abc","error":"on purpose"}`, "abc", "status 500"},
		"an error of the gateway": {502, "Bad Gateway", "", "status 502"},
		"no app of ours":          {200, "hello", "", `no pod hash in the answer "hello"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := newLoad(t, func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, "app.example", r.Host)
				w.WriteHeader(c.code)
				_, _ = w.Write([]byte(c.body))
			})
			assert.Equal(t, measure.Request{Start: 1, Revision: c.revision, Problem: c.bad}, l.send(t.Context()))
		})
	}
}

func TestARequestThatBreaksIsAFailedOne(t *testing.T) {
	l := newLoad(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	q := l.send(t.Context())
	assert.Contains(t, q.Problem, "EOF")
	assert.Empty(t, q.Revision)
}

func TestRunSendsUntilStoppedAndFinishesWhatItBegan(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var begun, ended atomic.Int64
	release := make(chan struct{})
	l := newLoad(t, func(w http.ResponseWriter, _ *http.Request) {
		if begun.Add(1) > 5 {
			// All workers wait here while Run is stopped.
			<-release
		}
		ended.Add(1)
		_, _ = w.Write([]byte(`{"hash":"abc"}`))
	})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		l.Run(ctx)
	}()
	require.Eventually(t, func() bool { return begun.Load() == 5+3 }, time.Minute, time.Millisecond)
	stop()
	close(release)
	<-finished
	assert.EqualValues(t, 8, ended.Load(), "no more than one request per worker is under way")
	require.Len(t, l.Requests(), 8)
	for _, q := range l.Requests() {
		assert.Empty(t, q.Problem)
	}
}

func TestAwaitServing(t *testing.T) {
	var asked atomic.Int64
	l := newLoad(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(`{"hash":"abc"}`))
	})
	require.NoError(t, l.AwaitServing(t.Context()))
	assert.EqualValues(t, 3, asked.Load())
	assert.Empty(t, l.Requests())

	never := newLoad(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, never.AwaitServing(ctx), context.DeadlineExceeded)
}
