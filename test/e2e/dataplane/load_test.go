package dataplane

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ask makes one request and returns the version that answered.
type ask func(ctx context.Context) (version string, err error)

// overHTTP asks with a header, over connections that are kept.
func overHTTP(dial func(context.Context, string, string) (net.Conn, error), url, host string, header http.Header) ask {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64}}

	return func(ctx context.Context) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return "", err
		}
		request.Host = host
		for key, values := range header {
			request.Header[key] = values
		}
		response, err := client.Do(request)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
		if err != nil {
			return "", err
		}
		if response.StatusCode != http.StatusOK {
			return "", fmt.Errorf("status %d: %.80s", response.StatusCode, body)
		}

		return versionIn(body)
	}
}

func versionIn(body []byte) (string, error) {
	var answer struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Version == "" {
		return "", fmt.Errorf("no version in the answer %.80q", body)
	}

	return answer.Version, nil
}

// count makes n requests, eight at a time, and returns how many each version
// answered. A request that fails fails the test.
func count(t testing.TB, n int, request ask) map[string]int {
	t.Helper()
	var (
		mu    sync.Mutex
		by    = map[string]int{}
		first error
		group sync.WaitGroup
	)
	const workers = 8
	for range workers {
		group.Go(func() {
			for range n / workers {
				version, err := request(t.Context())
				mu.Lock()
				if err != nil && first == nil {
					first = err
				}
				by[version]++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	require.NoError(t, first)

	return by
}

// counting is count with the request.
func counting(t testing.TB, request ask) func(n int) map[string]int {
	return func(n int) map[string]int { return count(t, n, request) }
}

// load sends requests at a rate until it is stopped.
type load struct {
	started time.Time
	stop    context.CancelFunc
	done    sync.WaitGroup

	mu     sync.Mutex
	sent   int
	failed []string
}

// run starts a load of rate requests a second.
func run(request ask, rate int) *load {
	ctx, stop := context.WithCancel(context.Background())
	l := &load{started: time.Now(), stop: stop}
	const workers = 24
	ticks := make(chan struct{}, rate)
	l.done.Go(func() {
		defer close(ticks)
		var due int
		for ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
			for want := int(time.Since(l.started).Seconds() * float64(rate)); due < want; due++ {
				select {
				case ticks <- struct{}{}:
				default: // All workers are busy, and have a second's work waiting.
				}
			}
		}
	})
	for range workers {
		l.done.Go(func() {
			for range ticks {
				_, err := request(context.Background())
				l.mu.Lock()
				l.sent++
				if err != nil {
					l.failed = append(l.failed, fmt.Sprintf("%s: %v", time.Since(l.started).Round(time.Millisecond), err))
				}
				l.mu.Unlock()
			}
		})
	}

	return l
}

// end stops the load and says how it went.
func (l *load) end() (sent int, rate float64, failed []string) {
	took := time.Since(l.started)
	l.stop()
	l.done.Wait()

	return l.sent, float64(l.sent) / took.Seconds(), l.failed
}
