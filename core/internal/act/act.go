// Package act executes plans: ordered, idempotent operations, each API write
// with the resourceVersion it was computed from.
package act

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Router asks one router plugin for a distribution and writes what it answers.
type Router interface {
	// Route also says whether the data plane follows, where the answer tells;
	// otherwise "".
	Route(ctx context.Context, ro *v1alpha1.Rollout, op rollout.RouteTraffic) (rollout.Convergence, error)
	Release(ctx context.Context, ro *v1alpha1.Rollout, op rollout.ReleaseTraffic) error
}

// Steps asks one step plugin. The intent of the call is in status by then; a
// call with an operation id that was used before means that the outcome of the
// earlier one is not known. A problem means that nobody answered.
type Steps interface {
	Call(ctx context.Context, ro *v1alpha1.Rollout, call rollout.StepCall) (rollout.StepAnswer, *rollout.Problem)
}

// Memory is told of every write, so that observe can wait for caches.
type Memory interface {
	Wrote(kind string, obj metav1.Object)
	Created(kind string, owner types.UID, name string)
}

// Actor executes plans.
type Actor struct {
	// Writer writes to the API server, Live reads from it past every cache.
	Writer client.Client
	Live   client.Reader
	Router Router
	// Steps is nil where no plugin host offers steps; a call fails then.
	Steps  Steps
	Memory Memory
}

// Do executes the operations in order. A failure stops the operations that
// come after it by name, not its neighbours.
func (a *Actor) Do(ctx context.Context, s *rollout.Snapshot, plan rollout.Plan) rollout.Outcome {
	out := rollout.Outcome{Done: map[rollout.OpID]bool{}, Failed: map[rollout.OpID]error{},
		Steps: map[rollout.OpID]rollout.StepAnswer{}, Converged: map[rollout.OpID]rollout.Convergence{}}
	for _, op := range plan.Ops {
		if !ready(op, out) {
			continue
		}
		if err := a.one(ctx, s, op, &out); err != nil {
			out.Failed[op.ID()] = err
			continue
		}
		out.Done[op.ID()] = true
	}
	return out
}

func ready(op rollout.Op, out rollout.Outcome) bool {
	for _, id := range op.After() {
		if !out.Done[id] {
			return false
		}
	}
	return true
}

func (a *Actor) one(ctx context.Context, s *rollout.Snapshot, op rollout.Op, out *rollout.Outcome) error {
	ns := s.Rollout.Namespace
	switch o := op.(type) {
	case rollout.RecordIntent:
		return nil // record writes it
	case rollout.PatchRollout:
		return a.patchRollout(ctx, s.Rollout, o, out)
	case rollout.CreateReplicaSet:
		return a.createReplicaSet(ctx, s.Rollout, o, out)
	case rollout.AdoptReplicaSet:
		return a.adopt(ctx, s.Rollout, o)
	case rollout.UpdateReplicaSet:
		return a.updateReplicaSet(ctx, ns, o)
	case rollout.DeleteReplicaSet:
		return a.delete(ctx, &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: o.Name}}, o.UID, o.ResourceVersion)
	case rollout.ScaleWorkload:
		return a.scaleWorkload(ctx, s.Rollout, o)
	case rollout.SyncPods:
		return a.syncPods(ctx, ns, o)
	case rollout.EvictPod:
		return a.evict(ctx, ns, o)
	case rollout.PointService:
		return a.pointService(ctx, s.Rollout, o)
	case rollout.RouteTraffic:
		return a.route(ctx, s.Rollout, o, out)
	case rollout.ReleaseTraffic:
		return a.Router.Release(ctx, s.Rollout, o)
	case rollout.CreateExperiment:
		return a.createExperiment(ctx, s.Rollout, o)
	case rollout.TerminateExperiment:
		ex := &v1alpha1.Experiment{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: o.Name}}
		return a.patch(ctx, v1alpha1.KindExperiment, ex, o.ResourceVersion, map[string]any{"spec": map[string]any{"terminate": true}})
	case rollout.DeleteExperiment:
		return a.delete(ctx, &v1alpha1.Experiment{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: o.Name}}, o.UID, o.ResourceVersion)
	case rollout.CallStep:
		return a.callStep(ctx, s.Rollout, o, out)
	case rollout.CreateAnalysisRun:
		return a.createRun(ctx, s.Rollout, o)
	case rollout.TerminateAnalysisRun:
		run := &v1alpha1.AnalysisRun{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: o.Name}}
		return a.patch(ctx, "AnalysisRun", run, o.ResourceVersion, map[string]any{"spec": map[string]any{"terminate": true}})
	case rollout.DeleteAnalysisRun:
		return a.delete(ctx, &v1alpha1.AnalysisRun{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: o.Name}}, o.UID, o.ResourceVersion)
	}
	return fmt.Errorf("operation %s has unknown type %T", op.ID(), op)
}

func (a *Actor) patchRollout(ctx context.Context, ro *v1alpha1.Rollout, o rollout.PatchRollout, out *rollout.Outcome) error {
	body := map[string]any{}
	if o.Replicas != nil {
		body["spec"] = map[string]any{"replicas": *o.Replicas}
	}
	annotations := map[string]any{}
	if o.Revision != "" {
		annotations[v1alpha1.AnnotationRevision] = o.Revision
	}
	if o.WorkloadGeneration != "" {
		annotations[v1alpha1.AnnotationWorkloadGeneration] = o.WorkloadGeneration
	}
	if len(annotations) > 0 {
		body["metadata"] = map[string]any{"annotations": annotations}
	}
	obj := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: ro.Namespace, Name: ro.Name}}
	if err := a.patch(ctx, "Rollout", obj, o.ResourceVersion, body); err != nil {
		return err
	}
	out.ResourceVersion = obj.ResourceVersion
	return nil
}

// patch sends a JSON merge patch that only applies to the given version.
func (a *Actor) patch(ctx context.Context, kind string, obj client.Object, version string, body map[string]any) error {
	meta, _ := body["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		body["metadata"] = meta
	}
	meta["resourceVersion"] = version
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode patch of %s %s: %w", kind, obj.GetName(), err)
	}
	answer, err := a.answerTo(obj)
	if err == nil {
		err = a.Writer.Patch(ctx, answer, client.RawPatch(types.MergePatchType, raw))
	}
	if err != nil {
		return fmt.Errorf("patch %s %s/%s: %w", kind, obj.GetNamespace(), obj.GetName(), err)
	}
	obj.SetResourceVersion(answer.ResourceVersion)
	a.Memory.Wrote(kind, answer)
	return nil
}

// answerTo is where the answer to a patch of the object goes. Nothing but the
// metadata of it is looked at, so nothing else is asked for: a Rollout is mostly
// its pod template, and both sides would encode it for each of the thirteen
// writes of an update.
func (a *Actor) answerTo(obj client.Object) (*metav1.PartialObjectMetadata, error) {
	gvk, err := a.Writer.GroupVersionKindFor(obj)
	if err != nil {
		return nil, err
	}
	answer := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: obj.GetNamespace(), Name: obj.GetName()}}
	answer.SetGroupVersionKind(gvk)
	return answer, nil
}

// delete removes exactly the object the plan saw.
func (a *Actor) delete(ctx context.Context, obj client.Object, uid, version string) error {
	u := types.UID(uid)
	err := a.Writer.Delete(ctx, obj, client.Preconditions{UID: &u, ResourceVersion: &version},
		client.PropagationPolicy(metav1.DeletePropagationBackground))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %T %s/%s: %w", obj, obj.GetNamespace(), obj.GetName(), err)
	}
	return nil
}

func (a *Actor) pointService(ctx context.Context, ro *v1alpha1.Rollout, o rollout.PointService) error {
	body := map[string]any{"spec": map[string]any{"selector": map[string]any{v1alpha1.LabelPodTemplateHash: o.To}}}
	if o.Claim {
		body["metadata"] = map[string]any{"annotations": map[string]any{v1alpha1.AnnotationManagedBy: ro.Name}}
	}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ro.Namespace, Name: o.Name}}
	return a.patch(ctx, "Service", svc, o.ResourceVersion, body)
}

func (a *Actor) route(ctx context.Context, ro *v1alpha1.Rollout, o rollout.RouteTraffic, out *rollout.Outcome) error {
	convergence, err := a.Router.Route(ctx, ro, o)
	if err == nil && convergence != "" {
		out.Converged[o.ID()] = convergence
	}
	return err
}

func (a *Actor) callStep(ctx context.Context, ro *v1alpha1.Rollout, o rollout.CallStep, out *rollout.Outcome) error {
	if a.Steps == nil {
		return fmt.Errorf("step plugin %s: this controller runs without step plugins", o.Call.Plugin)
	}
	answer, problem := a.Steps.Call(ctx, ro, o.Call)
	if problem != nil {
		return problem
	}
	out.Steps[o.ID()] = answer
	return nil
}

// createRun creates the run, or finds that an earlier, interrupted pass has.
func (a *Actor) createRun(ctx context.Context, ro *v1alpha1.Rollout, o rollout.CreateAnalysisRun) error {
	run := o.Run.DeepCopy()
	err := a.Writer.Create(ctx, run)
	if apierrors.IsAlreadyExists(err) {
		var there v1alpha1.AnalysisRun
		if err := a.Live.Get(ctx, client.ObjectKeyFromObject(run), &there); err != nil {
			return fmt.Errorf("look at AnalysisRun %s: %w", run.Name, err)
		}
		if metav1.IsControlledBy(&there, ro) {
			return nil
		}
		return fmt.Errorf("AnalysisRun %s/%s exists and does not belong to Rollout %s: delete it", run.Namespace, run.Name, ro.Name)
	}
	if err != nil {
		return fmt.Errorf("create AnalysisRun %s/%s: %w", run.Namespace, run.Name, err)
	}
	a.Memory.Created("AnalysisRun", ro.UID, run.Name)
	return nil
}

// createExperiment creates the Experiment of a step, or finds that an earlier,
// interrupted pass has.
func (a *Actor) createExperiment(ctx context.Context, ro *v1alpha1.Rollout, o rollout.CreateExperiment) error {
	ex := o.Experiment.DeepCopy()
	err := a.Writer.Create(ctx, ex)
	if apierrors.IsAlreadyExists(err) {
		var there v1alpha1.Experiment
		if err := a.Live.Get(ctx, client.ObjectKeyFromObject(ex), &there); err != nil {
			return fmt.Errorf("look at Experiment %s: %w", ex.Name, err)
		}
		if metav1.IsControlledBy(&there, ro) {
			return nil
		}
		return fmt.Errorf("Experiment %s/%s exists and does not belong to Rollout %s: delete it", ex.Namespace, ex.Name, ro.Name)
	}
	if err != nil {
		return fmt.Errorf("create Experiment %s/%s: %w", ex.Namespace, ex.Name, err)
	}
	a.Memory.Created(v1alpha1.KindExperiment, ro.UID, ex.Name)
	return nil
}

// Failure joins what failed; nil when nothing did. Conflicts are left out: the
// event of the write that won starts the next pass. So are plugins that have
// been asked: their answer starts it.
func Failure(out rollout.Outcome) error {
	var errs []error
	for id, err := range out.Failed {
		if !apierrors.IsConflict(err) && !rollout.IsWaiting(err) {
			errs = append(errs, fmt.Errorf("%s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// Conflicted reports that somebody else changed an object first.
func Conflicted(out rollout.Outcome) bool {
	for _, err := range out.Failed {
		if apierrors.IsConflict(err) {
			return true
		}
	}
	return false
}

// AskAgain is when to make a call again that a plugin has not answered, should
// its event be missed; 0 when nobody said so.
func AskAgain(out rollout.Outcome) (soonest time.Duration) {
	for _, err := range out.Failed {
		var p *rollout.Problem
		if errors.As(err, &p) && p.Class == rollout.ProblemWaiting && p.Retry > 0 && (soonest == 0 || p.Retry < soonest) {
			soonest = p.Retry
		}
	}
	return soonest
}
