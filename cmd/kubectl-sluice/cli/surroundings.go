package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/preview"
)

// surroundings reads what a plan or an explanation of the Rollout needs.
func (c *cluster) surroundings(ctx context.Context, ro *v1alpha1.Rollout) (preview.Objects, error) {
	f, err := c.familyIn(ctx)
	if err != nil {
		return preview.Objects{}, err
	}
	o := preview.Objects{Rollout: ro, ReplicaSets: f.sets, Pods: f.pods, AnalysisRuns: f.runs, Experiments: f.experiments}
	var services corev1.ServiceList
	var templates v1alpha1.AnalysisTemplateList
	var clusterTemplates v1alpha1.ClusterAnalysisTemplateList
	var others v1alpha1.RolloutList
	for _, q := range []struct {
		list  client.ObjectList
		where []client.ListOption
	}{
		{&services, []client.ListOption{client.InNamespace(ro.Namespace)}}, {&templates, []client.ListOption{client.InNamespace(ro.Namespace)}},
		{&others, []client.ListOption{client.InNamespace(ro.Namespace)}}, {&clusterTemplates, nil},
	} {
		if err := c.List(ctx, q.list, q.where...); err != nil && (q.where != nil || !apierrors.IsForbidden(err)) {
			return o, err // whoever may only look into a namespace may not see cluster templates
		}
	}
	o.Services, o.Templates, o.ClusterTemplates = pointers(services.Items), pointers(templates.Items), pointers(clusterTemplates.Items)
	for i := range others.Items {
		if others.Items[i].Name != ro.Name {
			o.Others = append(o.Others, &others.Items[i])
		}
	}
	return o, c.workload(ctx, ro, &o)
}

// workload reads what spec.workloadRef names, if it exists.
func (c *cluster) workload(ctx context.Context, ro *v1alpha1.Rollout, o *preview.Objects) error {
	ref := ro.Spec.WorkloadRef
	if ref == nil {
		return nil
	}
	var obj client.Object
	switch ref.Kind {
	case "Deployment":
		obj = &appsv1.Deployment{}
	case "ReplicaSet":
		obj = &appsv1.ReplicaSet{}
	case "PodTemplate":
		obj = &corev1.PodTemplate{}
	default:
		return nil // the planner reports the kind
	}
	err := c.Get(ctx, client.ObjectKey{Namespace: ro.Namespace, Name: ref.Name}, obj)
	if err == nil {
		o.Workload = obj
	}
	return client.IgnoreNotFound(err)
}

// leaseOf is the lease of the controllers that serve an instance id.
func leaseOf(instance string) string {
	const name = "argo-rollouts-controller-lock"
	if instance == "" {
		return name
	}
	return name + "-" + instance
}

// around looks for the controller that serves the Rollout. Who may not see
// leases learns less, and no error.
func (c *cluster) around(ctx context.Context, ro *v1alpha1.Rollout, controllerNamespace string) (preview.Around, error) {
	var a preview.Around
	var leases coordinationv1.LeaseList
	want := leaseOf(ro.Labels[v1alpha1.LabelInstanceID])
	err := c.List(ctx, &leases, client.InNamespace(controllerNamespace), client.MatchingFields{"metadata.name": want})
	switch {
	case apierrors.IsForbidden(err):
		a.Unknown = true
	case err != nil:
		return a, err
	}
	a.Leased = len(leases.Items) > 0
	for _, l := range leases.Items {
		if l.Spec.RenewTime != nil && l.Spec.RenewTime.After(a.Renewed) && l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity != "" {
			a.Holder, a.Renewed = fmt.Sprintf("%s (namespace %s)", *l.Spec.HolderIdentity, l.Namespace), l.Spec.RenewTime.Time
		}
	}
	var budgets policyv1.PodDisruptionBudgetList
	if err := c.List(ctx, &budgets, client.InNamespace(ro.Namespace)); err == nil {
		for _, b := range budgets.Items {
			if b.Status.DisruptionsAllowed == 0 {
				a.Budgets = append(a.Budgets, fmt.Sprintf("%s (%d of %d pods it needs are healthy)", b.Name, b.Status.CurrentHealthy, b.Status.DesiredHealthy))
			}
		}
	} else if !apierrors.IsForbidden(err) {
		return a, err
	}
	a.Routes = c.routes(ctx, ro)
	return a, nil
}

// routes are the objects whose traffic the Rollout splits. Those that cannot be read
// are left out: what they would add is detail.
func (c *cluster) routes(ctx context.Context, ro *v1alpha1.Rollout) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, r := range preview.RouteObjects(ro) {
		mapping, err := c.RESTMapper().RESTMapping(r.GroupKind)
		if err != nil {
			continue
		}
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(mapping.GroupVersionKind)
		if c.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: r.Name}, u) == nil {
			out = append(out, u)
		}
	}
	return out
}

// ago is a time as people say it.
func ago(now, at time.Time) string {
	return strings.TrimSpace(viewer{now: now}.age(at) + " ago")
}
