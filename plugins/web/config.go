package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"k8s.io/client-go/util/jsonpath"

	sdkconfig "github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

const (
	// defaultTimeout is Argo's, and that of every request a template author aims.
	defaultTimeout = 10 * time.Second
	// maxTimeout stays inside the 60 s the host gives a measurement.
	maxTimeout = 55 * time.Second
	// maxPath bounds a JSONPath.
	maxPath = 1 << 10
)

// config is the block users write under provider.web, with the fields of Argo's.
type config struct {
	URL string `json:"url"`
	// Method is GET, POST or PUT. Empty: GET.
	Method  string   `json:"method"`
	Headers []header `json:"headers"`
	// Body is sent as it is, JSONBody as JSON; not both, and neither with GET.
	Body     string          `json:"body"`
	JSONBody json.RawMessage `json:"jsonBody"`
	// TimeoutSeconds of the request. 0 or less: 10. More than 55 is 55.
	TimeoutSeconds int64 `json:"timeoutSeconds"`
	// JSONPath takes a value out of the answer. Empty: {$}, all of it.
	JSONPath string `json:"jsonPath"`
	// Insecure: the server's certificate is not verified.
	Insecure       bool           `json:"insecure"`
	Authentication authentication `json:"authentication"`
}

// header is sent with the request. Its value may be a secret and appears in no message.
type header struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// authentication has the blocks of Argo's serialised form. Only oauth2 means something for a web metric.
type authentication struct {
	OAuth2    oauth2 `json:"oauth2"`
	BasicAuth struct {
		Username string `json:"username"`
		Password string `json:"password"`
	} `json:"basicAuth"`
	SigV4 struct {
		Region  string `json:"region"`
		Profile string `json:"profile"`
		RoleARN string `json:"roleArn"`
	} `json:"sigv4"`
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

// request is a checked configuration.
type request struct {
	url      *url.URL
	method   string
	headers  []header
	body     []byte
	isJSON   bool
	timeout  time.Duration
	path     *jsonpath.JSONPath
	insecure bool
	login    oauth2
}

// parseConfig reads the block of a metric. Errors are plugin.InvalidConfig with the path.
func parseConfig(raw []byte) (request, error) {
	c, err := sdkconfig.Decode[config](raw)
	if err != nil {
		return request{}, err
	}
	r := request{method: c.Method, headers: c.Headers, insecure: c.Insecure, timeout: defaultTimeout, login: c.Authentication.OAuth2}
	if r.method == "" {
		r.method = http.MethodGet
	}
	switch {
	case c.TimeoutSeconds > int64(maxTimeout/time.Second):
		r.timeout = maxTimeout
	case c.TimeoutSeconds > 0:
		r.timeout = time.Duration(c.TimeoutSeconds) * time.Second
	}
	if r.url, err = url.Parse(c.URL); err != nil || r.url.Host == "" || (r.url.Scheme != "http" && r.url.Scheme != "https") {
		// Without the parser's words: they repeat the address, and an address may hold a password.
		return request{}, plugin.InvalidConfig("url", "is not an http or https URL, such as https://checks.example.com/ready")
	}
	if err := r.takeBody(c); err != nil {
		return request{}, err
	}
	if r.path, err = parsePath(c.JSONPath); err != nil {
		return request{}, err
	}
	if err := c.Authentication.check(); err != nil {
		return request{}, err
	}

	return r, checkHeaders(c.Headers)
}

func (r *request) takeBody(c config) error {
	hasJSON := len(c.JSONBody) > 0 && !bytes.Equal(c.JSONBody, []byte("null"))
	switch {
	case r.method != http.MethodGet && r.method != http.MethodPost && r.method != http.MethodPut:
		return plugin.InvalidConfig("method", "is %q: want GET, POST or PUT", c.Method)
	case c.Body != "" && hasJSON:
		return plugin.InvalidConfig("jsonBody", "is set together with body: set one")
	case r.method == http.MethodGet && c.Body != "":
		return plugin.InvalidConfig("body", "cannot be sent with GET: set method to POST or PUT")
	case r.method == http.MethodGet && hasJSON:
		return plugin.InvalidConfig("jsonBody", "cannot be sent with GET: set method to POST or PUT")
	}
	if r.body = []byte(c.Body); hasJSON {
		r.body, r.isJSON = c.JSONBody, true
	}

	return nil
}

// parsePath reads a JSONPath. Without braces it would be a text that every answer "contains", whatever it says.
func parsePath(text string) (*jsonpath.JSONPath, error) {
	if text == "" {
		text = "{$}"
	}
	if len(text) > maxPath {
		return nil, plugin.InvalidConfig("jsonPath", "has %d characters, at most %d are read", len(text), maxPath)
	}
	if !strings.HasPrefix(text, "{") || !strings.HasSuffix(text, "}") {
		return nil, plugin.InvalidConfig("jsonPath", "has no braces around it: want a JSONPath such as {$.data.ok}")
	}
	if ways(text) > maxWays {
		return nil, plugin.InvalidConfig("jsonPath", "looks at an answer in too many ways: use \"..\" at most once, and fewer lists such as [0,1]")
	}
	path := jsonpath.New("result")
	if err := path.Parse(text); err != nil {
		return nil, plugin.InvalidConfig("jsonPath", "%s: want a JSONPath such as {$.data.ok}", cut(oneLine(err.Error()), maxDetail))
	}

	return path, nil
}

// maxWays bounds how often a path may visit the same value. Each [0,0] doubles it, so that a hundred of them in a row, on an
// answer that the same author serves, would need more memory than there is.
const maxWays = 64

// ways is how often a path visits a value at most: the product of the lengths of its lists, and of the depth that each
// further ".." may add, for which the largest number stands.
func ways(text string) int {
	const many = 1 << 20
	product, list, depth, descents := 1, 1, 0, 0
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0:
			switch c {
			case '\\':
				i++
			case quote:
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '[':
			depth++
		case c == ']':
			product, list, depth = min(product*list, many), 1, max(depth-1, 0)
		case c == ',' && depth > 0:
			list++
		case c == '.' && i > 0 && text[i-1] == '.':
			if descents++; descents > 1 {
				return many
			}
			product = min(product*8, many)
		}
	}

	return product
}

func (a authentication) check() error {
	const at = "authentication."
	switch o := a.OAuth2; {
	case a.BasicAuth.Username != "" || a.BasicAuth.Password != "":
		return plugin.InvalidConfig(at+"basicAuth", "is not for web metrics: send an Authorization header with headers")
	case a.SigV4.Region != "" || a.SigV4.Profile != "" || a.SigV4.RoleARN != "":
		return plugin.InvalidConfig(at+"sigv4", "is not for web metrics")
	case o.empty():
	case o.ClientID == "" || o.ClientSecret == "":
		return plugin.InvalidConfig(at+"oauth2", "wants tokenUrl, clientId and clientSecret")
	default:
		if u, err := url.Parse(o.TokenURL); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return plugin.InvalidConfig(at+"oauth2.tokenUrl", "is not an http or https URL")
		}
	}

	return nil
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
