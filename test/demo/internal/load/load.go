// Package load sends requests at a steady rate and remembers what became of
// each.
package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sluice-rollouts/sluice/test/demo/internal/measure"
)

// Config says what to send, and to whom.
type Config struct {
	// URL to get; Host is the host name to ask for.
	URL, Host string
	// Dial connects to the gateway; nil means directly.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Rate is requests a second, sent by Workers that wait for their answers: no
	// more than that are under way at once.
	Rate, Workers int
	// Timeout bounds one request.
	Timeout time.Duration
	// Clock says how long the demo has been running.
	Clock func() time.Duration
}

// Load sends requests. Its methods may be called from several goroutines.
type Load struct {
	cfg    Config
	client *http.Client

	mu   sync.Mutex
	done []measure.Request
}

// New returns a Load that has not sent anything yet.
func New(cfg Config) *Load {
	transport := &http.Transport{DialContext: cfg.Dial, MaxIdleConnsPerHost: cfg.Workers}
	return &Load{cfg: cfg, client: &http.Client{Transport: transport, Timeout: cfg.Timeout}}
}

// AwaitServing waits until the gateway answers with a success. Its requests are
// not remembered: before the first success there is nothing to measure.
func (l *Load) AwaitServing(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		q := l.send(ctx)
		if q.Problem == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s to serve %s: %s: %w", l.cfg.URL, l.cfg.Host, q.Problem, ctx.Err())
		case <-tick.C:
		}
	}
}

// Run sends until ctx ends. Requests under way then are finished.
func (l *Load) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second / time.Duration(l.cfg.Rate))
	defer tick.Stop()
	defer l.client.CloseIdleConnections()
	var workers sync.WaitGroup
	for range l.cfg.Workers {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				// One worker gets the tick. When all are busy it is lost, so that a
				// slow gateway is not sent a backlog.
				case <-tick.C:
				}
				if ctx.Err() != nil {
					return // of two that are ready, select takes any
				}
				q := l.send(context.WithoutCancel(ctx))
				l.mu.Lock()
				l.done = append(l.done, q)
				l.mu.Unlock()
			}
		})
	}
	workers.Wait()
}

// Requests returns the requests that are finished, in the order in which they
// finished. The caller must not change them.
func (l *Load) Requests() []measure.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done[:len(l.done):len(l.done)]
}

// send makes one request.
func (l *Load) send(ctx context.Context) measure.Request {
	q := measure.Request{Start: l.cfg.Clock()}
	var err error
	if q.Revision, err = l.get(ctx); err != nil {
		q.Problem = err.Error()
	}
	return q
}

// get returns the pod hash of who answered; with an error if it is known.
func (l *Load) get(ctx context.Context) (revision string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.cfg.URL, nil)
	if err != nil {
		return "", err
	}
	request.Host = l.cfg.Host
	response, err := l.client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return "", err
	}
	var answer struct {
		Hash string `json:"hash"`
	}
	// An answer of the gateway itself is no JSON.
	_ = json.Unmarshal(body, &answer)
	if response.StatusCode/100 != 2 {
		return answer.Hash, fmt.Errorf("status %d", response.StatusCode)
	}
	if answer.Hash == "" {
		return "", fmt.Errorf("no pod hash in the answer %.80q", body)
	}
	return answer.Hash, nil
}
