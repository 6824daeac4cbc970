package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/egress"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

func listen(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)

	return server.URL
}

// serve answers every request with a status and a body.
func serve(t *testing.T, status int, body string) string {
	t.Helper()

	return listen(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

// permitted may ask the servers of these tests, as an administrator would have to allow it.
func permitted(t *testing.T) *provider {
	t.Helper()
	rules, err := egress.Parse([]string{"127.0.0.0/8"}, nil)
	require.NoError(t, err)
	p := newProvider()
	p.guard.Set(rules)

	return p
}

func measure(t *testing.T, c map[string]any) metricprovider.Outcome {
	t.Helper()
	raw, err := json.Marshal(c)
	require.NoError(t, err)
	m, err := permitted(t).Measure(t.Context(), &metricprovider.MeasureRequest{Config: raw})
	require.NoError(t, err)
	assert.Empty(t, m.Metadata)

	return m.Outcome
}

func TestMeasure(t *testing.T) {
	for name, tc := range map[string]struct {
		answer, path string
		want         metricprovider.Outcome
	}{
		"a value by its path":       {`{"data":{"ok":true,"rate":0.95}}`, "{$.data.rate}", metricprovider.JSON("0.95")},
		"the whole document":        {`{"a":[1,"x",null]}`, "", metricprovider.JSON(`{"a":[1,"x",null]}`)},
		"the first of several hits": {`{"items":[{"v":1},{"v":2}]}`, "{$.items[*].v}", metricprovider.JSON("1")},
		"a filter":                  {`{"items":[{"n":"a","v":1},{"n":"b","v":2}]}`, `{$.items[?(@.n=="b")].v}`, metricprovider.JSON("2")},
		"an object":                 {`{"a":{"b":1}}`, "{$.a}", metricprovider.JSON(`{"b":1}`)},
		"a JSON text":               {`"hello"`, "", metricprovider.JSON(`"hello"`)},
		"null":                      {`{"a":null,"b":1}`, "{$.b}", metricprovider.JSON("1")},
		"an answer that is no JSON": {"all good\n", "{$.ignored}", metricprovider.Text("all good\n")},
		"an empty answer":           {"", "", metricprovider.Text("")},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tc.want, measure(t, map[string]any{"url": serve(t, http.StatusOK, tc.answer), "jsonPath": tc.path}))
		})
	}
	assert.Equal(t, metricprovider.JSON("1"), measure(t, map[string]any{"url": serve(t, http.StatusCreated, "1")}), "any 2xx will do")
}

func TestMeasureFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		status     int
		body, path string
		want       string
	}{
		"HTTP 500":               {http.StatusInternalServerError, "token=hunter2", "", "received non 2xx response code: 500"},
		"HTTP 302 to nowhere":    {http.StatusFound, "", "", "received non 2xx response code: 302"},
		"nothing at the path":    {http.StatusOK, `{"a":1}`, "{$.b}", "could not find the JSONPath"},
		"an empty list of hits":  {http.StatusOK, `{"a":[]}`, "{$.a[*]}", "finds nothing"},
		"an answer beyond bound": {http.StatusOK, `"` + strings.Repeat("x", egress.DefaultMaxBody) + `"`, "", "larger than 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			address := serve(t, tc.status, tc.body)
			failure, ok := measure(t, map[string]any{"url": address + "/secret-path?q=hunter2", "jsonPath": tc.path}).(metricprovider.Failure)
			require.True(t, ok)
			assert.Contains(t, failure.Message, tc.want)
			assert.True(t, strings.HasPrefix(failure.Message, address+": "), failure.Message)
			assert.NotContains(t, failure.Message, "hunter2")
			assert.NotContains(t, failure.Message, "secret-path")
		})
	}
}

// TestTheRequest: what is sent is what the author wrote.
func TestTheRequest(t *testing.T) {
	var got *http.Request
	var body string
	address := listen(t, func(w http.ResponseWriter, r *http.Request) {
		raw := make([]byte, 1024)
		n, _ := r.Body.Read(raw)
		got, body = r, string(raw[:n])
		_, _ = w.Write([]byte("1"))
	})
	headers := []map[string]string{{"key": "X-Token", "value": "a"}, {"key": "Host", "value": "checks.example"}}
	measure(t, map[string]any{"url": address, "headers": headers})
	assert.Equal(t, http.MethodGet, got.Method)
	assert.Equal(t, "a", got.Header.Get("X-Token"))
	assert.Equal(t, "checks.example", got.Host)

	measure(t, map[string]any{"url": address, "method": "POST", "body": "hello"})
	assert.Equal(t, http.MethodPost, got.Method)
	assert.Equal(t, "hello", body)

	measure(t, map[string]any{"url": address, "method": "PUT", "jsonBody": map[string]any{"a": []int{1}}})
	assert.Equal(t, http.MethodPut, got.Method)
	assert.JSONEq(t, `{"a":[1]}`, body)
	assert.Equal(t, "application/json", got.Header.Get("Content-Type"))
}

func TestHeadersDoNotFollowToAnotherHost(t *testing.T) {
	var seen []http.Header
	there := listen(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header)
		_, _ = w.Write([]byte("1"))
	})
	here := listen(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(there, "127.0.0.1", "localhost.example", 1), http.StatusTemporaryRedirect)
	})
	headers := []map[string]string{{"key": "X-Token", "value": "hunter2"}}
	failure, ok := measure(t, map[string]any{"url": here, "headers": headers, "method": "POST", "body": "secret"}).(metricprovider.Failure)
	require.True(t, ok)
	assert.Contains(t, failure.Message, "another host")
	measure(t, map[string]any{"url": here, "headers": headers})
	for _, h := range seen {
		assert.Empty(t, h.Get("X-Token"))
	}
}

func TestOAuth2(t *testing.T) {
	var authorization string
	address := listen(t, func(w http.ResponseWriter, r *http.Request) {
		authorization = r.Header.Get("Authorization")
		_, _ = w.Write([]byte("1"))
	})
	tokens := listen(t, func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "good" {
			http.Error(w, password+" is wrong", http.StatusUnauthorized)

			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"token","token_type":"Bearer"}`))
	})
	login := func(secret string) map[string]any {
		return map[string]any{"url": address, "authentication": map[string]any{"sigv4": map[string]any{},
			"oauth2": map[string]any{"tokenUrl": tokens, "clientId": "client", "clientSecret": secret}}}
	}
	assert.Equal(t, metricprovider.JSON("1"), measure(t, login("good")))
	assert.Equal(t, "Bearer token", authorization)
	failure, ok := measure(t, login("hunter2")).(metricprovider.Failure)
	require.True(t, ok)
	assert.Contains(t, failure.Message, "authentication failed: the token server answered 401 Unauthorized")
	assert.NotContains(t, failure.Message, "hunter2")
}

func TestSilence(t *testing.T) {
	address := hang(t)
	failure, ok := measure(t, map[string]any{"url": address, "timeoutSeconds": 1}).(metricprovider.Failure)
	require.True(t, ok)
	assert.Equal(t, address+" gave no answer within 1s", failure.Message)
}

func TestLoopbackIsRefused(t *testing.T) {
	raw := fmt.Appendf(nil, `{"url":%q}`, serve(t, http.StatusOK, "1"))
	m, err := newProvider().Measure(t.Context(), &metricprovider.MeasureRequest{Config: raw})
	require.NoError(t, err)
	failure, ok := m.Outcome.(metricprovider.Failure)
	require.True(t, ok)
	assert.Contains(t, failure.Message, "127.0.0.1 is loopback; an administrator can list it under egress.allow")
}

func TestParseConfigRefuses(t *testing.T) {
	long := "{$" + strings.Repeat("[0,0]", 100) + "}"
	for name, tc := range map[string]struct{ config, path, reason string }{
		"no url":                  {`{}`, "url", "not an http or https URL"},
		"a file":                  {`{"url":"file:///etc/passwd"}`, "url", "not an http or https URL"},
		"another method":          {`{"url":"http://x","method":"DELETE"}`, "method", "want GET, POST or PUT"},
		"a body with GET":         {`{"url":"http://x","body":"a"}`, "body", "cannot be sent with GET"},
		"a JSON body with GET":    {`{"url":"http://x","jsonBody":{"a":1}}`, "jsonBody", "cannot be sent with GET"},
		"two bodies":              {`{"url":"http://x","method":"POST","body":"a","jsonBody":{}}`, "jsonBody", "together with body"},
		"a path without braces":   {`{"url":"http://x","jsonPath":"$.a"}`, "jsonPath", "has no braces"},
		"no JSONPath":             {`{"url":"http://x","jsonPath":"{$.a[}"}`, "jsonPath", "want a JSONPath"},
		"an endless JSONPath":     {`{"url":"http://x","jsonPath":"` + long + `"}`, "jsonPath", "too many ways"},
		"descents into descents":  {`{"url":"http://x","jsonPath":"{$..*..*}"}`, "jsonPath", "too many ways"},
		"a long JSONPath":         {`{"url":"http://x","jsonPath":"{` + strings.Repeat("a", 2000) + `}"}`, "jsonPath", "at most 1024"},
		"an unknown field":        {`{"url":"http://x","jsonpath":"{$}"}`, "jsonpath", "unknown field"},
		"basic auth":              {`{"url":"http://x","authentication":{"basicAuth":{"username":"a"}}}`, "authentication.basicAuth", "not for web metrics"},
		"sigv4":                   {`{"url":"http://x","authentication":{"sigv4":{"region":"a"}}}`, "authentication.sigv4", "not for web metrics"},
		"oauth2 without a client": {`{"url":"http://x","authentication":{"oauth2":{"tokenUrl":"http://t"}}}`, "authentication.oauth2", "wants"},
		"a header of two lines":   {`{"url":"http://x","headers":[{"key":"a","value":"b\r\nc: d"}]}`, "headers[0].value", "more than one line"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig([]byte(tc.config))
			found := plugin.Violations(err)
			require.Contains(t, found, tc.path)
			assert.Contains(t, found[tc.path], tc.reason)
		})
	}
}

func TestTimeouts(t *testing.T) {
	for seconds, want := range map[int64]time.Duration{-1: 10 * time.Second, 0: 10 * time.Second, 5: 5 * time.Second, 1 << 60: 55 * time.Second} {
		r, err := parseConfig(fmt.Appendf(nil, `{"url":"http://x","timeoutSeconds":%d}`, seconds))
		require.NoError(t, err)
		assert.Equal(t, want, r.timeout)
	}
}

func TestSchemaNamesEveryField(t *testing.T) {
	var s struct {
		Properties map[string]any `json:"properties"`
	}
	require.NoError(t, json.Unmarshal(schema, &s))
	for field := range reflect.TypeFor[config]().Fields() {
		assert.Contains(t, s.Properties, field.Tag.Get("json"))
	}
	assert.Len(t, s.Properties, reflect.TypeFor[config]().NumField())
}

func TestConformance(t *testing.T) {
	p := newProvider()
	conformance.TestMetricProvider(t, conformance.InProcess(p.info(), p.service()), fixture(t))
}

func TestConformanceOfTheBinary(t *testing.T) {
	conformance.TestMetricProvider(t, conformance.Built(t, "."), fixture(t))
}

// fixture has no Unreachable: as with prometheus, nobody at the address is an Error measurement.
func fixture(t *testing.T) conformance.ProviderFixture {
	t.Helper()

	return conformance.ProviderFixture{
		Egress:       []string{"127.0.0.0/8"},
		Config:       fmt.Sprintf(`{"url":%q,"jsonPath":"{$.rate}"}`, serve(t, http.StatusOK, `{"rate":0.95}`)),
		Failing:      fmt.Sprintf(`{"url":%q}`, serve(t, http.StatusInternalServerError, "")),
		Hanging:      fmt.Sprintf(`{"url":%q}`, hang(t)),
		UnknownField: `{"url":"http://x","headers":[{"key":"a","valeu":"b"}]}`,
		UnknownPath:  "headers[0].valeu",
	}
}

// hang never answers.
func hang(t *testing.T) string {
	t.Helper()
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}))
	t.Cleanup(func() { close(done); server.Close() })

	return server.URL
}
