package rollout

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Pod is what a restart asks of a pod.
type Pod struct {
	Name string
	UID  string
	// ReplicaSet is the UID of its owner.
	ReplicaSet  string
	Created     time.Time
	Terminating bool
	// Available: it has been ready for minReadySeconds.
	Available bool
}

// PodOf reads a pod at a moment; not ok for one that no ReplicaSet controls.
func PodOf(pod *corev1.Pod, minReady time.Duration, now time.Time) (Pod, bool) {
	owner := metav1.GetControllerOf(pod)
	if owner == nil || owner.Kind != "ReplicaSet" {
		return Pod{}, false
	}
	out := Pod{Name: pod.Name, UID: string(pod.UID), ReplicaSet: string(owner.UID), Created: pod.CreationTimestamp.Time,
		Terminating: pod.DeletionTimestamp != nil}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			out.Available = !c.LastTransitionTime.Add(minReady).After(now)
		}
	}
	return out, true
}
