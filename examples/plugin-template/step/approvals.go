package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"

	"github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// settings are the `config` of the plugin's entry in the ConfigMap. The administrator chooses the address, so no guard is
// needed. Secrets do not belong in a ConfigMap: the token comes from the environment, which the entry's `env` passes.
type settings struct {
	// URL of the service. Required.
	URL string `json:"url"`
}

const tokenVariable = "APPROVALS_TOKEN"

// service is the approval service. PUT with an ID is idempotent there; one that only has POST would take the ID in a field
// and refuse a second one.
type service struct {
	settings atomic.Pointer[settings]
	client   http.Client
}

// configure is called before the first call and again when the ConfigMap changes. On an error the old settings stay.
func (s *service) configure(_ context.Context, raw []byte) error {
	given, err := config.Decode[settings](raw)
	if err != nil {
		return err
	}
	if at, err := url.Parse(given.URL); err != nil || at.Host == "" {
		return plugin.InvalidConfig("url", "want the address of the approval service, got %q", given.URL)
	}
	s.settings.Store(&given)

	return nil
}

// request is an approval as the service tells it.
type request struct {
	Status string `json:"status"`
	By     string `json:"by"`
}

// request asks for an approval under an ID, or how it is going if it was asked for before.
func (s *service) request(ctx context.Context, b block, id, rollout string) (request, error) {
	body, err := json.Marshal(map[string]string{"rollout": rollout, "note": b.Note})
	if err != nil {
		return request{}, err
	}
	var r request
	err = s.call(ctx, http.MethodPut, b, id, body, &r)

	return r, err
}

// withdraw ends a request. One the service does not know is withdrawn.
func (s *service) withdraw(ctx context.Context, b block, id string) error {
	return s.call(ctx, http.MethodDelete, b, id, nil, nil)
}

// call sorts what can go wrong by what helps: Retry goes away by itself, Blocked needs somebody.
func (s *service) call(ctx context.Context, method string, b block, id string, body []byte, into any) error {
	at := s.settings.Load().URL + "/queues/" + url.PathEscape(b.Queue) + "/requests/" + url.PathEscape(id)
	req, err := http.NewRequestWithContext(ctx, method, at, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if token := os.Getenv(tokenVariable); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := s.client.Do(req)
	if err != nil {
		return plugin.Retry(again, "asking the approval service: %v", err)
	}
	defer answer.Body.Close()
	switch code := answer.StatusCode; {
	case code == http.StatusNotFound && method == http.MethodDelete:
		return nil
	case code >= http.StatusInternalServerError, code == http.StatusTooManyRequests:
		return plugin.Retry(again, "the approval service answered %s", answer.Status)
	case code >= http.StatusBadRequest:
		return plugin.Blocked("the approval service refuses the request for queue %q: %s", b.Queue, answer.Status)
	case into == nil:
		return nil
	}
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		return fmt.Errorf("reading the approval service's answer: %w", err)
	}

	return nil
}
