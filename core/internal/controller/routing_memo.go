package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// memo is what is remembered of one router of one Rollout. Everything in it can
// be asked again; it saves calls, never correctness.
type memo struct {
	uid        types.UID
	subscriber string

	mu sync.Mutex
	// generation of the plugin the rest is from.
	generation string
	able       rollout.Capabilities
	validated  question
	observed   question
	// remark is the warning in the answer to validated; "" is none.
	remark string
	// observation is the answer to observed.
	observation rollout.Observation
	// routeNeeds is what Route asked for besides; heldNeeds are held objects no
	// need covers.
	routeNeeds []rollout.Need
	heldNeeds  []rollout.Need
	// flight is the call being made about this router, or answered too late for
	// the pass that made it; nil when there is none.
	flight *flight
}

// question is what a plugin was last asked, and how it answered.
type question struct {
	needs []rollout.Need
	// fingerprint of the inputs of the last answer that counts; empty when
	// there is none.
	fingerprint string
	problem     *rollout.Problem
	// until is when the answer ceases to count; zero means never.
	until time.Time
}

func (q *question) answered(fingerprint string, now time.Time) bool {
	return q.fingerprint == fingerprint && (q.until.IsZero() || now.Before(q.until))
}

// remember keeps an answer for a time; 0 means until the inputs change.
func (q *question) remember(fingerprint string, problem *rollout.Problem, now time.Time, keep time.Duration) {
	q.fingerprint, q.problem, q.until = fingerprint, problem, time.Time{}
	if keep > 0 {
		q.until = now.Add(keep)
	}
}

// begin makes sure the plugin runs, and forgets what another generation of it
// said. Capabilities are constant for a generation, so they are asked for once.
func (m *memo) begin(ctx context.Context, lane *lane, plugin RouterAbout) (rollout.Capabilities, *rollout.Problem) {
	if generation := plugin.Generation(); generation != "" && generation == m.generation {
		return m.able, nil
	}
	able, problem := capabilities(ctx, lane, plugin)
	if problem != nil {
		return rollout.Capabilities{}, problem
	}
	if generation := plugin.Generation(); generation != m.generation {
		m.validated, m.observed, m.observation = question{}, question{}, rollout.Observation{}
		m.routeNeeds, m.heldNeeds, m.remark = nil, nil, ""
		m.generation = generation
	}
	m.able = able
	return able, nil
}

// fingerprint identifies everything an answer may depend on.
func (a *asking) fingerprint(q *question, inputs []rollout.NeedResult) string {
	target := a.block.Target(a.ro)
	envelope := rollout.EnvelopeOf(a.ro)
	basis := []any{a.generation, string(a.block.Config), a.block.Releasing, a.block.Kept, a.block.ManagedNames, target.Labels,
		target.StableService, target.CanaryService, envelope.TotalWeight}
	if q == &a.validated {
		basis = append(basis, target.Generation, envelope)
	}
	for _, in := range inputs {
		basis = append(basis, needKey(in.Need), in.APIVersion)
		for _, object := range in.Objects {
			// Versions of one kind are unique across objects, so they stand
			// for the names as well.
			basis = append(basis, object.ResourceVersion, object.Held)
		}
	}
	return digest(basis)
}

func digest(v any) string {
	// Encoding strings, numbers and maps of them cannot fail.
	raw, _ := json.Marshal(v)
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16])
}

// capabilities starts the plugin if need be. Only some workers wait for that as
// long as ctx lasts, and none for one that was slow last; the plugin's being
// ready asks for the next pass of the rest.
func capabilities(ctx context.Context, lane *lane, plugin RouterAbout) (able rollout.Capabilities, problem *rollout.Problem) {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		able, problem = plugin.Capabilities(waiting)
	}()
	if lane.vain() || !lane.wait(ctx, done) {
		stop()
		<-done
	}
	return able, problem
}

// memoKey tells the routers of one Rollout apart: while an edited block is
// being released, one plugin has two.
func memoKey(plugin string, config json.RawMessage) string {
	return plugin + "#" + digest(config)[:8]
}

// Subscriber is the name under which the broker knows one user of objects; the
// part tells several users within one object apart.
func Subscriber(kind string, key types.NamespacedName, part string) string {
	return fmt.Sprintf("%s/%s/%s/%s", kind, key.Namespace, key.Name, part)
}

// ParseSubscriber returns the object to reconcile when the broker notifies a
// subscriber; ok is false for names Subscriber did not make.
func ParseSubscriber(s string) (kind string, key types.NamespacedName, ok bool) {
	parts := strings.SplitN(s, "/", 4)
	if len(parts) != 4 {
		return "", types.NamespacedName{}, false
	}
	return parts[0], types.NamespacedName{Namespace: parts[1], Name: parts[2]}, true
}

// needKey identifies a need. LabelSelectors encode in a fixed order.
func needKey(n rollout.Need) string {
	raw, _ := json.Marshal(n)
	return string(raw)
}

// unite appends the needs that are missing, and never writes into its
// arguments.
func unite(a, b []rollout.Need) []rollout.Need {
	have := map[string]bool{}
	out := make([]rollout.Need, 0, len(a)+len(b))
	for _, need := range slices.Concat(a, b) {
		if key := needKey(need); !have[key] {
			have[key] = true
			out = append(out, need)
		}
	}
	return out
}

// sameNeeds compares as sets: the order of needs means nothing.
func sameNeeds(a, b []rollout.Need) bool {
	x, y := unite(a, nil), unite(b, nil)
	return len(x) == len(y) && len(unite(x, y)) == len(x)
}

// shownNames are the names of all objects in the inputs, and of those asked for
// by name that do not exist.
func shownNames(inputs []rollout.NeedResult) map[string]bool {
	shown := map[string]bool{}
	for _, in := range inputs {
		gk := schema.GroupKind{Group: in.Need.Group, Kind: in.Need.Kind}
		if in.Need.Name != "" {
			shown[rollout.ObjectName(gk, in.Need.Namespace, in.Need.Name)] = true
			continue
		}
		for _, object := range in.Objects {
			shown[nameOf(gk, in.Need, object)] = true
		}
	}
	return shown
}

// nameOf avoids decoding objects whose name the need already says.
func nameOf(gk schema.GroupKind, need rollout.Need, object rollout.Object) string {
	if need.Name != "" {
		return rollout.ObjectName(gk, need.Namespace, need.Name)
	}
	var named struct {
		Metadata struct{ Name string }
	}
	// The bytes come from the broker, which encoded them.
	_ = json.Unmarshal(object.JSON, &named)
	return rollout.ObjectName(gk, need.Namespace, named.Metadata.Name)
}

// markHeld marks the objects of holds, and adds to the inputs those that only
// the holds name. The results are shared, so marking copies.
func (a *asking) markHeld(inputs, results []rollout.NeedResult) []rollout.NeedResult {
	held := map[string]bool{}
	for _, hold := range a.block.Holds {
		held[hold.Object] = true
	}
	out := slices.Clone(inputs)
	for _, result := range results {
		// A kind that is no longer served has no objects left to release.
		if result.State != rollout.NeedNotServed && slices.ContainsFunc(a.heldNeeds, func(n rollout.Need) bool {
			return needKey(n) == needKey(result.Need)
		}) && !covered([]rollout.Need{result.Need}, inputs) {
			out = append(out, result)
		}
	}
	for i, in := range out {
		gk := schema.GroupKind{Group: in.Need.Group, Kind: in.Need.Kind}
		objects := slices.Clone(in.Objects)
		for j := range objects {
			objects[j].Held = held[nameOf(gk, in.Need, objects[j])]
		}
		out[i].Objects = objects
	}
	return out
}
