package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	goauth2 "golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"k8s.io/client-go/util/jsonpath"

	"github.com/sluice-rollouts/sluice/sdk/egress"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
)

// errAnswer is wrapped by everything that is wrong with an answer, in words that may be shown.
var errAnswer = errors.New("")

func answerf(format string, args ...any) error {
	return fmt.Errorf("%w"+format, append([]any{errAnswer}, args...)...)
}

// ask sends the request and takes the value out of the answer.
func (p *provider) ask(ctx context.Context, r request) (metricprovider.Outcome, error) {
	client := p.guard.Client(egress.Options{Timeout: r.timeout, Insecure: r.insecure})
	login, err := token(ctx, r, client)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, answerf("the request cannot be made")
	}
	for _, h := range r.headers {
		req.Header.Set(h.Key, h.Value)
		if http.CanonicalHeaderKey(h.Key) == "Host" {
			req.Host = h.Value
		}
	}
	if r.isJSON {
		req.Header.Set("Content-Type", "application/json")
	}
	if login != nil {
		login.SetAuthHeader(req)
	}
	resp, err := strictly(client, req).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		// Without the body: it may repeat what was sent, and nothing but the value is kept.
		return nil, answerf("received non 2xx response code: %d", resp.StatusCode)
	}

	return extract(body, r.path)
}

// strictly does not take the author's headers to another host or out of TLS with a redirect: http.Client keeps only some of
// them back, and any of them may be a credential. A request with a body is not repeated elsewhere at all.
func strictly(client *http.Client, first *http.Request) *http.Client {
	follow, strict := client.CheckRedirect, *client
	strict.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		same := req.URL.Hostname() == first.URL.Hostname() && (req.URL.Scheme == first.URL.Scheme || req.URL.Scheme == "https")
		if !same {
			if req.ContentLength > 0 {
				return answerf("a redirect would send the body to another host")
			}
			req.Header = http.Header{}
		}

		return follow(req, via)
	}

	return &strict
}

// token is nil without a login. What the server answers instead of a token is not repeated.
func token(ctx context.Context, r request, client *http.Client) (*goauth2.Token, error) {
	if r.login.empty() {
		return nil, nil //nolint:nilnil // nobody logs in
	}
	asking := *client
	asking.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	got, err := (&clientcredentials.Config{
		ClientID: r.login.ClientID, ClientSecret: r.login.ClientSecret, TokenURL: r.login.TokenURL, Scopes: r.login.Scopes,
	}).Token(context.WithValue(ctx, goauth2.HTTPClient, &asking))
	var answered *goauth2.RetrieveError
	if errors.As(err, &answered) {
		return nil, answerf("authentication failed: the token server answered %s %s", answered.Response.Status, cut(oneLine(answered.ErrorCode), maxDetail))
	}

	return got, err
}

// extract takes the first value the path finds. An answer that is no JSON is a text, whatever the path, as with Argo. The
// numbers of a document are kept as written: the core decodes them.
func extract(body []byte, path *jsonpath.JSONPath) (metricprovider.Outcome, error) {
	var document any
	if err := json.Unmarshal(body, &document); err != nil {
		return metricprovider.Text(body), nil //nolint:nilerr // a text is a value too
	}
	found, err := path.FindResults(document)
	if err != nil {
		return nil, answerf("could not find the JSONPath in the answer: %s", cut(oneLine(err.Error()), maxDetail))
	}
	for _, hits := range found {
		for _, hit := range hits {
			if !hit.IsValid() || !hit.CanInterface() {
				continue
			}
			raw, err := json.Marshal(hit.Interface())
			if err != nil {
				return nil, answerf("what the JSONPath finds is no JSON")
			}

			return metricprovider.JSON(raw), nil
		}
	}

	return nil, answerf("the JSONPath finds nothing in the answer")
}
