package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// RouterAbout is what a router plugin is, without asking it anything about a
// rollout.
type RouterAbout interface {
	// Generation changes whenever the same question may get another answer:
	// with each start of the process and each change of its configuration.
	// Empty means that nobody can be asked now.
	Generation() string
	// Capabilities starts the plugin if need be.
	Capabilities(ctx context.Context) (rollout.Capabilities, *rollout.Problem)
	// Grant is complete once the plugin runs.
	Grant() rollout.Grant
}

// RouterPlugin is a router as the plugin host offers it. Every method has a
// deadline of its own.
type RouterPlugin interface {
	RouterAbout
	Validate(ctx context.Context, req rollout.ValidateRequest) (needs []rollout.Need, remark string, problem *rollout.Problem)
	Observe(ctx context.Context, req rollout.ObserveRequest) (rollout.ObserveAnswer, *rollout.Problem)
	Route(ctx context.Context, req rollout.RouteRequest) (rollout.RouteAnswer, *rollout.Problem)
}

// Objects is what the broker does for routers.
type Objects interface {
	Resolve(caller rollout.Caller, subscriber string, grant rollout.Grant, needs []rollout.Need) []rollout.NeedResult
	Apply(ctx context.Context, caller rollout.Caller, grant rollout.Grant, shown []rollout.NeedResult, writes []rollout.Write) error
	Forget(subscriber string)
}

// RoutersOptions of NewRouters. Plugin, Objects and Rollouts are required.
type RoutersOptions struct {
	// Plugin finds a router by its catalog name or alias, or says why there is
	// none.
	Plugin  func(name string) (RouterPlugin, *rollout.Problem)
	Objects Objects
	// Rollouts lists every Rollout in the cache. They are only read; they may
	// be the cache's own.
	Rollouts func() []*v1alpha1.Rollout
	// Now is the clock of the memory of refusals. Nil means time.Now.
	Now func() time.Time
	// Lanes are shared with whoever else calls plugins. Nil means some of their
	// own.
	Lanes *Lanes
	// Ring asks for a pass over a Rollout whose question was answered late. Nil
	// means that nobody has to be told.
	Ring func(types.NamespacedName)
}

// Routers asks router plugins on behalf of Rollouts: it feeds them the objects
// they need, remembers what they answered for as long as the inputs are the
// same, and hands their writes to the broker. Methods for one Rollout are
// called one after the other; for different ones at any time.
type Routers struct {
	RoutersOptions

	mu sync.Mutex
	// memos by Rollout, and within it by router.
	memos map[types.NamespacedName]map[string]*memo
}

// NewRouters returns Routers that remember nothing yet.
func NewRouters(o RoutersOptions) *Routers {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lanes == nil {
		o.Lanes = &Lanes{}
	}
	if o.Ring == nil {
		o.Ring = func(types.NamespacedName) {}
	}
	return &Routers{RoutersOptions: o, memos: map[types.NamespacedName]map[string]*memo{}}
}

// ObserveAll says, for every router of the Rollout in the order of
// rollout.Blocks, what traffic it routes now, or why that is not known. Nothing
// is written. A plugin is asked only if something it depends on has changed
// since its last answer.
func (r *Routers) ObserveAll(ctx context.Context, ro *v1alpha1.Rollout) []rollout.Router {
	blocks := rollout.Blocks(ro)
	keep := map[string]bool{}
	routers := make([]rollout.Router, 0, len(blocks))
	for _, block := range blocks {
		keep[memoKey(block.Plugin, block.Config)] = true
		routers = append(routers, r.observe(ctx, ro, block))
	}
	r.prune(ro, keep)
	return routers
}

func (r *Routers) observe(ctx context.Context, ro *v1alpha1.Rollout, block rollout.Block) rollout.Router {
	out := rollout.Router{Plugin: block.Plugin, Path: block.Path, Config: block.Config, Releasing: block.Releasing}
	plugin, problem := r.Plugin(block.Plugin)
	if problem != nil {
		out.Problem = problem
		return out
	}
	m := r.memo(ro, block)
	m.mu.Lock()
	defer m.mu.Unlock()
	ask, ctx, done := r.asking(ctx, m, plugin, ro, block)
	defer done()
	if out.Capabilities, out.Problem = m.begin(ctx, ask.lane, plugin); out.Problem != nil {
		return out
	}
	invalid := ask.validate(ctx)
	if invalid != nil && (invalid.Class == rollout.ProblemUnavailable || invalid.Class == rollout.ProblemWaiting && m.flight != nil) {
		// Whoever did not answer this would not answer the next one either.
		out.Problem = invalid
		return out
	}
	out.Problem = ask.observe(ctx, out.Capabilities.Observe)
	if out.Problem == nil {
		out.Observation = m.observation
		if !out.Capabilities.Observe {
			out.Observation = rollout.Remember(ro, block)
			out.Observation.Fingerprint = m.observation.Fingerprint
		}
		if len(m.observation.Claims) > 0 {
			out.Problem = contested(ro, m.observation.Claims, r.Rollouts())
		}
	}
	if invalid != nil {
		out.Problem = invalid
	} else if !block.Releasing {
		out.Remark = m.remark
	}
	return out
}

// asking begins a conversation with a plugin. The context ends when the worker
// has waited long enough.
func (r *Routers) asking(ctx context.Context, m *memo, plugin RouterPlugin, ro *v1alpha1.Rollout, block rollout.Block) (*asking, context.Context, context.CancelFunc) {
	lane := r.Lanes.of(block.Plugin)
	key := types.NamespacedName{Namespace: ro.Namespace, Name: ro.Name}
	ctx, cancel := context.WithTimeout(ctx, lane.patience)
	return &asking{
		memo: m, objects: r.Objects, plugin: plugin, ro: ro, block: block, now: r.Now(),
		lane: lane, ring: func() { r.Ring(key) },
	}, ctx, cancel
}

// Route asks the router for the writes of one stage towards the desired
// traffic and makes them. It returns nil when they are made, or when there was
// nothing to do. apierrors.IsConflict says that the objects are not, or no
// longer, those of the observation in op: observe again. A *rollout.Problem is
// the plugin's or the broker's refusal. The convergence is what a router
// without OBSERVE says of its data plane, "" when it says nothing.
func (r *Routers) Route(ctx context.Context, ro *v1alpha1.Rollout, op rollout.RouteTraffic) (rollout.Convergence, error) {
	return r.act(ctx, ro, op.Router, rollout.RouteRequest{Desired: &op.Desired, Verify: op.Verify})
}

// Release is Route towards leaving nothing behind.
func (r *Routers) Release(ctx context.Context, ro *v1alpha1.Rollout, op rollout.ReleaseTraffic) error {
	_, err := r.act(ctx, ro, op.Router, rollout.RouteRequest{Release: &op.Release})
	return err
}

func (r *Routers) act(ctx context.Context, ro *v1alpha1.Rollout, router rollout.Router, req rollout.RouteRequest) (rollout.Convergence, error) {
	plugin, problem := r.Plugin(router.Plugin)
	if problem != nil {
		return "", problem
	}
	block, ok := blockOf(ro, router)
	if !ok {
		return "", again(ro, "router "+router.Plugin+" is not in the Rollout any more")
	}
	m := r.memo(ro, block)
	m.mu.Lock()
	defer m.mu.Unlock()
	ask, waiting, done := r.asking(ctx, m, plugin, ro, block)
	defer done()
	inputs := ask.resolve(&m.observed)
	if m.generation != plugin.Generation() || unready(inputs) != nil || ask.fingerprint(&m.observed, inputs) != router.Observation.Fingerprint {
		return "", again(ro, "objects of router "+router.Plugin+" have changed since they were observed")
	}
	req.Target, req.Config, req.Inputs, req.Rollout = block.Target(ro), block.Config, inputs, ro
	if req.Release != nil {
		// As the stored config meant them: the spec may name others by now.
		release := *req.Release
		release.StableService, release.CanaryService = req.Target.StableService, req.Target.CanaryService
		release.Kept = block.Kept
		req.Release = &release
	}
	req.OperationID = operationOf(ro, block, req)
	answer, problem := ask.route(waiting, req, router.Observation.Fingerprint)
	if problem != nil {
		return "", problem
	}
	if !covered(answer.Needs, inputs) {
		// The next observation shows them, and the answer to that counts.
		m.routeNeeds = answer.Needs
		return "", again(ro, "router "+router.Plugin+" has to see more objects")
	}
	return answer.Convergence, r.Objects.Apply(ctx, ask.caller(), plugin.Grant(), inputs, answer.Writes)
}

// operationOf is the same as long as the same is asked of the same router since
// the same intent was recorded: a weight that is asked for once more later is
// another operation.
func operationOf(ro *v1alpha1.Rollout, block rollout.Block, req rollout.RouteRequest) string {
	var since *metav1.Time
	for _, e := range ro.Status.Canary.Routers {
		if e.Plugin == block.Plugin && rollout.SameConfig(e.Config, block.Config) && block.Releasing == (e.Phase == v1alpha1.RouterReleasing) {
			since = e.Since
		}
	}
	return string(ro.UID) + "/" + digest([]any{block.Plugin, string(block.Config), block.Releasing, since, req.Desired, req.Release})[:16]
}

// Forget drops everything remembered for a Rollout that is gone. Unknown ones
// are fine.
func (r *Routers) Forget(key types.NamespacedName) {
	r.mu.Lock()
	gone := r.memos[key]
	delete(r.memos, key)
	r.mu.Unlock()
	for _, m := range gone {
		r.Objects.Forget(m.subscriber)
	}
}

// memo finds or creates the memory of a router. A Rollout that was deleted and
// created again starts anew.
func (r *Routers) memo(ro *v1alpha1.Rollout, block rollout.Block) *memo {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := types.NamespacedName{Namespace: ro.Namespace, Name: ro.Name}
	if r.memos[key] == nil {
		r.memos[key] = map[string]*memo{}
	}
	name := memoKey(block.Plugin, block.Config)
	m := r.memos[key][name]
	if m == nil || m.uid != ro.UID {
		m = &memo{uid: ro.UID, subscriber: Subscriber(v1alpha1.KindRollout, key, name)}
		r.memos[key][name] = m
	}
	return m
}

// prune forgets routers the Rollout does not have any more.
func (r *Routers) prune(ro *v1alpha1.Rollout, keep map[string]bool) {
	r.mu.Lock()
	var gone []string
	key := types.NamespacedName{Namespace: ro.Namespace, Name: ro.Name}
	for name, m := range r.memos[key] {
		if !keep[name] {
			delete(r.memos[key], name)
			gone = append(gone, m.subscriber)
		}
	}
	if len(r.memos[key]) == 0 {
		delete(r.memos, key)
	}
	r.mu.Unlock()
	for _, subscriber := range gone {
		r.Objects.Forget(subscriber)
	}
}

func blockOf(ro *v1alpha1.Rollout, router rollout.Router) (rollout.Block, bool) {
	want := memoKey(router.Plugin, router.Config)
	for _, block := range rollout.Blocks(ro) {
		if block.Releasing == router.Releasing && memoKey(block.Plugin, block.Config) == want {
			return block, true
		}
	}
	return rollout.Block{}, false
}

// again is the conflict that makes the caller observe again.
func again(ro *v1alpha1.Rollout, why string) error {
	return apierrors.NewConflict(v1alpha1.Resource("rollouts"), ro.Name, fmt.Errorf("%s; observe again", why))
}
