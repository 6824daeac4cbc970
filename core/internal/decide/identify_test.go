package decide

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

const wantedTemplate = `{"metadata":{"labels":{"app":"web"}},"spec":{
	"serviceAccountName":"web","nodeSelector":{"disk":"ssd"},
	"volumes":[{"name":"config","configMap":{"name":"web"}}],
	"containers":[{"name":"web","image":"web:1","args":["-v"],"env":[{"name":"A","value":"1"}],
		"ports":[{"containerPort":8080}],"resources":{"limits":{"memory":"64Mi"}},
		"livenessProbe":{"httpGet":{"path":"/","port":8080}}}]}}`

const storedTemplate = `{"metadata":{"creationTimestamp":null,"labels":{"app":"web","rollouts-pod-template-hash":"abc"}},"spec":{
	"serviceAccountName":"web","serviceAccount":"web","nodeSelector":{"disk":"ssd"},"restartPolicy":"Always","dnsPolicy":"ClusterFirst",
	"schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30,
	"volumes":[{"name":"config","configMap":{"name":"web","defaultMode":420}}],
	"containers":[{"name":"web","image":"web:1","args":["-v"],"env":[{"name":"A","value":"1"}],
		"ports":[{"containerPort":8080,"protocol":"TCP"}],"resources":{"limits":{"memory":"64Mi"}},
		"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent",
		"livenessProbe":{"httpGet":{"path":"/","port":8080,"scheme":"HTTP"},"successThreshold":1,"failureThreshold":3,"periodSeconds":10,"timeoutSeconds":1}}]}}`

// A template that the API server has filled with its defaults is the same
// revision; one from which the user removed anything at all is another one.
func TestSameTemplate(t *testing.T) {
	rs := &appsv1.ReplicaSet{Spec: appsv1.ReplicaSetSpec{Template: parseTemplate(t, storedTemplate)}}
	// What a role put there is not the user's.
	rs.Annotations = map[string]string{v1alpha1.AnnotationEphemeralMetadata: `{"labels":{"role":"canary"},"annotations":{"note":"new"}}`}
	rs.Spec.Template.Labels["role"], rs.Spec.Template.Annotations = "canary", map[string]string{"note": "new"}
	rs.Spec.Template.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{rollout.AwayFrom("n", "old")}}}
	stored := rollout.Undressed(rs)
	assert.True(t, sameTemplate(stored, parseTemplate(t, wantedTemplate)))

	for name, edit := range map[string]func(*corev1.PodTemplateSpec){
		"probe":           func(p *corev1.PodTemplateSpec) { p.Spec.Containers[0].LivenessProbe = nil },
		"limits":          func(p *corev1.PodTemplateSpec) { p.Spec.Containers[0].Resources = corev1.ResourceRequirements{} },
		"args":            func(p *corev1.PodTemplateSpec) { p.Spec.Containers[0].Args = nil },
		"one more arg":    func(p *corev1.PodTemplateSpec) { p.Spec.Containers[0].Args = []string{"-v", "-q"} },
		"environment":     func(p *corev1.PodTemplateSpec) { p.Spec.Containers[0].Env = nil },
		"ports":           func(p *corev1.PodTemplateSpec) { p.Spec.Containers[0].Ports = nil },
		"volumes":         func(p *corev1.PodTemplateSpec) { p.Spec.Volumes = nil },
		"node selector":   func(p *corev1.PodTemplateSpec) { p.Spec.NodeSelector = nil },
		"service account": func(p *corev1.PodTemplateSpec) { p.Spec.ServiceAccountName = "" },
		"image":           func(p *corev1.PodTemplateSpec) { p.Spec.Containers[0].Image = "web:2" },
		"label":           func(p *corev1.PodTemplateSpec) { p.Labels["tier"] = "front" },
	} {
		t.Run(name, func(t *testing.T) {
			wanted := parseTemplate(t, wantedTemplate)
			edit(&wanted)
			assert.False(t, sameTemplate(stored, wanted))
		})
	}
}

func parseTemplate(t *testing.T, raw string) (out corev1.PodTemplateSpec) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(raw), &out))
	return out
}
