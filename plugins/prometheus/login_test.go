package main

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
)

// asked is what a server saw of a request.
type asked struct {
	authorization string
	header        http.Header
	form          map[string][]string
	path          string
}

func recorder(t *testing.T) (address string, seen *[]asked) {
	t.Helper()
	seen = &[]asked{}

	return listen(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		*seen = append(*seen, asked{r.Header.Get("Authorization"), r.Header, r.Form, r.URL.Path})
		_, _ = w.Write([]byte(success("scalar", `[1,"7"]`)))
	}), seen
}

func TestBasicAuth(t *testing.T) {
	address, seen := recorder(t)
	m := measure(t, map[string]any{"address": address, "authentication": map[string]any{"basicAuth": map[string]any{"username": "me", "password": "hunter2"}}})
	assert.Equal(t, metricprovider.Scalar(7), m.Outcome)
	require.Len(t, *seen, 1)
	assert.Equal(t, "Basic "+base64.StdEncoding.EncodeToString([]byte("me:hunter2")), (*seen)[0].authorization)
}

func TestCredentialsStayWhereTheAuthorSentThem(t *testing.T) {
	elsewhere, seen := recorder(t)
	// Another name of the same machine is another host.
	elsewhere = strings.Replace(elsewhere, "127.0.0.1", "127.0.0.2", 1)
	address := listen(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	})
	measure(t, map[string]any{"address": address, "authentication": map[string]any{"basicAuth": map[string]any{"username": "me", "password": "hunter2"}}})
	for _, a := range *seen {
		assert.Empty(t, a.authorization)
	}
}

func TestOAuth2(t *testing.T) {
	address, seen := recorder(t)
	var grant map[string][]string
	tokens := listen(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		grant = r.Form
		user, password, _ := r.BasicAuth()
		if user != "client" || password != "hunter2" {
			http.Error(w, "hunter2 is wrong", http.StatusUnauthorized)

			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"token","token_type":"Bearer","expires_in":3600}`))
	})
	login := func(secret string) map[string]any {
		return map[string]any{"address": address, "authentication": map[string]any{
			"oauth2": map[string]any{"tokenUrl": tokens, "clientId": "client", "clientSecret": secret, "scopes": []string{"read", "metrics"}}}}
	}
	assert.Equal(t, metricprovider.Scalar(7), measure(t, login("hunter2")).Outcome)
	assert.Equal(t, []string{"read metrics"}, grant["scope"])
	require.Len(t, *seen, 1)
	assert.Equal(t, "Bearer token", (*seen)[0].authorization)

	failure, ok := measure(t, login("hunter3")).Outcome.(metricprovider.Failure)
	require.True(t, ok)
	assert.Contains(t, failure.Message, "authentication failed: the token server answered 401 Unauthorized")
	assert.NotContains(t, failure.Message, "hunter")
	assert.Len(t, *seen, 1, "nobody is asked without the token")
}

func TestSigV4(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	address, seen := recorder(t)
	auth := map[string]any{"sigv4": map[string]any{"region": "eu-central-1"}}
	measure(t, map[string]any{"address": address, "authentication": auth})
	m := measure(t, map[string]any{"address": address + "/aps-workspaces/ws-1", "authentication": auth})
	assert.Equal(t, metricprovider.Scalar(7), m.Outcome)
	require.Len(t, *seen, 2)
	assert.Empty(t, (*seen)[0].authorization, "the address is not Amazon's")
	assert.Contains(t, (*seen)[1].authorization, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
	assert.Contains(t, (*seen)[1].authorization, "/eu-central-1/aps/aws4_request")
}

func TestRangeQuery(t *testing.T) {
	var seen []asked
	address := listen(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		seen = append(seen, asked{form: r.Form, path: r.URL.Path})
		_, _ = w.Write([]byte(success("matrix", `[{"metric":{"a":"1"},"values":[[1,"1"],[2,"2"]]},{"metric":{"a":"2"},"values":[[1,"3"]]}]`)))
	})
	m := measure(t, map[string]any{"address": address, "rangeQuery": map[string]any{"start": `now() - duration("5m")`, "end": "now()", "step": "1m"}})
	assert.Equal(t, metricprovider.Vector{1, 2, 3}, m.Outcome)
	require.Len(t, seen, 1)
	assert.Equal(t, "/api/v1/query_range", seen[0].path)
	assert.Equal(t, []string{"60"}, seen[0].form["step"])

	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	covered, err := must(t, `now() - duration("5m")`, `date("2026-01-02T03:04:05Z")`).at(now)
	require.NoError(t, err)
	assert.Equal(t, 5*time.Minute, covered.End.Sub(covered.Start))

	_, err = must(t, "now()", `now() - duration("1s")`).at(now)
	assert.ErrorContains(t, err, "ends before it starts")
	_, err = must(t, `"now"`, "now()").at(now)
	assert.ErrorContains(t, err, "rangeQuery.start is a string: want a time")
}

func must(t *testing.T, start, end string) *span {
	t.Helper()
	s, err := parseSpan(&rangeQuery{Start: start, End: end, Step: "1d"})
	require.NoError(t, err)

	return s
}

// TestHostileSpans: an expression for a time has nothing to loop, grow or look with.
func TestHostileSpans(t *testing.T) {
	for _, source := range []string{
		`repeat("x", 1000000000)`, `map(1..1000000000, # * #)`, `filter(1..10, true)`, `reduce(1..10, # + #acc)`, `sum(1..9)`,
		`len(1..1000000000)`, `toJSON(1)`, `fromJSON("1")`, `$env`, `now().Sub`, `string(now())`, `join(["a"], "b")`, `sort([1])`,
		strings.Repeat("(", 600) + "now()" + strings.Repeat(")", 600), strings.Repeat("1+", 200) + "1",
	} {
		s, err := parseSpan(&rangeQuery{Start: source, End: "now()", Step: "1m"})
		if err == nil {
			_, err = s.at(time.Now())
		}
		assert.Error(t, err, cut(source, 40))
	}
}

func TestLoopbackIsRefused(t *testing.T) {
	address, seen := recorder(t)
	m, err := newProvider().Measure(t.Context(), &metricprovider.MeasureRequest{Config: block(t, map[string]any{"address": address})})
	require.NoError(t, err)
	failure, ok := m.Outcome.(metricprovider.Failure)
	require.True(t, ok)
	assert.Contains(t, failure.Message, "127.0.0.1 is loopback; an administrator can list it under egress.allow")
	assert.Empty(t, *seen)
}
