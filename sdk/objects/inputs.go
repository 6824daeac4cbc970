// Package objects is how a plugin sees and edits Kubernetes objects without a client: it asks for what it needs, gets what
// the host has in its cache, and hands back objects as they should be.
//
//	route, err := objects.Get[*gatewayv1.HTTPRoute](req.Inputs, objects.Need{
//		Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Versions: []string{"v1"}, Namespace: ns, Name: "web",
//	})
//	if err != nil {
//		return nil, err // not there yet: the SDK tells the host what is needed
//	}
//	route.Set(50, "spec", "rules", 0, "backendRefs", 1, "weight")
//	writes, err := objects.Changed(route.Object)
//
// What a plugin asked for is what it needs: there is no second list to keep in step.
package objects

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

// Inputs are the objects of one call. They are not safe for concurrent use; a call has its own.
type Inputs struct {
	given   []Need
	results map[needKey]result
	objects map[Ref]*Object
	asked   []Need
}

type result struct {
	state      State
	message    string
	apiVersion string
	objects    []*Object
}

// NewInputs reads the inputs of a call. It fails if an object is malformed, which is the host's mistake.
func NewInputs(results []*typesv1.NeedResult) (*Inputs, error) {
	in := &Inputs{results: map[needKey]result{}, objects: map[Ref]*Object{}}
	for _, r := range results {
		need := NeedFrom(r.GetNeed())
		read := result{state: stateFrom(r.GetState()), message: r.GetMessage(), apiVersion: r.GetApiVersion()}
		for _, o := range r.GetObjects() {
			object, err := fromWire(o)
			if err != nil {
				return nil, fmt.Errorf("reading inputs for %v: %w", need, err)
			}
			// One object may answer several needs. Its edits have to meet in one place: a second write to it in the same
			// answer is not allowed, and would undo the first.
			if known, ok := in.objects[object.Ref]; ok {
				known.Held = known.Held || object.Held
				object = known
			}
			in.objects[object.Ref] = object
			read.objects = append(read.objects, object)
		}
		in.given = append(in.given, need)
		in.results[need.key()] = read
	}

	return in, nil
}

// Want says in advance that needs will be asked for. Without it, a plugin that asks one by one takes a round trip to the
// host for each object it does not have yet.
func (in *Inputs) Want(needs ...Need) {
	for _, need := range needs {
		if !slices.ContainsFunc(in.asked, func(n Need) bool { return n.key() == need.key() }) {
			in.asked = append(in.asked, need)
		}
	}
}

// Missing returns a *NotReadyError if one of the needs asked for so far is not Synced, otherwise nil.
func (in *Inputs) Missing() error {
	for _, need := range in.asked {
		if _, err := in.lookup(need); err != nil {
			return err
		}
	}

	return nil
}

// APIVersion returns the version the host shows a need's objects in, such as `gateway.networking.k8s.io/v1`: what to
// create objects in. It returns a *NotReadyError while it is not known.
func (in *Inputs) APIVersion(need Need) (string, error) {
	in.Want(need)
	found, err := in.lookup(need)
	if err != nil {
		return "", err
	}

	return found.apiVersion, nil
}

// Needs returns what the plugin asked for, to be listed in the answer. After an early end (an error), pass true: needs
// the host was given before stay listed, since the plugin may just not have come to them.
func (in *Inputs) Needs(early bool) []*typesv1.Need {
	if early {
		in.Want(in.given...)
	}
	needs := make([]*typesv1.Need, 0, len(in.asked))
	for _, need := range in.asked {
		needs = append(needs, need.Proto())
	}

	return needs
}

func (in *Inputs) lookup(need Need) (result, error) {
	found := in.results[need.key()] // Not given is Syncing: the zero value.
	if found.state != Synced {
		return result{}, &NotReadyError{Need: need, State: found.state, Message: found.message}
	}

	return found, nil
}

// Typed is an object with a view of it as a Go type.
type Typed[T any] struct {
	*Object

	// View is the object as the host showed it. It is for reading: changes to it go nowhere, and edits do not show in it.
	View T
}

// Get returns the object a need names. T is the object's Go type or a pointer to it.
//
// It returns a *NotReadyError if the host has not shown it yet, and plugin.ReferenceNotFound if it does not exist; a
// method of a plugin returns both as they are.
func Get[T any](in *Inputs, need Need) (*Typed[T], error) {
	if need.Name == "" {
		return nil, fmt.Errorf("need for %s has no name", need.Kind)
	}
	found, err := List[T](in, need)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, plugin.ReferenceNotFound(need.Kind, need.Namespace, need.Name)
	}

	return found[0], nil
}

// List returns the objects a need selects, ordered by namespace and name. An empty list means that there are none.
// It returns a *NotReadyError if the host has not shown them yet.
func List[T any](in *Inputs, need Need) ([]*Typed[T], error) {
	in.Want(need)
	found, err := in.lookup(need)
	if err != nil {
		return nil, err
	}

	return views[T](found.objects)
}

// Held returns the objects of a kind that this router holds from earlier calls, whether or not the configuration still
// selects them, ordered by namespace and name. Leftovers of the router have to be removed from them.
func Held[T any](in *Inputs, group, kind string) ([]*Typed[T], error) {
	var held []*Object
	for ref, object := range in.objects {
		if object.Held && ref.Group == group && ref.Kind == kind {
			held = append(held, object)
		}
	}

	return views[T](held)
}

// ParseAs reads an object from JSON with a view of it, for tests of code that takes one.
func ParseAs[T any](raw []byte) (*Typed[T], error) {
	object, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	typed, err := views[T]([]*Object{object})
	if err != nil {
		return nil, err
	}

	return typed[0], nil
}

func views[T any](found []*Object) ([]*Typed[T], error) {
	typed := make([]*Typed[T], 0, len(found))
	for _, object := range found {
		one := &Typed[T]{Object: object}
		if err := json.Unmarshal(object.shown, &one.View); err != nil {
			return nil, plugin.Blocked("decoding %v: %v", object.Ref, err)
		}
		typed = append(typed, one)
	}
	slices.SortFunc(typed, func(a, b *Typed[T]) int {
		return cmp.Or(strings.Compare(a.Ref.Namespace, b.Ref.Namespace), strings.Compare(a.Ref.Name, b.Ref.Name))
	})

	return typed, nil
}

// IsNotReady says whether err is a *NotReadyError.
func IsNotReady(err error) bool {
	var notReady *NotReadyError

	return errors.As(err, &notReady)
}
