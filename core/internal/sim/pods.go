package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// observePods reads pods as observe does: from the cluster itself, and only
// while a restart is due.
func (w *World) observePods(s *rollout.Snapshot) {
	at := s.Rollout.Spec.RestartAt
	if at == nil || at.Equal(s.Rollout.Status.RestartedAt) || w.now.Before(at.Time) {
		return
	}
	s.Pods = []rollout.Pod{}
	for _, rs := range s.ReplicaSets {
		for _, p := range w.pods[rs.Name] {
			s.Pods = append(s.Pods, rollout.Pod{Name: p.name, UID: p.name, ReplicaSet: string(rs.UID), Created: p.created,
				Available: !p.broken && !p.from.After(w.now)})
		}
	}
}

// evict plays the Eviction API with one PodDisruptionBudget over all pods.
func (w *World) evict(o rollout.EvictPod) error {
	available, owner := 0, ""
	for name, pods := range w.pods {
		for _, p := range pods {
			if !p.broken && !p.from.After(w.now) {
				available++
			}
			if p.name == o.Name {
				owner = name
			}
		}
	}
	if owner == "" {
		return nil // gone already
	}
	if w.MinAvailable > 0 && available <= w.MinAvailable {
		return &rollout.Problem{Class: rollout.ProblemRefused, Reason: string(rollout.HoldDisruptionBudget),
			Message: fmt.Sprintf("Pod of %s may not be evicted: its PodDisruptionBudget keeps %d available", owner, w.MinAvailable)}
	}
	w.writer = byController
	w.journal.add(w, "pods    %s: a pod is evicted", owner)
	w.writer = byCluster
	w.pods[owner] = slices.DeleteFunc(slices.Clone(w.pods[owner]), func(p pod) bool { return p.name == o.Name })
	if rs := find[*appsv1.ReplicaSet](w.store.live, kindReplicaSet, owner); rs != nil {
		w.reportPods(rs)
		w.after(w.Latency, func() { w.syncPods(owner) })
	}
	return nil
}

// dressPods patches the pods of a ReplicaSet, and may die before any of them.
func (w *World) dressPods(o rollout.SyncPods) error {
	pods := slices.Clone(w.pods[o.Name])
	for i := range pods {
		pods[i].labels, pods[i].annotations = changed(pods[i].labels, o.Labels), changed(pods[i].annotations, o.Annotations)
	}
	w.pods[o.Name] = pods
	return w.edit(key{kindReplicaSet, o.Name}, o.ResourceVersion, func(obj object) {
		annotations := maps.Clone(obj.GetAnnotations())
		delete(annotations, rollout.AnnotationPodsMetadata)
		obj.SetAnnotations(annotations)
	})
}

// changed is a copy of the map with the changes of a merge patch.
func changed(m map[string]string, changes map[string]*string) map[string]string {
	out := maps.Clone(m)
	for k, v := range changes {
		if v == nil {
			delete(out, k)
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[k] = *v
	}
	return out
}

// undressed says which pods do not carry what their template says; "" when all
// do.
func (w *World) undressed() string {
	for _, rs := range list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet) {
		for _, p := range w.pods[rs.Name] {
			if !maps.Equal(p.labels, rs.Spec.Template.Labels) || !maps.Equal(p.annotations, rs.Spec.Template.Annotations) {
				return fmt.Sprintf("a pod of %s carries %v %v, its template %v %v", rs.Name, p.labels, p.annotations,
					rs.Spec.Template.Labels, rs.Spec.Template.Annotations)
			}
		}
	}
	return ""
}

func metadataText(rs *appsv1.ReplicaSet) string {
	return cmp.Or(rs.Annotations[v1alpha1.AnnotationEphemeralMetadata], "no metadata of a role")
}
