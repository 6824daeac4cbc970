package plugins

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// store is a server of plugins.
type store struct {
	*httptest.Server
	served atomic.Int32
	answer atomic.Pointer[http.HandlerFunc]
}

func newStore(t *testing.T, answer http.HandlerFunc) *store {
	s := &store{}
	s.answer.Store(&answer)
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.served.Add(1)
		(*s.answer.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *store) fetcher(t *testing.T) *fetcher {
	return &fetcher{
		dir: filepath.Join(t.TempDir(), "cache"), transport: s.Client().Transport, size: 1 << 10, time: time.Minute,
		secrets: func(_ context.Context, name string) (map[string][]byte, error) {
			if name != "token" {
				return nil, fmt.Errorf("secret %q not found", name)
			}
			return map[string][]byte{"Authorization": []byte("Bearer x"), "X-Key": []byte("hush")}, nil
		},
	}
}

func entryAt(url, content string) *entry {
	sum := sha256.Sum256([]byte(content))
	return &entry{url: url, sha256: sum[:]}
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

func TestDownload(t *testing.T) {
	s := newStore(t, says("good"))
	f := s.fetcher(t)
	e := entryAt(s.URL, "good")
	get := func() (string, error) { return f.get(context.Background(), e, t.TempDir()) }
	path, err := get()
	require.NoError(t, err)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "good", string(data))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.EqualValues(t, 0o700, info.Mode().Perm())

	_, err = get()
	require.NoError(t, err)
	assert.EqualValues(t, 1, s.served.Load(), "what was downloaded is kept")
	files, err := filepath.Glob(filepath.Join(f.dir, "*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, os.WriteFile(files[0], []byte("evil"), 0o700))
	path, err = get()
	require.NoError(t, err)
	data, err = os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "good", string(data), "a damaged copy is not run")
	assert.EqualValues(t, 2, s.served.Load())

	e.unpinned = true
	_, err = get()
	require.NoError(t, err)
	assert.EqualValues(t, 3, s.served.Load(), "without a digest nothing tells whether it is still the same")
}

func TestDownloadsThatAreRefused(t *testing.T) {
	s := newStore(t, says("good"))
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"other bytes":       {says("evil"), "its sha256 is not the one"},
		"nothing there":     {http.NotFound, "404 Not Found"},
		"no content at all": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, "204 No Content"},
		"too large":         {says(strings.Repeat("x", 2<<10)), "it is larger than 0 MiB"},
		"cut short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("go"))
		}, "downloading it: "},
		"away from https": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://example.invalid/", http.StatusFound)
		}, "redirected away from https"},
		"in circles": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, "too many redirects"},
		"for ever":   {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			f := s.fetcher(t)
			if name == "for ever" {
				f.time = 50 * time.Millisecond
			}
			s.answer.Store(&c.answer)
			dir := t.TempDir()
			_, err := f.get(context.Background(), entryAt(s.URL, "good"), dir)
			require.ErrorContains(t, err, c.want)
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			assert.Empty(t, left, "nothing that could be run is left")
		})
	}
}

// The headers are for the host the administrator named, and nobody else.
func TestHeadersOfDownloads(t *testing.T) {
	var got []string
	note := func(r *http.Request) {
		got = append(got, r.Header.Get("Authorization")+" "+r.Header.Get("X-Key"))
	}
	other := newStore(t, func(w http.ResponseWriter, r *http.Request) {
		note(r)
		_, _ = w.Write([]byte("good"))
	})
	s := newStore(t, func(w http.ResponseWriter, r *http.Request) {
		note(r)
		http.Redirect(w, r, other.URL, http.StatusFound)
	})
	f := s.fetcher(t)
	e := entryAt(s.URL, "good")
	e.headersFrom = []string{"token"}
	_, err := f.get(context.Background(), e, t.TempDir())
	require.NoError(t, err)
	assert.Equal(t, []string{"Bearer x hush", " "}, got)

	e = entryAt(s.URL+"/x", "other")
	e.headersFrom = []string{"none"}
	_, err = f.get(context.Background(), e, t.TempDir())
	require.ErrorContains(t, err, `headersFrom: secret "none" not found`)
}

// A listed https:// plugin starts when its file can be had, and a server that is
// away holds up nobody but its users.
func TestDownloadedPlugin(t *testing.T) {
	data, err := os.ReadFile(evil)
	require.NoError(t, err)
	s := newStore(t, http.NotFound)
	w := newWorld(t, nil, "other")
	w.fetch = s.fetcher(t)
	w.fetch.size = maxPluginFile
	w.SetConfig(list(fmt.Sprintf("{name: acme/router, location: '%s/router', sha256: %s}", s.URL, digest(t, evil))))
	_ = w.problemOf("acme/router", "404 Not Found")
	mustObserve(w, "other")
	there := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
	s.answer.Store(&there)
	w.eventually("the plugin", func() bool { return w.State("acme/router") == StateReady })
	mustObserve(w, "acme/router")
}
