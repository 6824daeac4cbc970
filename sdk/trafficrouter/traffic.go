package trafficrouter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// Role is the part a destination plays.
type Role int

const (
	// RoleUnknown: in an observation, the plugin cannot tell; the core finds out by the Service. The zero value.
	RoleUnknown Role = iota
	// RoleStable is the version that serves now.
	RoleStable
	// RoleCanary is the version that is being rolled out.
	RoleCanary
	// RoleExperiment is a version of an Experiment.
	RoleExperiment
)

// Traffic is a whole routing state: what is not in it is not there.
type Traffic struct {
	// TotalWeight is what the weights add up to.
	TotalWeight int32
	// Destinations has stable and canary in every desired state.
	Destinations []Destination
	// ManagedRoutes, highest precedence first.
	ManagedRoutes []ManagedRoute
	// ManagedNames are the only names of routes the plugin may add or remove. One that is not in ManagedRoutes has to go.
	ManagedNames []string
}

// Destination is a share of the traffic.
type Destination struct {
	Role Role
	// Service in the target's namespace. Empty: the router splits by something else.
	Service string
	// PodTemplateHash is, in a desired state, what a router selects that selects pods itself; in an observation it is set
	// only where the object itself names a hash.
	PodTemplateHash string
	Weight          int32
}

// ManagedRoute is a route of its own beside the weights, to the canary. Header or Mirror is set. It encodes to JSON and
// back, so that a router can record in its objects what it was asked for.
type ManagedRoute struct {
	Name   string       `json:"name"`
	Header *HeaderRoute `json:"header,omitempty"`
	Mirror *MirrorRoute `json:"mirror,omitempty"`
}

// HeaderRoute sends requests to the canary that match all of Match; there is at least one.
type HeaderRoute struct {
	Match []HeaderMatch `json:"match"`
}

// HeaderMatch matches one header.
type HeaderMatch struct {
	// Name of the header, case-insensitive.
	Name  string      `json:"name"`
	Value StringMatch `json:"value,omitzero"`
}

// MatchKind is how a text is matched.
type MatchKind int

const (
	// MatchAny matches every text. The zero value.
	MatchAny MatchKind = iota
	// MatchExact matches the whole text.
	MatchExact
	// MatchPrefix matches its beginning.
	MatchPrefix
	// MatchRegex matches the whole text by a regular expression in the data plane's dialect.
	MatchRegex
)

// StringMatch matches a text. The zero value matches every text.
type StringMatch struct {
	Kind  MatchKind
	Value string
}

var matchKinds = map[MatchKind]string{MatchExact: "exact", MatchPrefix: "prefix", MatchRegex: "regex"}

// MarshalText writes a match as `exact:v2`; one that matches every text is empty.
func (m StringMatch) MarshalText() ([]byte, error) {
	if kind, ok := matchKinds[m.Kind]; ok {
		return []byte(kind + ":" + m.Value), nil
	}

	return nil, nil
}

// UnmarshalText reads what MarshalText wrote.
func (m *StringMatch) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = StringMatch{}

		return nil
	}
	name, value, _ := strings.Cut(string(text), ":")
	for kind, known := range matchKinds {
		if known == name {
			*m = StringMatch{Kind: kind, Value: value}

			return nil
		}
	}

	return fmt.Errorf("match %q begins with neither exact:, prefix: nor regex:", text)
}

// MirrorRoute copies requests to the canary.
type MirrorRoute struct {
	// Match: one has to match. Empty: every request.
	Match []RequestMatch `json:"match,omitempty"`
	// Percentage of the matching requests that is copied, 0 to 100.
	Percentage int32 `json:"percentage"`
}

// RequestMatch matches a request; all of its fields have to match. The zero value matches every request.
type RequestMatch struct {
	Method  StringMatch   `json:"method,omitzero"`
	Path    StringMatch   `json:"path,omitzero"`
	Headers []HeaderMatch `json:"headers,omitempty"`
}

// Destination returns the first destination of a role, and false if there is none.
func (t Traffic) Destination(role Role) (Destination, bool) {
	i := slices.IndexFunc(t.Destinations, func(d Destination) bool { return d.Role == role })
	if i < 0 {
		return Destination{}, false
	}

	return t.Destinations[i], true
}

// Weight returns the weight of a role, over all destinations that have it.
func (t Traffic) Weight(role Role) int32 {
	var sum int32
	for _, d := range t.Destinations {
		if d.Role == role {
			sum += d.Weight
		}
	}

	return sum
}

// IsManaged says whether the router may add or remove a route of this name.
func (t Traffic) IsManaged(name string) bool { return slices.Contains(t.ManagedNames, name) }

// check refuses a desired state the core never sends, so that no router has to.
func (t Traffic) check() error {
	if t.TotalWeight <= 0 {
		return plugin.InvalidConfig("traffic.totalWeight", "must be positive, is %d", t.TotalWeight)
	}
	var sum int64
	for i, d := range t.Destinations {
		if d.Weight < 0 {
			return plugin.InvalidConfig(fmt.Sprintf("traffic.destinations[%d].weight", i), "must not be negative, is %d", d.Weight)
		}
		sum += int64(d.Weight)
	}
	if sum != int64(t.TotalWeight) {
		return plugin.InvalidConfig("traffic.destinations", "weights sum to %d, not to %d", sum, t.TotalWeight)
	}
	for _, role := range []Role{RoleStable, RoleCanary} {
		if _, ok := t.Destination(role); !ok {
			return plugin.InvalidConfig("traffic.destinations", "stable and canary are required")
		}
	}
	for i, route := range t.ManagedRoutes {
		if !t.IsManaged(route.Name) {
			return plugin.InvalidConfig(fmt.Sprintf("traffic.managedRoutes[%d].name", i), "%q is not a managed name", route.Name)
		}
	}

	return nil
}

// Normalize scales weights as found on an object to shares of total, for observations: the result sums to total, keeps
// the order of the shares, and keeps at least 1 for every weight above zero, since traffic that exists must never look
// like none. If more weights are above zero than total allows, the sum exceeds total. All zero stays all zero; negative
// weights count as zero.
func Normalize(total int32, weights ...int32) []int32 {
	var (
		sum    int64
		shares = make([]int32, len(weights))
	)
	for _, w := range weights {
		sum += int64(max(w, 0))
	}
	if sum == 0 || total <= 0 {
		return shares
	}

	rest := int64(total)
	remainders := make([]int64, len(weights))
	for i, w := range weights {
		exact := int64(max(w, 0)) * int64(total)
		share := exact / sum
		remainders[i] = exact % sum
		if share == 0 && w > 0 {
			share, remainders[i] = 1, 0
		}
		shares[i] = int32(share) // at most total
		rest -= share
	}
	for ; rest > 0; rest-- { // Largest remainder first; ties to the first.
		i := slices.Index(remainders, slices.Max(remainders))
		shares[i]++
		remainders[i] = -1
	}
	for ; rest < 0; rest++ { // What the minimum of 1 took, the largest gives.
		i := slices.Index(shares, slices.Max(shares))
		if shares[i] <= 1 {
			break
		}
		shares[i]--
	}

	return shares
}
