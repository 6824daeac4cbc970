package plugins

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// item is one element of a list in the ConfigMap: Argo's fields first, then
// ours. Unknown fields are refused, so that a mistyped sha256 is not a missing
// one.
type item struct {
	Name        string    `json:"name"`
	Location    string    `json:"location,omitempty"`
	SHA256      string    `json:"sha256,omitempty"`
	Args        []string  `json:"args,omitempty"`
	HeadersFrom []headers `json:"headersFrom,omitempty"`
	Disabled    bool      `json:"disabled,omitempty"`

	Env             []envVar        `json:"env,omitempty"`
	Config          json.RawMessage `json:"config,omitempty"`
	Timeout         string          `json:"timeout,omitempty"`
	Grants          *[]grantItem    `json:"grants,omitempty"`
	AllowNamespaces []string        `json:"allowNamespaces,omitempty"`
	Credentials     string          `json:"credentials,omitempty"`
	Protocol        string          `json:"protocol,omitempty"`
}

// headers names a Secret whose keys are request headers of the download.
type headers struct {
	SecretRef struct {
		Name string `json:"name"`
	} `json:"secretRef"`
}

// envVar is a variable for the process. Without a value the controller's own
// one of that name passes.
type envVar struct {
	Name  string  `json:"name"`
	Value *string `json:"value,omitempty"`
}

// grantItem is a rollout.GrantRule as people write it; "read" stands for get,
// list and watch.
type grantItem struct {
	Group string   `json:"group"`
	Kind  string   `json:"kind"`
	Verbs []string `json:"verbs"`
}

// entry is a plugin the host can run. Entries are immutable and compared with
// reflect.DeepEqual: a difference means another process.
type entry struct {
	// name is canonical; id names the process in metrics, logs and events, and
	// differs only when one name means several processes.
	name, id string
	// bundled binaries are known by their directory: no digest, and their own
	// wishes as grant unless the ConfigMap gives another.
	bundled bool
	// argo is the kind of a plugin that speaks Argo Rollouts' net/rpc; "" for
	// gRPC. Its process can serve no other kind.
	argo Kind
	// unpinned has no digest: whatever lies at path is run.
	unpinned bool
	path     string
	// url is where the file is downloaded from, with headers from these Secrets;
	// "" when it lies at path.
	url         string
	headersFrom []string
	sha256      []byte
	args        []string
	env         []envVar
	config      json.RawMessage
	// timeout replaces the deadlines of the plugin's services; 0 keeps them.
	timeout time.Duration
	// grants is nil when the entry has none.
	grants          *[]rollout.GrantRule
	allowNamespaces []string
	inherit         bool
	// egress is the same for every entry of a catalog.
	egress egressRules
	// kinds the entry is listed under; nil for bundled ones, which tell
	// themselves.
	kinds []Kind
}

func (e *entry) same(other *entry) bool {
	return other != nil && reflect.DeepEqual(*e, *other)
}

// sameProcess ignores under which kinds the entries are listed.
func (e *entry) sameProcess(other *entry) bool {
	a, b := *e, *other
	a.kinds, b.kinds = nil, nil
	return reflect.DeepEqual(a, b)
}

// validName is Argo's pattern, and bare names besides, since the names of
// bundled plugins are file names.
var validName = regexp.MustCompile(`^([a-zA-Z0-9\-]{1,63}/)?[a-zA-Z0-9_\-.]{1,63}$`)

// Deadlines an entry may choose. The upper one keeps a stuck plugin from
// holding a worker for longer than an operator would wait.
const (
	minTimeout = time.Second
	maxTimeout = 5 * time.Minute
)

// decodeItem reads one element strictly. The item is returned with its name
// even when the rest is wrong, so that the error can name it.
func decodeItem(raw json.RawMessage) (item, error) {
	var it item
	if err := yaml.UnmarshalStrict(raw, &it); err != nil {
		var named struct {
			Name string `json:"name"`
		}
		_ = yaml.Unmarshal(raw, &named) // Only for the message; what is wrong is in err.
		return item{Name: named.Name}, errors.New(strings.TrimPrefix(err.Error(), "error unmarshaling JSON: while decoding JSON: json: "))
	}
	if !validName.MatchString(it.Name) {
		return it, fmt.Errorf("name %q must look like namespace/name", it.Name)
	}
	return it, nil
}

// resolve turns the item into an entry. The bundled entry of the same name, if
// there is one, lends its binary to an item without location.
func (it item) resolve(name string, kind Kind, bundled *entry, p policy) (*entry, error) {
	e := &entry{
		name: name, id: name, kinds: []Kind{kind}, args: it.Args, env: it.Env, config: it.Config,
		allowNamespaces: it.AllowNamespaces, inherit: it.Credentials == "inherit",
	}
	if err := it.resolveBinary(e, bundled, p); err != nil {
		return nil, err
	}
	for _, v := range it.Env {
		if v.Name == "" || strings.ContainsAny(v.Name, "=\x00") {
			return nil, fmt.Errorf("env: %q is not the name of a variable", v.Name)
		}
	}
	if c := it.Credentials; c != "" && c != "none" && c != "inherit" {
		return nil, fmt.Errorf("credentials: %q is neither none nor inherit", c)
	}
	if len(it.Config) > 0 && it.Config[0] != '{' {
		return nil, errors.New("config: must be a map")
	}
	if it.Timeout != "" {
		d, err := time.ParseDuration(it.Timeout)
		if err != nil || d < minTimeout || d > maxTimeout {
			return nil, fmt.Errorf("timeout: %q is not a duration from %v to %v, such as 20s", it.Timeout, minTimeout, maxTimeout)
		}
		e.timeout = d
	}
	if it.Grants != nil {
		rules, err := grantRules(*it.Grants)
		if err != nil {
			return nil, err
		}
		e.grants = &rules
	}
	return e, nil
}

// resolveBinary fills in what is executed and how it is known to be the right
// file. Protocol auto is decided here, before anything runs.
func (it item) resolveBinary(e *entry, bundled *entry, p policy) error {
	if it.Location == "" {
		if bundled == nil {
			return errors.New("location: missing, and no bundled plugin has this name")
		}
		if it.SHA256 != "" || it.Protocol == "netrpc" || it.HeadersFrom != nil {
			return errors.New("location: missing; sha256, headersFrom and protocol netrpc are for plugins that have one")
		}
		e.bundled, e.path = true, bundled.path
		return nil
	}
	protocol, err := it.protocol()
	if err != nil {
		return err
	}
	if protocol == "netrpc" {
		if it.Grants != nil || it.AllowNamespaces != nil || it.Config != nil {
			return errors.New("grants, allowNamespaces and config are for plugins that speak gRPC; Argo Rollouts' net/rpc plugins have credentials of their own")
		}
		e.argo, e.inherit = e.kinds[0], it.Credentials != "none"
	}
	at, err := url.Parse(it.Location)
	if err != nil {
		return fmt.Errorf("location: %w", err)
	}
	switch at.Scheme {
	case "file":
		// As in Argo: file://dir/x is relative to the working directory.
		if e.path, err = filepath.Abs(at.Host + at.Path); err != nil {
			return fmt.Errorf("location: %w", err)
		}
	case "http", "https":
		if at.Scheme == "http" && it.SHA256 == "" {
			return errors.New("sha256: missing; what comes over http:// can be changed underway")
		}
		e.url = it.Location
		for i, h := range it.HeadersFrom {
			if h.SecretRef.Name == "" {
				return fmt.Errorf("headersFrom[%d].secretRef.name: missing", i)
			}
			e.headersFrom = append(e.headersFrom, h.SecretRef.Name)
		}
	default:
		return fmt.Errorf("location: %q is none of file://, https://, http://", it.Location)
	}
	if e.url == "" && it.HeadersFrom != nil {
		return errors.New("headersFrom: is for https:// locations")
	}
	if it.SHA256 == "" && e.argo != "" && !p.requireDigest {
		e.unpinned = true
		return nil
	}
	if it.SHA256 == "" {
		return errors.New("sha256: missing; a plugin is only run when its digest is known (sha256sum prints it)")
	}
	if e.sha256, err = hex.DecodeString(it.SHA256); err != nil || len(e.sha256) != 32 {
		return errors.New("sha256: must be 64 hexadecimal digits")
	}
	return nil
}

// protocol is grpc or netrpc. Argo's own entries have neither a digest nor a
// field of ours.
func (it item) protocol() (string, error) {
	switch it.Protocol {
	case "grpc", "netrpc":
		return it.Protocol, nil
	case "", "auto":
	default:
		return "", fmt.Errorf("protocol: %q is not one of auto, grpc, netrpc", it.Protocol)
	}
	ours := it.SHA256 != "" || it.Env != nil || it.Config != nil || it.Timeout != "" || it.Grants != nil ||
		it.AllowNamespaces != nil || it.Credentials != ""
	if ours {
		return "grpc", nil
	}
	return "netrpc", nil
}

func grantRules(items []grantItem) ([]rollout.GrantRule, error) {
	rules := make([]rollout.GrantRule, 0, len(items))
	for i, g := range items {
		if g.Kind == "" {
			return nil, fmt.Errorf("grants[%d]: kind is missing", i)
		}
		gk := schema.GroupKind{Group: g.Group, Kind: g.Kind}
		if rollout.NeverGrantable(gk) {
			return nil, fmt.Errorf("grants[%d]: %s is never given to plugins", i, gk)
		}
		verbs, err := expandVerbs(g.Verbs)
		if err != nil {
			return nil, fmt.Errorf("grants[%d]: %w", i, err)
		}
		rules = append(rules, rollout.GrantRule{Group: g.Group, Kind: g.Kind, Verbs: verbs})
	}
	return rules, nil
}
