package experiment

import (
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// expose creates the Services of templates that ask for one, and removes those
// whose pods are gone.
func (p *planner) expose() {
	kept := map[*corev1.Service]bool{}
	for i, t := range p.ex.Spec.Templates {
		rs, svc := p.sets[t.Name], p.services[t.Name]
		if rs == nil {
			continue
		}
		if rollout.SpecReplicas(rs) > 0 || rs.Status.AvailableReplicas > 0 || p.s.routed(rollout.Hash(rs)) {
			kept[svc] = true
		}
		if !p.takesPart(&p.plan.Status.TemplateStatuses[i]) {
			continue
		}
		kept[svc] = true
		if svc == nil && wantsService(t) {
			p.add(CreateService{
				Identity: identity("create-service", t.Name), Template: t.Name,
				Service: service(p.ex, t, rs.Name, rs.Spec.Selector.MatchLabels),
			})
		}
	}
	for _, svc := range p.s.Services {
		if !kept[svc] && svc.DeletionTimestamp == nil {
			p.add(DeleteService{
				Identity: identity("delete-service", svc.Name), Name: svc.Name, UID: string(svc.UID), ResourceVersion: svc.ResourceVersion,
			})
		}
	}
}

// wantsService: a Service without ports cannot exist.
func wantsService(t v1alpha1.TemplateSpec) bool {
	return t.Service != nil && t.ReplicasOrDefault() > 0 && len(ports(t)) > 0
}

func service(ex *v1alpha1.Experiment, t v1alpha1.TemplateSpec, name string, selector map[string]string) *corev1.Service {
	if t.Service.Name != "" {
		name = t.Service.Name
	}
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: ex.Namespace, Annotations: annotations(ex, t),
			OwnerReferences: []metav1.OwnerReference{owner(ex)},
		},
		Spec: corev1.ServiceSpec{Selector: maps.Clone(selector), Ports: ports(t)},
	}
}

// ports has one for each port of a container. They keep their names, by which
// meshes know protocols; several need names, so those without get one.
func ports(t v1alpha1.TemplateSpec) []corev1.ServicePort {
	var out []corev1.ServicePort
	names := map[string]bool{}
	type key struct {
		port     int32
		protocol corev1.Protocol
	}
	seen := map[key]bool{}
	for _, c := range t.Template.Spec.Containers {
		for _, port := range c.Ports {
			k := key{port.ContainerPort, port.Protocol}
			if seen[k] {
				continue
			}
			seen[k] = true
			name := port.Name
			if name == "" || names[name] {
				name = "port-" + strconv.Itoa(len(out)+1)
			}
			names[name] = true
			out = append(out, corev1.ServicePort{
				Name: name, Protocol: port.Protocol, Port: port.ContainerPort, TargetPort: intstr.FromInt32(port.ContainerPort),
			})
		}
	}
	return out
}
