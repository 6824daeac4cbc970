package plugins

import (
	"encoding/json"
	"fmt"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Kind is what a plugin is asked for as.
type Kind string

// The kinds of plugins.
const (
	KindTrafficRouter  Kind = "traffic router"
	KindMetricProvider Kind = "metric provider"
	KindStep           Kind = "step"
)

// configKeys are the ConfigMap's keys, in the order they are read.
var configKeys = []struct {
	key  string
	kind Kind
}{
	{"trafficRouterPlugins", KindTrafficRouter},
	{"metricProviderPlugins", KindMetricProvider},
	{"stepPlugins", KindStep},
}

// policy is what the administrator set for all entries.
type policy struct {
	// requireDigest refuses net/rpc entries without sha256 as well.
	requireDigest bool
}

// catalog says which plugins there are. It is immutable.
type catalog struct {
	policy
	// bundled plugins by name, with the settings the ConfigMap gives them.
	bundled map[string]*entry
	// listed are the ConfigMap's entries by kind and canonical name.
	listed map[Kind]map[string]listed
	// complaints about the ConfigMap, by what they are about.
	complaints map[string]string
}

// listed is what the ConfigMap says under one name. With a nil entry, the
// bundled plugin of that name answers unless disabled.
type listed struct {
	entry    *entry
	refused  string
	disabled bool
}

// buildCatalog joins bundled files and the ConfigMap. What is wrong in the
// ConfigMap ends up in complaints and takes nothing else down: a refused
// entry, or a whole key that is no YAML list, stays as it was in old.
func buildCatalog(data, files map[string]string, old *catalog, p policy) *catalog {
	c := &catalog{policy: p, bundled: map[string]*entry{}, listed: map[Kind]map[string]listed{}, complaints: map[string]string{}}
	for name, path := range files {
		c.bundled[name] = &entry{name: name, id: name, bundled: true, path: path}
	}
	for _, k := range configKeys {
		c.listed[k.kind] = map[string]listed{}
		var raw []json.RawMessage
		if err := yaml.Unmarshal([]byte(data[k.key]), &raw); err != nil {
			c.complaints[k.key] = fmt.Sprintf("%s is not a YAML list; its plugins stay as they were: %v", k.key, err)
			c.keepKind(k.kind, old)
			continue
		}
		for i, one := range raw {
			c.add(k.key, k.kind, i, one, old)
		}
	}
	c.separateProcesses()
	return c
}

func (c *catalog) add(key string, kind Kind, index int, raw json.RawMessage, old *catalog) {
	it, err := decodeItem(raw)
	where := fmt.Sprintf("%s[%d]", key, index)
	if it.Name != "" {
		where += fmt.Sprintf(" (%s)", it.Name)
	}
	name := canonical(it.Name)
	if _, twice := c.listed[kind][name]; err == nil && twice {
		c.complaints[where] = where + " is refused: the name is listed twice, the first one counts"
		return
	}
	var e *entry
	if err == nil && !it.Disabled {
		e, err = it.resolve(name, kind, c.bundled[name], c.policy)
	}
	if err == nil && e != nil && it.Location == "" {
		err = c.override(name, e)
	}
	if err != nil {
		c.refuse(where, kind, name, err, old)
		return
	}
	if it.Location == "" {
		// It is about the bundled plugin, as a whole.
		e = nil
		if it.Disabled {
			delete(c.bundled, name)
		}
	}
	c.listed[kind][name] = listed{entry: e, disabled: it.Disabled}
}

// override gives a bundled plugin the settings of an entry without location.
// They hold for the whole process, whatever the kind they are listed under.
func (c *catalog) override(name string, e *entry) error {
	plain := &entry{name: name, id: name, bundled: true, path: e.path}
	e.kinds = nil
	if known := c.bundled[name]; !known.same(plain) && !known.same(e) {
		return fmt.Errorf("the bundled plugin is listed more than once, with different settings")
	}
	c.bundled[name] = e
	return nil
}

// refuse notes the complaint and keeps what the name meant before.
func (c *catalog) refuse(where string, kind Kind, name string, err error, old *catalog) {
	message := fmt.Sprintf("%s is refused: %v", where, err)
	kept, known := old.find(kind, name)
	kept.refused = message
	switch {
	case known && (kept.entry != nil || kept.disabled):
		message += "; the entry before it stays in force"
	case c.bundled[name] != nil:
		c.keepSettings(name, old)
		message += "; the bundled plugin of this name stays in use"
	}
	c.complaints[where] = message
	if name != "" {
		c.listed[kind][name] = kept
	}
}

// keepSettings keeps the settings a bundled plugin had.
func (c *catalog) keepSettings(name string, old *catalog) {
	was, is := old.bundledEntry(name), c.bundled[name]
	if was != nil && is != nil && was.path == is.path {
		c.bundled[name] = was
	}
}

func (c *catalog) keepKind(kind Kind, old *catalog) {
	if old == nil {
		return
	}
	for name, l := range old.listed[kind] {
		c.listed[kind][name] = l
		if l.entry == nil {
			c.keepSettings(name, old)
		}
	}
}

// separateProcesses makes sure that one id stands for one process: entries of
// the same name share it when they are the same but for their kind.
func (c *catalog) separateProcesses() {
	first := map[string]*entry{}
	for _, k := range configKeys {
		for name, l := range c.listed[k.kind] {
			if l.entry == nil {
				continue
			}
			e := *l.entry
			e.id = name
			switch shared := first[name]; {
			case shared == nil:
				e.kinds = []Kind{k.kind}
				first[name] = &e
				l.entry = &e
			case shared.sameProcess(&e):
				// Still private to this build: nobody has seen the pointer yet.
				shared.kinds = append(shared.kinds, k.kind)
				l.entry = shared
			default:
				e.id, e.kinds = fmt.Sprintf("%s (%s)", name, k.kind), []Kind{k.kind}
				l.entry = &e
			}
			c.listed[k.kind][name] = l
		}
	}
	for name, e := range c.bundled {
		if first[name] != nil {
			beside := *e
			beside.id = name + " (bundled)"
			c.bundled[name] = &beside
		}
	}
}

func (c *catalog) find(kind Kind, name string) (l listed, ok bool) {
	if c != nil {
		l, ok = c.listed[kind][name]
	}
	return l, ok
}

func (c *catalog) bundledEntry(name string) *entry {
	if c == nil {
		return nil
	}
	return c.bundled[name]
}

// lookup finds what answers to the name for the kind. The problem says why
// nothing does, and what to do about it.
func (c *catalog) lookup(kind Kind, name string) (*entry, *rollout.Problem) {
	l, _ := c.find(kind, canonical(name))
	switch e := c.bundledEntry(canonical(name)); {
	case l.disabled:
		return nil, unavailable("plugin %q is disabled in the plugin ConfigMap", name)
	case l.entry != nil:
		return l.entry, nil
	case e != nil:
		return e, nil
	case l.refused != "":
		return nil, unavailable("plugin %q cannot be used: %s", name, l.refused)
	}
	if instead, ok := retired[name]; ok && kind == KindTrafficRouter {
		return nil, unavailable("router %q does not come with Sluice, and no plugin of that name is listed in the plugin ConfigMap. %s", name, instead)
	}
	return nil, unavailable("%s plugin %q is not installed: it is neither bundled nor listed in the plugin ConfigMap", kind, name)
}

// processes are all entries by id.
func (c *catalog) processes() map[string]*entry {
	all := map[string]*entry{}
	for _, e := range c.bundled {
		all[e.id] = e
	}
	for _, names := range c.listed {
		for _, l := range names {
			if l.entry != nil {
				all[l.entry.id] = l.entry
			}
		}
	}
	return all
}

// names under which anything is known, sorted; for finding out what changed.
func (c *catalog) names() []string {
	var names []string
	for name := range c.bundled {
		names = append(names, name)
	}
	for _, byName := range c.listed {
		for name := range byName {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// answers describes what each kind gets for the name; two catalogs with equal
// answers treat the name alike.
func (c *catalog) answers(name string) [3]string {
	var out [3]string
	for i, k := range configKeys {
		e, problem := c.lookup(k.kind, name)
		if problem != nil {
			out[i] = problem.Message
			continue
		}
		out[i] = e.id
	}
	return out
}
