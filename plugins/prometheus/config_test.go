package main

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

func TestParseConfig(t *testing.T) {
	defaults := processConfig{Address: "http://default:9090"}
	for name, tc := range map[string]struct {
		config  string
		address string
		timeout time.Duration
	}{
		"only a query":        {`{"query":"up"}`, "http://default:9090", 30 * time.Second},
		"an address":          {`{"query":"up","address":"https://prom/prefix/"}`, "https://prom/prefix/", 30 * time.Second},
		"a timeout":           {`{"query":"up","timeout":5}`, "http://default:9090", 5 * time.Second},
		"a timeout of 0":      {`{"query":"up","timeout":0}`, "http://default:9090", 30 * time.Second},
		"too long a timeout":  {`{"query":"up","timeout":9223372036854775807}`, "http://default:9090", 55 * time.Second},
		"Argo's empty blocks": {`{"query":"up","authentication":{"sigv4":{},"oauth2":{}},"rangeQuery":null}`, "http://default:9090", 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := parseConfig([]byte(tc.config), defaults)
			require.NoError(t, err)
			assert.Equal(t, "up", r.query)
			assert.Equal(t, tc.address, r.address.String())
			assert.Equal(t, tc.timeout, r.timeout)
		})
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ config, path, reason string }{
		"no query":           {`{}`, "query", "is empty"},
		"a blank query":      {`{"query":" \n"}`, "query", "is empty"},
		"no address":         {`{"query":"up"}`, "address", "is empty"},
		"no URL":             {`{"query":"up","address":"prometheus:9090"}`, "address", "not an http or https URL"},
		"no host":            {`{"query":"up","address":"http:///x"}`, "address", "not an http or https URL"},
		"another scheme":     {`{"query":"up","address":"file:///etc/passwd"}`, "address", "not an http or https URL"},
		"a negative timeout": {`{"query":"up","timeout":-1}`, "timeout", "0 or more"},
		"a text as timeout":  {`{"query":"up","timeout":"30"}`, "timeout", "expected a whole number"},
		"an unknown field":   {`{"query":"up","qurey":"x"}`, "qurey", "unknown field"},
		"one inside a list":  {`{"query":"up","headers":[{"key":"a","vlaue":"b"}]}`, "headers[0].vlaue", "unknown field"},
		"no name of a header": {
			`{"query":"up","address":"http://p","headers":[{"key":"ok","value":"x"},{"key":"a b","value":"x"}]}`, "headers[1].key", "not the name",
		},
		"a header of two lines":   {`{"query":"up","address":"http://p","headers":[{"key":"a","value":"b\r\nc: d"}]}`, "headers[0].value", "more than one line"},
		"a range without a step":  {`{"query":"up","address":"http://p","rangeQuery":{"start":"now()","end":"now()"}}`, "rangeQuery.step", "want the time between two points"},
		"a range without an end":  {`{"query":"up","address":"http://p","rangeQuery":{"start":"now()","step":"1m"}}`, "rangeQuery.end", "want an expression for a time"},
		"a range of nonsense":     {`{"query":"up","address":"http://p","rangeQuery":{"start":"now(","end":"now()","step":"1m"}}`, "rangeQuery.start", "want an expression for a time"},
		"half of basic auth":      {`{"query":"up","address":"http://p","authentication":{"basicAuth":{"username":"a"}}}`, "authentication.basicAuth.password", "is empty"},
		"the other half":          {`{"query":"up","address":"http://p","authentication":{"basicAuth":{"password":"a"}}}`, "authentication.basicAuth.username", "is empty"},
		"oauth2 without a client": {`{"query":"up","address":"http://p","authentication":{"oauth2":{"tokenUrl":"http://t"}}}`, "authentication.oauth2", "wants tokenUrl, clientId and clientSecret"},
		"oauth2 without a URL":    {`{"query":"up","address":"http://p","authentication":{"oauth2":{"tokenUrl":"t","clientId":"a","clientSecret":"b"}}}`, "authentication.oauth2.tokenUrl", "not an http or https URL"},
		"two ways to log in":      {`{"query":"up","address":"http://p","authentication":{"basicAuth":{"username":"a","password":"b"},"sigv4":{"region":"x"}}}`, "authentication", "more than one"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig([]byte(tc.config), processConfig{})
			found := plugin.Violations(err)
			require.Contains(t, found, tc.path)
			assert.Contains(t, found[tc.path], tc.reason)
		})
	}
}

func TestRefusedAddressesAreNotRepeated(t *testing.T) {
	_, err := parseConfig([]byte(`{"query":"up","address":"ftp://user:hunter2@host"}`), processConfig{})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "hunter2")
}

func TestConfigureIsAtomic(t *testing.T) {
	p := newProvider()
	require.NoError(t, p.configure(t.Context(), []byte(`{"address":"http://one:9090"}`)))
	for _, bad := range []string{`{"address":"one"}`, `{"adress":"http://two"}`, `{`} {
		require.Error(t, p.configure(t.Context(), []byte(bad)))
		assert.Equal(t, "http://one:9090", p.defaults.Load().Address)
	}
	require.NoError(t, p.configure(t.Context(), nil))
	assert.Empty(t, p.defaults.Load().Address)
}

func TestSchemasNameEveryField(t *testing.T) {
	for _, tc := range []struct {
		schema []byte
		config reflect.Type
	}{{schema, reflect.TypeFor[config]()}, {processSchema, reflect.TypeFor[processConfig]()}} {
		var s struct {
			Properties map[string]any `json:"properties"`
		}
		require.NoError(t, json.Unmarshal(tc.schema, &s))
		for field := range tc.config.Fields() {
			assert.Contains(t, s.Properties, field.Tag.Get("json"))
		}
		assert.Len(t, s.Properties, tc.config.NumField())
	}
}
