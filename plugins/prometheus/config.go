package main

import (
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

	// RangeQuery makes it a range query. Nil: an instant query.
	RangeQuery     *rangeQuery    `json:"rangeQuery"`
	Authentication authentication `json:"authentication"`
}

// rangeQuery says which time a range query covers.
type rangeQuery struct {
	// Start and End are expressions for a time, such as now() - duration("5m").
	Start string `json:"start"`
	End   string `json:"end"`
	// Step is the time between two points, such as 1m.
	Step string `json:"step"`
}

// header is sent with every request. Its value may be a secret and appears in no message.
type header struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// authentication is how to log in; of the blocks that are not empty there is at most one. Argo's serialised form has empty
// ones in it.
type authentication struct {
	BasicAuth basicAuth `json:"basicAuth"`
	OAuth2    oauth2    `json:"oauth2"`
	SigV4     sigV4     `json:"sigv4"`
}

type basicAuth struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// oauth2 gets a token with client credentials, RFC 6749 section 4.4.
type oauth2 struct {
	TokenURL     string   `json:"tokenUrl"`
	ClientID     string   `json:"clientId"`
	ClientSecret string   `json:"clientSecret"`
	Scopes       []string `json:"scopes"`
}

func (o oauth2) empty() bool {
	return o.TokenURL == "" && o.ClientID == "" && o.ClientSecret == "" && len(o.Scopes) == 0
}

// sigV4 signs requests for Amazon Managed Service for Prometheus. Credentials come from where AWS's SDK looks for them.
type sigV4 struct {
	Region  string `json:"region"`
	Profile string `json:"profile"`
	RoleARN string `json:"roleArn"`
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
	login    authentication
	// span is nil for an instant query.
	span *span
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
	r := request{query: c.Query, timeout: defaultTimeout, insecure: c.Insecure, headers: c.Headers, login: c.Authentication}
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

	if r.span, err = parseSpan(c.RangeQuery); err != nil {
		return request{}, err
	}
	if err := c.Authentication.check(); err != nil {
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

// check refuses half a login: to leave it out would ask as somebody else.
func (a authentication) check() error {
	const at = "authentication."
	kinds := 0
	for _, set := range []bool{a.BasicAuth != basicAuth{}, !a.OAuth2.empty(), a.SigV4 != sigV4{}} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return plugin.InvalidConfig("authentication", "sets more than one of basicAuth, oauth2 and sigv4: set one")
	case a.BasicAuth != basicAuth{} && a.BasicAuth.Username == "":
		return plugin.InvalidConfig(at+"basicAuth.username", "is empty: set both username and password")
	case a.BasicAuth != basicAuth{} && a.BasicAuth.Password == "":
		return plugin.InvalidConfig(at+"basicAuth.password", "is empty: set both username and password")
	case !a.OAuth2.empty() && (a.OAuth2.ClientID == "" || a.OAuth2.ClientSecret == ""):
		return plugin.InvalidConfig(at+"oauth2", "wants tokenUrl, clientId and clientSecret")
	case !a.OAuth2.empty():
		if u, err := url.Parse(a.OAuth2.TokenURL); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return plugin.InvalidConfig(at+"oauth2.tokenUrl", "is not an http or https URL")
		}
	}

	return nil
}
