package objects

import (
	"fmt"

	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

// Need names objects a plugin has to see.
type Need struct {
	// Group is the API group. Empty: the core group.
	Group string
	// Kind is required.
	Kind string
	// Versions the plugin understands, in order of preference; at least one.
	Versions []string
	// Namespace is required for namespaced kinds. Empty: the kind is cluster-scoped.
	Namespace string
	// Name asks for one object. Empty: all objects that Selector matches.
	Name string
	// Selector is a label selector as in `kubectl get -l`. Used without Name only. Empty: every object.
	Selector string
}

// String names the need for people.
func (n Need) String() string {
	switch {
	case n.Name != "":
		return fmt.Sprintf("%s %s", n.Kind, qualified(n.Namespace, n.Name))
	case n.Selector != "":
		return fmt.Sprintf("%ss in %q with %s", n.Kind, n.Namespace, n.Selector)
	default:
		return fmt.Sprintf("%ss in %q", n.Kind, n.Namespace)
	}
}

// Proto converts a need to the wire.
func (n Need) Proto() *typesv1.Need {
	need := &typesv1.Need{Group: n.Group, Kind: n.Kind, Versions: n.Versions, Namespace: n.Namespace}
	if n.Name != "" {
		need.Selection = &typesv1.Need_Name{Name: n.Name}
	} else {
		need.Selection = &typesv1.Need_LabelSelector{LabelSelector: n.Selector}
	}

	return need
}

// NeedFrom converts a need from the wire.
func NeedFrom(n *typesv1.Need) Need {
	return Need{
		Group:     n.GetGroup(),
		Kind:      n.GetKind(),
		Versions:  n.GetVersions(),
		Namespace: n.GetNamespace(),
		Name:      n.GetName(),
		Selector:  n.GetLabelSelector(),
	}
}

// key identifies what is asked for. Versions are a preference, not part of it.
func (n Need) key() needKey { return needKey{n.Group, n.Kind, n.Namespace, n.Name, n.Selector} }

type needKey struct{ group, kind, namespace, name, selector string }

// State says why objects are, or are not, among the inputs.
type State int

const (
	// Syncing: the host has not read them yet, or has not been asked. The zero value.
	Syncing State = iota
	// Synced: they are all here.
	Synced
	// Forbidden: the API server does not let the host read them.
	Forbidden
	// NotServed: the cluster serves none of the versions.
	NotServed
	// Denied: the plugin's grant does not cover them.
	Denied
)

// String names the state for people.
func (s State) String() string {
	switch s {
	case Synced:
		return "synced"
	case Forbidden:
		return "forbidden"
	case NotServed:
		return "not served"
	case Denied:
		return "denied"
	case Syncing:
		fallthrough
	default:
		return "syncing"
	}
}

func stateFrom(s typesv1.NeedResult_State) State {
	switch s {
	case typesv1.NeedResult_STATE_SYNCED:
		return Synced
	case typesv1.NeedResult_STATE_FORBIDDEN:
		return Forbidden
	case typesv1.NeedResult_STATE_NOT_SERVED:
		return NotServed
	case typesv1.NeedResult_STATE_DENIED:
		return Denied
	case typesv1.NeedResult_STATE_UNSPECIFIED, typesv1.NeedResult_STATE_SYNCING:
		fallthrough
	default:
		return Syncing
	}
}

// NotReadyError says that a need cannot be answered yet. A plugin's method returns it as it is, wrapped or not: the SDK
// turns it into an answer that lists the needs and nothing else, and the host calls again when it has them.
type NotReadyError struct {
	// Need is what was asked for.
	Need Need
	// State is why it is not here; never Synced.
	State State
	// Message is the host's sentence about it. Empty while syncing.
	Message string
}

// Error names need and state.
func (e *NotReadyError) Error() string {
	if e.Message != "" {
		return fmt.Sprintf("%v: %v: %s", e.Need, e.State, e.Message)
	}

	return fmt.Sprintf("%v: %v", e.Need, e.State)
}

func qualified(namespace, name string) string {
	if namespace == "" {
		return fmt.Sprintf("%q", name)
	}

	return fmt.Sprintf("%q", namespace+"/"+name)
}
