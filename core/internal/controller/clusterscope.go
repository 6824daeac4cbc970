package controller

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// clusterTemplatesAllowed asks whether this process may watch
// ClusterAnalysisTemplates. Limited to a namespace it often may not, and a watch
// that is refused would keep the controller from ever starting.
func clusterTemplatesAllowed(ctx context.Context, cfg *rest.Config) (bool, error) {
	reviews, err := authorizationclient.NewForConfig(cfg)
	if err != nil {
		return false, err
	}
	for _, verb := range []string{"list", "watch"} {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: v1alpha1.GroupVersion.Group, Resource: "clusteranalysistemplates", Verb: verb,
			},
		}}
		answer, err := reviews.SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return false, fmt.Errorf("ask whether ClusterAnalysisTemplates may be watched: %w", err)
		}
		if !answer.Status.Allowed {
			return false, nil
		}
	}
	return true, nil
}

// localCache has no ClusterAnalysisTemplates: to whoever names one it does not
// exist.
type localCache struct{ cache.Cache }

func newLocalCache(cfg *rest.Config, o cache.Options) (cache.Cache, error) {
	c, err := cache.New(cfg, o)
	return localCache{c}, err
}

func (c localCache) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if _, is := obj.(*v1alpha1.ClusterAnalysisTemplate); is {
		return apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("clusteranalysistemplates").GroupResource(), key.Name)
	}
	return c.Cache.Get(ctx, key, obj, opts...)
}
