package rollout

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Block is one router of a Rollout: a block under trafficRouting, or one that
// is only remembered in status.
type Block struct {
	// Plugin is the catalog name.
	Plugin string
	// Path of the block in the Rollout.
	Path string
	// Config is the user's block, never empty: a block without content is "{}".
	Config json.RawMessage
	// Releasing is true for a router that is only in status; Config is the
	// stored one.
	Releasing bool
	// ManagedNames are the routes the plugin may delete: those of
	// spec.managedRoutes and those recorded for the plugin earlier.
	ManagedNames []string
	// Holds are the parts of objects recorded for this router.
	Holds []v1alpha1.RouterHold
	// Kept is what the spec's routers hold, for a releasing one: not its to
	// give back.
	Kept []Claim
	// Intended is what a releasing router was last asked for; nil otherwise,
	// and when it never was.
	Intended *v1alpha1.TrafficWeights
}

const trafficRoutingPath = "spec.strategy.canary.trafficRouting"

// builtin is the table of the blocks that have a name of their own: the plugin
// of a block is called like the block. A new router needs no line here; it
// lives under plugins.
var builtin = []struct {
	plugin string
	block  func(*v1alpha1.RolloutTrafficRouting) any
}{
	{"istio", func(t *v1alpha1.RolloutTrafficRouting) any { return t.Istio }},
	{"nginx", func(t *v1alpha1.RolloutTrafficRouting) any { return t.Nginx }},
	{"alb", func(t *v1alpha1.RolloutTrafficRouting) any { return t.ALB }},
	{"apisix", func(t *v1alpha1.RolloutTrafficRouting) any { return t.Apisix }},
	{"smi", func(t *v1alpha1.RolloutTrafficRouting) any { return t.SMI }},
	{"traefik", func(t *v1alpha1.RolloutTrafficRouting) any { return t.Traefik }},
	{"ambassador", func(t *v1alpha1.RolloutTrafficRouting) any { return t.Ambassador }},
	{"appMesh", func(t *v1alpha1.RolloutTrafficRouting) any { return t.AppMesh }},
}

// Blocks lists the routers of a Rollout in the order they are driven: those of
// the spec, built-in names first, then plugins by name; after them the
// releasing ones in the order of status.
//
// A router is releasing when status remembers it and the spec no longer names
// its plugin, or when status already says so: then its block was edited, and
// what the old config reached is given back. A spec that has returned to that
// config ends the release.
func Blocks(ro *v1alpha1.Rollout) []Block {
	blocks := specBlocks(ro)
	for i := range ro.Status.Canary.Routers {
		entry := &ro.Status.Canary.Routers[i]
		at := slices.IndexFunc(blocks, func(b Block) bool { return !b.Releasing && b.Plugin == entry.Plugin })
		if at < 0 || entry.Phase == v1alpha1.RouterReleasing && !SameConfig(blocks[at].Config, entry.Config) {
			blocks = append(blocks, Block{
				Plugin:       entry.Plugin,
				Path:         fmt.Sprintf("status.canary.routers[%s]", entry.Plugin),
				Config:       orEmptyObject(entry.Config),
				Releasing:    true,
				ManagedNames: entry.ManagedRoutes,
				Holds:        entry.Holds,
				Intended:     Asked(*entry),
			})
			continue
		}
		blocks[at].ManagedNames = union(blocks[at].ManagedNames, entry.ManagedRoutes)
		blocks[at].Holds = append(blocks[at].Holds, entry.Holds...)
	}
	var kept []Claim
	for _, block := range blocks {
		for _, h := range block.Holds {
			if !block.Releasing {
				kept = append(kept, Claim{Object: h.Object, Key: h.Key})
			}
		}
	}
	for i := range blocks {
		if blocks[i].Releasing {
			blocks[i].Kept = kept
		}
	}
	return blocks
}

// Asked is what a router was last asked for; nil when it never was, and Intended
// only notes the Services that the spec named then.
func Asked(entry v1alpha1.RouterStatus) *v1alpha1.TrafficWeights {
	if entry.Since == nil {
		return nil
	}
	return entry.Intended
}

func specBlocks(ro *v1alpha1.Rollout) []Block {
	canary := ro.Spec.Strategy.Canary
	if canary == nil || canary.TrafficRouting == nil {
		return nil
	}
	routing := canary.TrafficRouting
	var names []string
	for _, m := range routing.ManagedRoutes {
		names = union(names, []string{m.Name})
	}
	var blocks []Block
	for _, b := range builtin {
		value := b.block(routing)
		if reflect.ValueOf(value).IsNil() {
			continue
		}
		// Encoding these structs cannot fail: strings, numbers and lists.
		raw, _ := json.Marshal(value)
		blocks = append(blocks, Block{Plugin: b.plugin, Path: trafficRoutingPath + "." + b.plugin, Config: raw, ManagedNames: names})
	}
	for _, name := range slices.Sorted(maps.Keys(routing.Plugins)) {
		blocks = append(blocks, Block{
			Plugin:       name,
			Path:         fmt.Sprintf("%s.plugins[%s]", trafficRoutingPath, name),
			Config:       orEmptyObject(routing.Plugins[name]),
			ManagedNames: names,
		})
	}
	return blocks
}

func orEmptyObject(raw json.RawMessage) json.RawMessage {
	if t := bytes.TrimSpace(raw); len(t) == 0 || string(t) == "null" {
		return json.RawMessage("{}")
	}
	return raw
}

// SameConfig compares what two router blocks say, not their bytes: the API
// server may reorder keys, and an empty block is the same as none.
func SameConfig(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(orEmptyObject(a), &x) != nil || json.Unmarshal(orEmptyObject(b), &y) != nil {
		return bytes.Equal(a, b)
	}
	return reflect.DeepEqual(x, y)
}

// union appends what is missing, and never writes into its arguments.
func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// Target is what the router's plugin learns about the Rollout. With ping-pong
// the two Services take turns; ping begins as the stable one. A releasing
// router is told the Services it last routed to, because the spec may name
// others by now, or none.
func (b Block) Target(ro *v1alpha1.Rollout) Target {
	t := Target{
		Namespace:  ro.Namespace,
		Name:       ro.Name,
		UID:        string(ro.UID),
		Generation: ro.Generation,
		Labels:     ro.Labels,
	}
	if b.Intended != nil {
		t.StableService, t.CanaryService = b.Intended.Stable.ServiceName, b.Intended.Canary.ServiceName
		return t
	}
	if stable, canary, ok := Routed(ro); ok {
		t.StableService, t.CanaryService = stable, canary
		return t
	}
	t.StableService, t.CanaryService = Services(ro)
	return t
}

// Services are the Services of a canary by the role they have now; "" where the
// spec names none. With ping-pong the two take turns: ping begins as the stable
// one.
func Services(ro *v1alpha1.Rollout) (stable, canary string) {
	c := ro.Spec.Strategy.Canary
	switch {
	case c == nil: // of another strategy: what routers that are being released still send traffic to
		for _, r := range ro.Status.Canary.Routers {
			if w := r.Intended; w != nil {
				return w.Stable.ServiceName, w.Canary.ServiceName
			}
		}
		return "", ""
	case c.PingPong == nil:
		return c.StableService, c.CanaryService
	case ro.Status.Canary.StablePingPong == v1alpha1.PingPongPong:
		return c.PingPong.PongService, c.PingPong.PingService
	}
	return c.PingPong.PingService, c.PingPong.PongService
}

// Routed are the Services an aborted Rollout's traffic still has to be taken
// back from: those last routed to, whatever the spec names by now. An edit that
// mistypes a name must not keep an abort from working. Not ok when there is
// nothing to take back.
func Routed(ro *v1alpha1.Rollout) (stable, canary string, ok bool) {
	w := ro.Status.Canary.Weights
	if !ro.Status.Abort || w == nil || w.Canary.Weight == 0 || w.Stable.ServiceName == "" || w.Canary.ServiceName == "" {
		return "", "", false
	}
	return w.Stable.ServiceName, w.Canary.ServiceName, true
}
