package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/act"
	"github.com/sluice-rollouts/sluice/core/internal/observe"
)

var experimentKey = types.NamespacedName{Namespace: "shop", Name: "compare"}

// lab plays an Experiment through the real observe, decide, act and record
// against a store: pods come up when the lab says so, runs end when it says so.
type lab struct {
	t      *testing.T
	store  client.WithWatch
	now    time.Time
	events []string
	writes int
	// fault is asked about every write; see errLost and errRefused.
	fault func(n int) error
	// uids counts created objects.
	uids int
	// broken templates get no pods.
	broken map[string]bool

	reconciler *Experiments
}

// errLost is about a write whose answer never came, errRefused about one that
// was not carried out.
var (
	errLost    = errors.New("the answer was lost")
	errRefused = errors.New("the server is not there")
)

func newLab(t *testing.T, manifests ...string) *lab {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, clientgoscheme.AddToScheme(scheme))
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	l := &lab{t: t, now: time.Date(2026, 8, 22, 12, 0, 0, 0, time.UTC), broken: map[string]bool{}}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			l.uids++
			obj.SetUID(types.UID(fmt.Sprintf("uid-%d", l.uids)))
			obj.SetCreationTimestamp(metav1.NewTime(l.now))
			return l.write(func() error { return c.Create(ctx, obj, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return l.write(func() error { return c.Patch(ctx, obj, patch, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			return l.write(func() error { return c.Delete(ctx, obj, opts...) })
		},
	})
	for _, obj := range []client.Object{&appsv1.ReplicaSet{}, &corev1.Service{}, &v1alpha1.AnalysisRun{}, &v1alpha1.Experiment{}} {
		builder = builder.WithIndex(obj, observe.OwnerIndex, observe.Owner)
	}
	l.store = builder.Build()
	for _, m := range manifests {
		l.apply(m)
	}
	l.restart()
	return l
}

func (l *lab) write(do func() error) error {
	l.writes++
	var fault error
	if l.fault != nil {
		fault = l.fault(l.writes)
	}
	if errors.Is(fault, errRefused) {
		return fault
	}
	if err := do(); err != nil {
		return err
	}
	return fault
}

// restart is a new process with nothing but what is stored.
func (l *lab) restart() {
	written := &observe.Written{}
	l.reconciler = &Experiments{
		Reader:   l.store,
		Observer: &observe.Experiments{Reader: l.store, Live: l.store, Written: written, Now: func() time.Time { return l.now }},
		Actor:    &act.Actor{Writer: l.store, Live: l.store, Memory: written},
		Events:   l,
		Retries:  Retries(),
	}
}

// apply creates an object, past all faults.
func (l *lab) apply(manifest string) {
	l.t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(manifest))
	require.NoError(l.t, err)
	var kind metav1.TypeMeta
	require.NoError(l.t, json.Unmarshal(raw, &kind))
	obj, err := l.store.Scheme().New(kind.GroupVersionKind())
	require.NoError(l.t, err)
	require.NoError(l.t, json.Unmarshal(raw, obj))
	o := obj.(client.Object)
	o.SetNamespace(experimentKey.Namespace)
	if o.GetObjectKind().GroupVersionKind().Kind == v1alpha1.KindClusterAnalysisTemplate {
		o.SetNamespace("")
	}
	fault := l.fault
	l.fault = nil
	require.NoError(l.t, l.store.Create(context.Background(), o))
	l.fault = fault
}

// Event implements record.EventRecorder.
func (l *lab) Event(about runtime.Object, kind, reason, message string) {
	switch about.(type) {
	case *v1alpha1.Experiment:
		l.events = append(l.events, reason)
	case *v1alpha1.Rollout:
		l.events = append(l.events, "Rollout:"+kind+":"+reason)
	}
	require.NotEmpty(l.t, message)
}

// Eventf implements record.EventRecorder.
func (l *lab) Eventf(about runtime.Object, kind, reason, format string, args ...any) {
	l.Event(about, kind, reason, fmt.Sprintf(format, args...))
}

// AnnotatedEventf implements record.EventRecorder.
func (l *lab) AnnotatedEventf(about runtime.Object, _ map[string]string, kind, reason, format string, args ...any) {
	l.Event(about, kind, reason, fmt.Sprintf(format, args...))
}

func (l *lab) pass() ctrl.Result {
	l.t.Helper()
	result, err := l.reconciler.Reconcile(context.Background(), ctrl.Request{NamespacedName: experimentKey})
	if l.fault == nil {
		require.NoError(l.t, err)
	}
	return result
}

// settle makes passes until one writes nothing, with the ReplicaSet controller
// in between.
func (l *lab) settle() ctrl.Result {
	l.t.Helper()
	for range 50 {
		before := l.writes
		result := l.pass()
		moved := l.pods()
		if l.writes == before && !moved {
			return result
		}
	}
	require.FailNow(l.t, "no rest", "%+v", l.experiment().Status)
	return ctrl.Result{}
}

// pods gives every ReplicaSet the pods it wants, unless its template is broken.
func (l *lab) pods() (moved bool) {
	for _, rs := range l.sets() {
		want := *rs.Spec.Replicas
		up := want
		if l.broken[rs.Annotations[v1alpha1.AnnotationExperimentTemplateName]] {
			up = 0
		}
		if rs.Status.Replicas == want && rs.Status.AvailableReplicas == up && rs.Status.ObservedGeneration == rs.Generation {
			continue
		}
		rs.Status = appsv1.ReplicaSetStatus{Replicas: want, ReadyReplicas: up, AvailableReplicas: up, ObservedGeneration: rs.Generation}
		require.NoError(l.t, l.store.Status().Update(context.Background(), &rs))
		moved = true
	}
	return moved
}

// after lets time go by.
func (l *lab) after(d time.Duration) ctrl.Result {
	l.t.Helper()
	l.now = l.now.Add(d)
	return l.settle()
}

func (l *lab) experiment() *v1alpha1.Experiment {
	l.t.Helper()
	var ex v1alpha1.Experiment
	require.NoError(l.t, l.store.Get(context.Background(), experimentKey, &ex))
	return &ex
}

// edit changes the Experiment as a person does.
func (l *lab) edit(change func(*v1alpha1.Experiment)) {
	l.t.Helper()
	ex := l.experiment()
	change(ex)
	require.NoError(l.t, l.store.Update(context.Background(), ex))
}

func (l *lab) sets() []appsv1.ReplicaSet {
	var list appsv1.ReplicaSetList
	require.NoError(l.t, l.store.List(context.Background(), &list))
	return list.Items
}

func (l *lab) services() []corev1.Service {
	var list corev1.ServiceList
	require.NoError(l.t, l.store.List(context.Background(), &list))
	return list.Items
}

func (l *lab) runs() []v1alpha1.AnalysisRun {
	var list v1alpha1.AnalysisRunList
	require.NoError(l.t, l.store.List(context.Background(), &list))
	return list.Items
}

// verdict ends a run.
func (l *lab) verdict(name string, phase v1alpha1.AnalysisPhase, message string) {
	l.t.Helper()
	var run v1alpha1.AnalysisRun
	require.NoError(l.t, l.store.Get(context.Background(), types.NamespacedName{Namespace: experimentKey.Namespace, Name: name}, &run))
	run.Status.Phase, run.Status.Message = phase, message
	require.NoError(l.t, l.store.Update(context.Background(), &run))
}

// picture is the state a person sees, one line a thing.
func (l *lab) picture() string {
	var b strings.Builder
	st := l.experiment().Status
	fmt.Fprintf(&b, "%s %s\n", st.Phase, st.Message)
	for _, t := range st.TemplateStatuses {
		fmt.Fprintf(&b, "template %s %s %d/%d service=%q %s\n", t.Name, t.Status, t.AvailableReplicas, t.Replicas, t.ServiceName, t.Message)
	}
	for _, a := range st.AnalysisRuns {
		fmt.Fprintf(&b, "analysis %s %s %s %s\n", a.Name, a.AnalysisRun, a.Phase, a.Message)
	}
	var lines []string
	for _, rs := range l.sets() {
		delayed := ""
		if rs.Annotations[v1alpha1.AnnotationScaleDownDeadline] != "" {
			delayed = " delayed"
		}
		lines = append(lines, fmt.Sprintf("rs %s wants %d%s", rs.Name, *rs.Spec.Replicas, delayed))
	}
	for _, svc := range l.services() {
		lines = append(lines, "service "+svc.Name)
	}
	for _, run := range l.runs() {
		lines = append(lines, fmt.Sprintf("run %s terminate=%t", run.Name, run.Spec.Terminate))
	}
	sort.Strings(lines)
	b.WriteString(strings.Join(lines, "\n"))
	return strings.ReplaceAll(b.String(), " \n", "\n")
}
