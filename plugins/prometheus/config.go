package main

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"time"

	sdkconfig "github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

const (
	// defaultTimeout is Argo's.
	defaultTimeout = 30 * time.Second
	// maxTimeout stays inside the 60 s the host gives a measurement: a timeout of Prometheus is an answer, one of the
	// plugin is none.
	maxTimeout = 55 * time.Second
)

// config is the block users write under provider.prometheus, with the fields of Argo's.
type config struct {
	// Address is the base URL of the API. Empty: the process's default.
	Address string `json:"address"`
	Query   string `json:"query"`
	// Timeout in seconds. 0: 30. More than 55 is 55.
	Timeout int64 `json:"timeout"`
	// Insecure: the server's certificate is not verified.
	Insecure bool     `json:"insecure"`
	Headers  []header `json:"headers"`

	RangeQuery     json.RawMessage `json:"rangeQuery"`
	Authentication authentication  `json:"authentication"`
}

// header is sent with every request. Its value may be a secret and appears in no message.
type header struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// authentication is known so that Argo's serialised form decodes, which has empty blocks in it. It does nothing yet.
type authentication struct {
	BasicAuth struct {
		Username string `json:"username"`
		Password string `json:"password"`
	} `json:"basicAuth"`
	OAuth2 struct {
		TokenURL     string   `json:"tokenUrl"`
		ClientID     string   `json:"clientId"`
		ClientSecret string   `json:"clientSecret"`
		Scopes       []string `json:"scopes"`
	} `json:"oauth2"`
	SigV4 struct {
		Region  string `json:"region"`
		Profile string `json:"profile"`
		RoleARN string `json:"roleArn"`
	} `json:"sigv4"`
}

// processConfig is the `config` of the plugin's entry in the host's configuration.
type processConfig struct {
	// Address is asked by metrics that name none. Empty: they have to name one.
	Address string `json:"address"`
}

// request is a checked configuration.
type request struct {
	address  *url.URL
	query    string
	timeout  time.Duration
	insecure bool
	headers  []header
}

func parseProcessConfig(raw []byte) (processConfig, error) {
	c, err := sdkconfig.Decode[processConfig](raw)
	if err != nil || c.Address == "" {
		return c, err
	}
	_, err = parseAddress(c.Address)

	return c, err
}

// parseConfig reads the block of a metric. Errors are plugin.InvalidConfig with the path.
func parseConfig(raw []byte, defaults processConfig) (request, error) {
	c, err := sdkconfig.Decode[config](raw)
	if err != nil {
		return request{}, err
	}
	if err := c.checkUnsupported(); err != nil {
		return request{}, err
	}
	r := request{query: c.Query, timeout: defaultTimeout, insecure: c.Insecure, headers: c.Headers}
	if strings.TrimSpace(c.Query) == "" {
		return request{}, plugin.InvalidConfig("query", "is empty: want a PromQL expression")
	}
	switch {
	case c.Timeout < 0:
		return request{}, plugin.InvalidConfig("timeout", "is %d: want 0 or more seconds", c.Timeout)
	case c.Timeout > int64(maxTimeout/time.Second):
		r.timeout = maxTimeout
	case c.Timeout > 0:
		r.timeout = time.Duration(c.Timeout) * time.Second
	}
	if c.Address == "" {
		c.Address = defaults.Address
	}
	if r.address, err = parseAddress(c.Address); err != nil {
		return request{}, err
	}

	return r, checkHeaders(c.Headers)
}

func parseAddress(address string) (*url.URL, error) {
	if address == "" {
		return nil, plugin.InvalidConfig("address", "is empty, and the plugin's configuration has no default: "+
			"want the URL of Prometheus, such as http://prometheus.monitoring:9090")
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		// Without the parser's words: they repeat the address, and an address may hold a password.
		return nil, plugin.InvalidConfig("address", "is not an http or https URL, such as http://prometheus.monitoring:9090")
	}

	return u, nil
}

var headerKey = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func checkHeaders(headers []header) error {
	for i, h := range headers {
		if !headerKey.MatchString(h.Key) {
			return plugin.InvalidConfig(sdkconfig.Path("headers", i, "key"), "%q is not the name of a header", h.Key)
		}
		if strings.ContainsAny(h.Value, "\r\n\x00") {
			return plugin.InvalidConfig(sdkconfig.Path("headers", i, "value"), "is more than one line")
		}
	}

	return nil
}

// checkUnsupported refuses what Argo's provider can do and this one cannot: to ignore it would measure something else.
func (c config) checkUnsupported() error {
	auth := c.Authentication
	switch {
	case len(c.RangeQuery) > 0 && !bytes.Equal(c.RangeQuery, []byte("null")):
		return plugin.InvalidConfig("rangeQuery", "range queries are not supported yet: "+
			"use an instant query over a range, such as avg_over_time(…[5m])")
	case auth.BasicAuth.Username != "" || auth.BasicAuth.Password != "":
		return plugin.InvalidConfig("authentication.basicAuth", "is not supported yet: send an Authorization header with headers")
	case auth.OAuth2.TokenURL != "" || auth.OAuth2.ClientID != "" || auth.OAuth2.ClientSecret != "" || len(auth.OAuth2.Scopes) > 0:
		return plugin.InvalidConfig("authentication.oauth2", "is not supported yet: send an Authorization header with headers")
	case auth.SigV4.Region != "" || auth.SigV4.Profile != "" || auth.SigV4.RoleARN != "":
		return plugin.InvalidConfig("authentication.sigv4", "is not supported yet")
	default:
		return nil
	}
}
