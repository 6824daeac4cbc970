package main

import (
	"regexp"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// stickyConfig asks for canaries that clients stay on: what a client got first it keeps, until the rollout is over.
type stickyConfig struct {
	// SessionName is the name of the cookie or header. Empty: sluice-canary.
	SessionName string `json:"sessionName"`
	// Type is Cookie or Header. Empty: Cookie.
	Type string `json:"type"`
	// AbsoluteTimeout and IdleTimeout are Gateway API durations such as 1h. Empty: none.
	AbsoluteTimeout string `json:"absoluteTimeout"`
	IdleTimeout     string `json:"idleTimeout"`
}

const defaultSession = "sluice-canary"

var (
	sessionName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)
	gatewayTime = regexp.MustCompile(`^([0-9]{1,5}(h|m|s|ms)){1,4}$`)
)

func (s *stickyConfig) check() error {
	switch {
	case s == nil:
		return nil
	case s.SessionName != "" && !sessionName.MatchString(s.SessionName):
		return plugin.InvalidConfig("stickyCanary.sessionName", "%q is no name of a cookie or header: want 1 to 100 letters, digits, - and _", s.SessionName)
	case s.Type != "" && s.Type != "Cookie" && s.Type != "Header":
		return plugin.InvalidConfig("stickyCanary.type", "is %q: want Cookie or Header", s.Type)
	case s.AbsoluteTimeout != "" && !gatewayTime.MatchString(s.AbsoluteTimeout):
		return plugin.InvalidConfig("stickyCanary.absoluteTimeout", "%q is no Gateway API duration such as 1h30m", s.AbsoluteTimeout)
	case s.IdleTimeout != "" && !gatewayTime.MatchString(s.IdleTimeout):
		return plugin.InvalidConfig("stickyCanary.idleTimeout", "%q is no Gateway API duration such as 30m", s.IdleTimeout)
	default:
		return nil
	}
}

// name is the session of one canary. It holds the canary's hash, so that a client that stuck to the last canary starts
// anew with this one.
func (s *stickyConfig) name(hash string) string {
	name := s.SessionName
	if name == "" {
		name = defaultSession
	}
	if hash != "" {
		name += "-" + hash
	}

	return name
}

func (s *stickyConfig) tree(name string) map[string]any {
	tree := map[string]any{"sessionName": name, "type": "Cookie"}
	if s.Type != "" {
		tree["type"] = s.Type
	}
	if s.AbsoluteTimeout != "" {
		tree["absoluteTimeout"] = s.AbsoluteTimeout
	}
	if s.IdleTimeout != "" {
		tree["idleTimeout"] = s.IdleTimeout
	}

	return tree
}

// setSession makes a rule stick, or takes back what an earlier call put there. At weight 0 nothing sticks, or an abort
// would not reach clients that have a session. A session that was written and is not there was dropped by an API server
// whose CRD has no such field: writing it again would not end.
func (c *call) setSession(tree map[string]any, r steered, name string) {
	_, there := tree["sessionPersistence"]
	switch {
	case name == "" && r.own.Session != "":
		delete(tree, "sessionPersistence")
	case name != "" && (there || r.own.Session != name):
		tree["sessionPersistence"] = c.sticky.tree(name)
	}
}

// stickable says whether the kind has sessions.
func (r steered) stickable() bool { return takesRules(r.object.Ref.Kind) }

// dropped says that a session was written and the API server did not keep it.
func (r steered) dropped() bool {
	if r.own.Session == "" {
		return false
	}
	for _, s := range r.splits {
		if _, there := r.object.Value("spec", "rules", s.rule, "sessionPersistence"); there {
			return false
		}
	}

	return len(r.splits) > 0
}

// checkSession refuses to take over a session of the user.
func (c *call) checkSession(r steered) error {
	if c.sticky == nil || r.own.Session != "" {
		return nil
	}
	if !r.stickable() {
		return plugin.InvalidConfig("stickyCanary", "%v has no sessions: only HTTPRoutes and GRPCRoutes do", r.object.Ref)
	}
	for _, s := range r.splits {
		if _, there := r.object.Value("spec", "rules", s.rule, "sessionPersistence"); there {
			return plugin.InvalidConfig("stickyCanary", "rule %s of %v has a sessionPersistence of its own: remove one of the two", s.name, r.object.Ref)
		}
	}

	return nil
}
