package sim

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Undo does what `kubectl argo rollouts undo` does: it writes the template of
// the version's ReplicaSet, without our label, into the Rollout.
func (w *World) Undo(version string) {
	for _, rs := range list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet) {
		if image(rs.Spec.Template) != version {
			continue
		}
		template := *rs.Spec.Template.DeepCopy()
		delete(template.Labels, v1alpha1.LabelPodTemplateHash)
		w.Edit("undoes to "+version, func(ro *v1alpha1.Rollout) { ro.Spec.Template = template })
		return
	}
}

// defaulted fills in what the API server fills into a stored pod template.
func defaulted(spec *corev1.PodSpec) {
	seconds := int64(30)
	spec.RestartPolicy, spec.DNSPolicy, spec.TerminationGracePeriodSeconds = corev1.RestartPolicyAlways, corev1.DNSClusterFirst, &seconds
}

// TakeName creates a ReplicaSet of somebody else under the name that the
// version would get.
func (w *World) TakeName(version string) {
	ro := w.Rollout()
	name := ro.Name + "-" + rollout.TemplateHash(PodTemplate(version), ro.Status.CollisionCount)
	w.note("somebody else creates a ReplicaSet with the name that " + version + " would get")
	owner := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "other", UID: "other", Controller: new(true)}
	w.must(w.store.create(byUser, key{kindReplicaSet, name}, &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace, OwnerReferences: []metav1.OwnerReference{owner}},
		Spec:       appsv1.ReplicaSetSpec{Replicas: new(int32), Template: PodTemplate("other")},
	}))
}
