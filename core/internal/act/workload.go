package act

import (
	"context"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// scaleWorkload changes the size of the referenced Deployment. The marks that
// bring its replicas back are in the same write: there is no moment at which it
// is small and nobody knows what it was.
func (a *Actor) scaleWorkload(ctx context.Context, ro *v1alpha1.Rollout, o rollout.ScaleWorkload) error {
	body := map[string]any{"spec": map[string]any{"replicas": o.To}}
	if o.Remember != nil {
		body["metadata"] = map[string]any{
			"labels": map[string]any{rollout.LabelScaledDown: "true"},
			"annotations": map[string]any{
				rollout.AnnotationScaledDownBy: ro.Name,
				rollout.AnnotationReplicas:     strconv.Itoa(int(*o.Remember)),
			},
		}
	}
	obj := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: ro.Namespace, Name: o.Name}}
	return a.patch(ctx, "Deployment", obj, o.ResourceVersion, body)
}
