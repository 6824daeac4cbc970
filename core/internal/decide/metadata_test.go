package decide

import (
	"testing"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// The metadata of a role goes into the one write of a ReplicaSet: one that is being
// adopted gets it in the next pass. Without a selector, as under a workloadRef that
// has not been read, any label may be set.
func TestMetadataOfARoleIsNotWrittenTwice(t *testing.T) {
	p := canaryOf(4, count{4, 4}, count{1, 1})
	p.plan.Ops = []rollout.Op{rollout.AdoptReplicaSet{Name: "canary"}}
	p.redress(p.newRS, rollout.TemplatePatch{}, true, v1alpha1.PodTemplateMetadata{}, v1alpha1.PodTemplateMetadata{})
	assert.Len(t, p.plan.Ops, 1)
	p.redress(p.stableRS, rollout.TemplatePatch{}, true, v1alpha1.PodTemplateMetadata{}, v1alpha1.PodTemplateMetadata{})
	assert.Len(t, p.plan.Ops, 2)

	role := &v1alpha1.PodTemplateMetadata{Labels: map[string]string{"app": "other"}}
	for _, selector := range []*metav1.LabelSelector{nil, {MatchLabels: map[string]string{"app": "x"}}} {
		p := canaryOf(4, count{4, 4}, count{1, 1})
		p.ro.Spec.Selector = selector
		p.validRole("spec.strategy.canary.canaryMetadata", role)
		assert.Equal(t, selector != nil, p.plan.Invalid != "")
	}
}
