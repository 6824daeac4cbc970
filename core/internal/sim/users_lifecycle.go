package sim

import (
	"fmt"
	"math/rand"
	"time"

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
		if w.Rollout().Spec.WorkloadRef != nil {
			return // it would write into the Deployment, which is an ordinary edit
		}
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

// Restart does what `kubectl argo rollouts restart` does.
func (w *World) Restart() {
	at := metav1.NewTime(w.now.Truncate(time.Second))
	w.Edit("restarts the pods", func(ro *v1alpha1.Rollout) { ro.Spec.RestartAt = &at })
}

// SetBudget changes what the PodDisruptionBudget of all pods keeps available.
func (w *World) SetBudget(available int) {
	w.note(fmt.Sprintf("the PodDisruptionBudget keeps %d pods", available))
	w.MinAvailable, w.disturbed = available, true
}

// SetRoles sets the metadata that the pods of the new and of the stable revision
// carry: those of canary and stable, or of preview and active.
func (w *World) SetRoles(coming, staying map[string]string) {
	w.Edit("sets the metadata of the roles", func(ro *v1alpha1.Rollout) {
		comes, stays := &v1alpha1.PodTemplateMetadata{Labels: coming}, &v1alpha1.PodTemplateMetadata{Labels: staying}
		if c := ro.Spec.Strategy.Canary; c != nil {
			c.CanaryMetadata, c.StableMetadata = comes, stays
		}
		if bg := ro.Spec.Strategy.BlueGreen; bg != nil {
			bg.PreviewMetadata, bg.ActiveMetadata = comes, stays
		}
	})
}

// disturbLifecycle lets somebody do what is not part of an update.
func (w *World) disturbLifecycle(r *rand.Rand) {
	switch r.Intn(6) {
	case 0, 1:
		w.Restart()
	case 2:
		w.SetBudget(r.Intn(5))
	case 3, 4:
		roles := []map[string]string{nil, {"role": "canary"}, {"role": "stable", "tier": "1"}, {"tier": "2"}}
		w.SetRoles(roles[r.Intn(4)], roles[r.Intn(4)])
	case 5:
		version := versions[r.Intn(len(versions))]
		w.Undo(version)
	}
}
