package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/sigv4"
	goauth2 "golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// errLogin is wrapped by everything that keeps a request from being made in the author's name.
var errLogin = errors.New("authentication failed")

// login puts the metric's authentication in front of the transport. Nothing of it goes where a redirect leads, unless the
// author sent the request there; see trusts.
func login(ctx context.Context, r request, next http.RoundTripper) (http.RoundTripper, error) {
	switch auth := r.login; {
	case auth.BasicAuth != basicAuth{}:
		return loggedIn{r, next, func(req *http.Request) { req.SetBasicAuth(auth.BasicAuth.Username, auth.BasicAuth.Password) }}, nil
	case !auth.OAuth2.empty():
		token, err := fetchToken(ctx, auth.OAuth2, next)
		if err != nil {
			return nil, err
		}

		return loggedIn{r, next, token.SetAuthHeader}, nil
	case r.signed():
		signing, err := sigv4.NewSigV4RoundTripper(&sigv4.SigV4Config{
			Region: auth.SigV4.Region, Profile: auth.SigV4.Profile, RoleARN: auth.SigV4.RoleARN,
		}, next)
		if err != nil {
			return nil, fmt.Errorf("%w: signing for AWS: %w", errLogin, err)
		}

		return signed{r, next, signing}, nil
	}

	return next, nil
}

// signed says whether requests are signed: Argo's rule, so that a block left over from another address does nothing.
func (r request) signed() bool {
	return r.login.SigV4 != (sigV4{}) && strings.Contains(r.address.String(), "aps-workspaces")
}

// fetchToken gets a token through the same transport, so that its address is checked as well. What the server answers
// instead of a token is not repeated: it may hold what was sent.
func fetchToken(ctx context.Context, c oauth2, next http.RoundTripper) (*goauth2.Token, error) {
	ctx = context.WithValue(ctx, goauth2.HTTPClient, &http.Client{Transport: next, CheckRedirect: noRedirect})
	token, err := (&clientcredentials.Config{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret, TokenURL: c.TokenURL, Scopes: c.Scopes,
	}).Token(ctx)
	var answered *goauth2.RetrieveError
	switch {
	case errors.As(err, &answered):
		return nil, fmt.Errorf("%w: the token server answered %s %s", errLogin, answered.Response.Status, cut(oneLine(answered.ErrorCode), maxDetail))
	case err != nil:
		return nil, fmt.Errorf("%w: asking for a token: %w", errLogin, err)
	}

	return token, nil
}

// noRedirect: client credentials go where the author wrote and nowhere else.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// loggedIn adds credentials to a request the author sent.
type loggedIn struct {
	request request
	next    http.RoundTripper
	add     func(*http.Request)
}

// RoundTrip implements http.RoundTripper.
func (l loggedIn) RoundTrip(req *http.Request) (*http.Response, error) {
	if l.request.trusts(req) {
		req = req.Clone(req.Context())
		l.add(req)
	}

	return l.next.RoundTrip(req)
}

// signed signs a request the author sent.
type signed struct {
	request       request
	next, signing http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (s signed) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.request.trusts(req) {
		return s.signing.RoundTrip(req)
	}

	return s.next.RoundTrip(req)
}
