package conformance

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

// cluster plays the host's broker: it holds the objects, shows them to the plugin, and applies its writes as strictly as
// the host does.
type cluster struct {
	objects  map[objects.Ref]*objects.Object
	created  map[objects.Ref]bool // by the plugin
	revision int
	wanted   []*lifecyclev1.WantedKind
}

// The foreign part that is put into every object of a fixture: what a user, another controller or a newer version of the
// API may have put there. A plugin that goes through a typed struct, or through float64, loses it.
const (
	foreignAnnotation = "conformance.sluice.dev/foreign"
	foreignText       = `1.10 <b>&amp;</b>`
	foreignField      = "conformanceForeign"
	foreignJSON       = `{"big":9007199254740993,"float":1.10,"list":[{"null":null}]}`
)

func newCluster(raws []string, wanted []*lifecyclev1.WantedKind) (*cluster, error) {
	c := &cluster{objects: map[objects.Ref]*objects.Object{}, created: map[objects.Ref]bool{}, wanted: wanted}
	for i, raw := range raws {
		object, err := objects.Parse([]byte(raw))
		if err != nil {
			return nil, fmt.Errorf("fixture's object %d: %w", i, err)
		}
		object.Set(foreignText, "metadata", "annotations", foreignAnnotation)
		if _, ok := object.Value("spec"); ok {
			object.Set(json.RawMessage(foreignJSON), "spec", foreignField)
		}
		object.Set(fmt.Sprintf("uid-%d", i), "metadata", "uid")
		object.Set(1, "metadata", "generation")
		if err := c.store(object); err != nil {
			return nil, err
		}
	}

	return c, nil
}

// store keeps an object under a new resourceVersion.
func (c *cluster) store(object *objects.Object) error {
	c.revision++
	object.Set(strconv.Itoa(c.revision), "metadata", "resourceVersion")
	raw, err := object.JSON()
	if err != nil {
		return err
	}
	stored, err := objects.Parse(raw)
	if err != nil {
		return err
	}
	c.objects[stored.Ref] = stored

	return nil
}

// answer answers needs as the host's cache would.
func (c *cluster) answer(needs []*typesv1.Need) ([]*typesv1.NeedResult, error) {
	results := make([]*typesv1.NeedResult, 0, len(needs))
	for _, wire := range needs {
		need := objects.NeedFrom(wire)
		if need.Kind == "" || len(need.Versions) == 0 {
			return nil, fmt.Errorf("need %v: kind and versions are required", wire)
		}
		if !c.grants(need.Group, need.Kind, lifecyclev1.Verb_VERB_READ) {
			return nil, fmt.Errorf("needs %v, but Describe does not ask to read the kind", need)
		}
		result := &typesv1.NeedResult{Need: wire}
		if err := c.fill(result, need); err != nil {
			return nil, err
		}
		results = append(results, result)
	}

	return results, nil
}

func (c *cluster) fill(result *typesv1.NeedResult, need objects.Need) error {
	selector, err := labels.Parse(need.Selector)
	if err != nil {
		return fmt.Errorf("need %v: %w", need, err)
	}
	result.State = typesv1.NeedResult_STATE_SYNCED
	result.ApiVersion = strings.TrimPrefix(need.Group+"/"+need.Versions[0], "/")
	for ref, object := range c.objects {
		if ref.Group != need.Group || ref.Kind != need.Kind || ref.Namespace != need.Namespace {
			continue
		}
		if need.Name != "" && need.Name != ref.Name || need.Name == "" && !selector.Matches(labelsOf(object)) {
			continue
		}
		if version := object.APIVersion[strings.Index(object.APIVersion, "/")+1:]; !slices.Contains(need.Versions, version) {
			result.State, result.Objects = typesv1.NeedResult_STATE_NOT_SERVED, nil

			return nil
		}
		raw, err := object.JSON()
		if err != nil {
			return err
		}
		result.ApiVersion = object.APIVersion
		result.Objects = append(result.Objects, &typesv1.Object{
			ApiVersion: object.APIVersion, ResourceVersion: object.ResourceVersion, Json: raw,
		})
	}
	slices.SortFunc(result.GetObjects(), func(a, b *typesv1.Object) int { return bytes.Compare(a.GetJson(), b.GetJson()) })

	return nil
}

func labelsOf(object *objects.Object) labels.Set {
	set := labels.Set{}
	value, _ := object.Value("metadata", "labels")
	if all, ok := value.(map[string]any); ok {
		for key, value := range all {
			set[key], _ = value.(string)
		}
	}

	return set
}

func (c *cluster) grants(group, kind string, verb lifecyclev1.Verb) bool {
	return slices.ContainsFunc(c.wanted, func(w *lifecyclev1.WantedKind) bool {
		return w.GetGroup() == group && w.GetKind() == kind && slices.Contains(w.GetVerbs(), verb)
	})
}

// apply performs the writes of one answer for the object that calls. It refuses what the host would refuse.
func (c *cluster) apply(namespace, owner string, writes []*typesv1.Write) error {
	seen := map[objects.Ref]bool{}
	for _, write := range writes {
		object, err := objects.Parse(write.GetJson())
		if err != nil {
			return fmt.Errorf("%v: %w", write.GetOperation(), err)
		}
		if seen[object.Ref] {
			return fmt.Errorf("writes %v twice in one answer", object.Ref)
		}
		seen[object.Ref] = true
		if err := c.applyOne(namespace, owner, write.GetOperation(), object); err != nil {
			return fmt.Errorf("%v of %v: %w", write.GetOperation(), object.Ref, err)
		}
	}

	return c.checkForeign()
}

func (c *cluster) applyOne(namespace, owner string, operation typesv1.Write_Operation, object *objects.Object) error {
	verb := map[typesv1.Write_Operation]lifecyclev1.Verb{
		typesv1.Write_OPERATION_CREATE: lifecyclev1.Verb_VERB_CREATE,
		typesv1.Write_OPERATION_UPDATE: lifecyclev1.Verb_VERB_UPDATE,
		typesv1.Write_OPERATION_DELETE: lifecyclev1.Verb_VERB_DELETE,
	}[operation]
	if !c.grants(object.Ref.Group, object.Ref.Kind, verb) {
		return fmt.Errorf("Describe does not ask for %v", verb)
	}
	stored, exists := c.objects[object.Ref]
	switch operation {
	case typesv1.Write_OPERATION_CREATE:
		if exists {
			return errors.New("it exists already")
		}
		if object.Ref.Namespace != namespace {
			return fmt.Errorf("it is not in the target's namespace %q", namespace)
		}
		object.Set(fmt.Sprintf("created-%d", c.revision), "metadata", "uid")
		object.Set(1, "metadata", "generation")
		object.Set([]any{map[string]any{"uid": owner, "controller": true}}, "metadata", "ownerReferences")
		c.created[object.Ref] = true

		return c.store(object)
	case typesv1.Write_OPERATION_DELETE:
		delete(c.objects, object.Ref)

		return nil
	case typesv1.Write_OPERATION_UPDATE:
		if !exists {
			return errors.New("it does not exist")
		}

		return c.update(stored, object)
	case typesv1.Write_OPERATION_UNSPECIFIED:
		fallthrough
	default:
		return errors.New("unknown operation")
	}
}

func (c *cluster) update(stored, object *objects.Object) error {
	if object.ResourceVersion != stored.ResourceVersion {
		return fmt.Errorf("it carries resourceVersion %q, shown was %q", object.ResourceVersion, stored.ResourceVersion)
	}
	for _, path := range [][]any{
		{"apiVersion"},
		{"status"},
		{"metadata", "uid"},
		{"metadata", "generation"},
		{"metadata", "ownerReferences"},
		{"metadata", "finalizers"},
	} {
		if textAt(stored, path...) != textAt(object, path...) {
			return fmt.Errorf("it changes %v, which is not a plugin's", path)
		}
	}
	if textAt(stored, "spec") != textAt(object, "spec") {
		generation, err := strconv.Atoi(textAt(stored, "metadata", "generation"))
		if err != nil {
			return err
		}
		object.Set(generation+1, "metadata", "generation")
	}

	return c.store(object)
}

// checkForeign makes sure that what newCluster put into the objects is still there, byte for byte.
func (c *cluster) checkForeign() error {
	for ref, object := range c.objects {
		if c.created[ref] {
			continue
		}
		if got, _ := object.Value("metadata", "annotations", foreignAnnotation); got != foreignText {
			return fmt.Errorf("%v: foreign annotation is %v, was %q", ref, got, foreignText)
		}
		if _, ok := object.Value("spec"); !ok {
			continue
		}
		if got := textAt(object, "spec", foreignField); got != foreignJSON {
			return fmt.Errorf("%v: unknown field spec.%s is %s, was %s", ref, foreignField, cmp.Or(got, "gone"), foreignJSON)
		}
	}

	return nil
}

// converge lets the fixture play the data plane on every object.
func (c *cluster) converge(play func(*objects.Object)) error {
	for _, ref := range c.refs() {
		object := c.objects[ref]
		play(object)
		if _, changed, err := object.Update(); err != nil || !changed {
			if err != nil {
				return err
			}

			continue
		}
		if err := c.store(object); err != nil {
			return err
		}
	}

	return nil
}

func (c *cluster) refs() []objects.Ref {
	refs := make([]objects.Ref, 0, len(c.objects))
	for ref := range c.objects {
		refs = append(refs, ref)
	}
	slices.SortFunc(refs, func(a, b objects.Ref) int { return strings.Compare(a.String(), b.String()) })

	return refs
}

// snapshot is everything a release has to restore: all objects without what the API server and the data plane write.
func (c *cluster) snapshot() (map[string]string, error) {
	all := map[string]string{}
	for ref, object := range c.objects {
		raw, err := object.JSON()
		if err != nil {
			return nil, err
		}
		bare, err := objects.Parse(raw)
		if err != nil {
			return nil, err
		}
		bare.Delete("status")
		bare.Delete("metadata", "resourceVersion")
		bare.Delete("metadata", "generation")
		text, err := bare.JSON()
		if err != nil {
			return nil, err
		}
		all[ref.String()] = string(text)
	}

	return all, nil
}

// restored reports what differs from an earlier snapshot: an object that changed, is gone, or is left.
func (c *cluster) restored(before map[string]string) error {
	after, err := c.snapshot()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		switch text, there := after[name]; {
		case !there:
			return fmt.Errorf("%s is gone", name)
		case text != before[name]:
			return fmt.Errorf("%s is\n%s\nand was\n%s", name, text, before[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, there := before[name]; !there {
			return fmt.Errorf("%s is left:\n%s", name, after[name])
		}
	}

	return nil
}

// replace puts the objects of another time in place of today's, as a person with an old manifest would.
func (c *cluster) replace(raws map[objects.Ref][]byte) error {
	for ref, raw := range raws {
		object, err := objects.Parse(raw)
		if err != nil {
			return err
		}
		generation, err := strconv.Atoi(textAt(c.objects[ref], "metadata", "generation"))
		if err != nil {
			return err
		}
		object.Set(generation+1, "metadata", "generation")
		if err := c.store(object); err != nil {
			return err
		}
	}

	return nil
}

func (c *cluster) raws() (map[objects.Ref][]byte, error) {
	all := map[objects.Ref][]byte{}
	for ref, object := range c.objects {
		raw, err := object.JSON()
		if err != nil {
			return nil, err
		}
		all[ref] = raw
	}

	return all, nil
}

// textAt is the JSON at a path, empty if nothing is there.
func textAt(object *objects.Object, path ...any) string {
	value, ok := object.Value(path...)
	if !ok {
		return ""
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err.Error()
	}

	return strings.TrimSpace(b.String())
}
