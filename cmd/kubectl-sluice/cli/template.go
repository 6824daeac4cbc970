package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// templated is the object whose pod template an update changes: the Rollout, or
// the workload it refers to.
type templated struct {
	client.Object
	template corev1.PodTemplateSpec
	// at is the path of the template.
	at string
}

func (c *cluster) templateOf(ctx context.Context, ro *v1alpha1.Rollout) (templated, error) {
	ref := ro.Spec.WorkloadRef
	if ref == nil {
		return templated{ro, ro.Spec.Template, "/spec/template"}, nil
	}
	get := func(obj client.Object) error { return c.find(ctx, ref.Name, obj, listLike(obj)) }
	switch ref.Kind {
	case "Deployment":
		d := &appsv1.Deployment{}
		err := get(d)
		return templated{d, d.Spec.Template, "/spec/template"}, err
	case "ReplicaSet":
		rs := &appsv1.ReplicaSet{}
		err := get(rs)
		return templated{rs, rs.Spec.Template, "/spec/template"}, err
	case "PodTemplate":
		t := &corev1.PodTemplate{}
		err := get(t)
		return templated{t, t.Template, "/template"}, err
	}
	return templated{}, fmt.Errorf("spec.workloadRef names a %s, which has no pod template to change; name a Deployment, ReplicaSet or PodTemplate", ref.Kind)
}

func listLike(obj client.Object) client.ObjectList {
	switch obj.(type) {
	case *appsv1.Deployment:
		return &appsv1.DeploymentList{}
	case *appsv1.ReplicaSet:
		return &appsv1.ReplicaSetList{}
	}
	return &corev1.PodTemplateList{}
}

func (p *program) set() *cobra.Command {
	cmd := &cobra.Command{Use: "set", Short: "Change the pod template", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usage("say what: set image ROLLOUT CONTAINER=IMAGE")
		}}
	cmd.AddCommand(&cobra.Command{
		Use: "image ROLLOUT CONTAINER=IMAGE...", Short: "Change images, which starts an update; * is every container",
		Example: "  kubectl sluice set image web web=registry.example.com/web:v2",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return nil
			}
			return usage("give the name of a rollout and CONTAINER=IMAGE")
		},
		ValidArgsFunction: p.complete(rollouts),
		RunE:              func(cmd *cobra.Command, args []string) error { return p.setImage(cmd.Context(), args[0], args[1:]) },
	})
	return cmd
}

func (p *program) setImage(ctx context.Context, name string, assignments []string) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	images, err := parseImages(assignments)
	if err != nil {
		return err
	}
	ro, err := c.rollout(ctx, name)
	if err != nil {
		return err
	}
	on, err := c.templateOf(ctx, ro)
	if err != nil {
		return err
	}
	ops, err := imagePatch(on, images)
	if err != nil {
		return fmt.Errorf("rollout %s: %w", ro.Name, err)
	}
	if len(ops) == 0 {
		p.printf("rollout '%s' has these images already\n", ro.Name)
		return nil
	}
	if err := c.patchJSON(ctx, on.Object, ops); err != nil {
		return err
	}
	p.printf("rollout '%s' image updated\n", ro.Name)
	return nil
}

func parseImages(assignments []string) (map[string]string, error) {
	images := map[string]string{}
	for _, a := range assignments {
		container, image, ok := strings.Cut(a, "=")
		if !ok || container == "" || image == "" {
			return nil, usage("%q is not CONTAINER=IMAGE", a)
		}
		images[container] = image
	}
	return images, nil
}

// imagePatch replaces the images. Each replacement comes after a test that the
// container is still the one that was looked at; the rest of the template stays
// as it is stored, byte for byte.
func imagePatch(on templated, images map[string]string) ([]jsonPatch, error) {
	var ops []jsonPatch
	var known []string
	found := map[string]bool{}
	look := func(list string, i int, name, image string) {
		known = append(known, name)
		key := name
		if images[name] == "" {
			key = "*"
		}
		want := images[key]
		if want == "" {
			return
		}
		found[key] = true
		if want != image {
			at := fmt.Sprintf("%s/spec/%s/%d/", on.at, list, i)
			ops = append(ops, jsonPatch{"test", at + "name", name}, jsonPatch{"add", at + "image", want})
		}
	}
	spec := on.template.Spec
	for i, c := range spec.InitContainers {
		look("initContainers", i, c.Name, c.Image)
	}
	for i, c := range spec.Containers {
		look("containers", i, c.Name, c.Image)
	}
	for i, c := range spec.EphemeralContainers {
		look("ephemeralContainers", i, c.Name, c.Image)
	}
	for name := range images {
		if !found[name] {
			return nil, fmt.Errorf("it has no container %q; it has %s", name, strings.Join(known, ", "))
		}
	}
	return ops, nil
}

func (p *program) undo() *cobra.Command {
	var to int
	cmd := &cobra.Command{
		Use: "undo ROLLOUT", Aliases: []string{"rollback"}, Short: "Go back to the pod template of an earlier revision",
		Args: oneName("rollout"), ValidArgsFunction: p.complete(rollouts),
		RunE: func(cmd *cobra.Command, args []string) error { return p.undoTo(cmd.Context(), args[0], to) },
	}
	cmd.Flags().IntVar(&to, "to-revision", 0, "the revision to go back to; 0 is the one before the current one")
	return cmd
}

func (p *program) undoTo(ctx context.Context, name string, to int) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	ro, err := c.rollout(ctx, name)
	if err != nil {
		return err
	}
	sets, err := c.replicaSets(ctx, ro)
	if err != nil {
		return err
	}
	rs, err := revisionToUndo(sets, to)
	if err != nil {
		return fmt.Errorf("rollout %s: %w", ro.Name, err)
	}
	template := *rs.Spec.Template.DeepCopy()
	delete(template.Labels, v1alpha1.LabelPodTemplateHash)
	on, err := c.templateOf(ctx, ro)
	if err != nil {
		return err
	}
	if apiequality.Semantic.DeepEqual(on.template, template) || ro.Status.CurrentPodHash == rs.Labels[v1alpha1.LabelPodTemplateHash] && ro.Spec.WorkloadRef == nil {
		p.printf("rollout '%s' has the template of revision %d already\n", ro.Name, revision(rs))
		return nil
	}
	if err := c.patchJSON(ctx, on.Object, []jsonPatch{{"replace", on.at, template}}); err != nil {
		return err
	}
	p.printf("rollout '%s' undone to revision %d\n", ro.Name, revision(rs))
	return nil
}

// replicaSets of a Rollout, newest revision first.
func (c *cluster) replicaSets(ctx context.Context, ro *v1alpha1.Rollout) ([]*appsv1.ReplicaSet, error) {
	var list appsv1.ReplicaSetList
	if err := c.List(ctx, &list, client.InNamespace(ro.Namespace), client.HasLabels{v1alpha1.LabelPodTemplateHash}); err != nil {
		return nil, err
	}
	var out []*appsv1.ReplicaSet
	for i := range list.Items {
		if metav1.IsControlledBy(&list.Items[i], ro) {
			out = append(out, &list.Items[i])
		}
	}
	slices.SortStableFunc(out, func(a, b *appsv1.ReplicaSet) int { return cmp.Compare(revision(b), revision(a)) })
	return out, nil
}

// revision of an object; 0 when it has none.
func revision(obj client.Object) int {
	n, _ := strconv.Atoi(obj.GetAnnotations()[v1alpha1.AnnotationRevision]) // nonsense is no revision
	return n
}

// revisionToUndo finds the ReplicaSet of a revision; sets come newest first.
func revisionToUndo(sets []*appsv1.ReplicaSet, to int) (*appsv1.ReplicaSet, error) {
	var known []string
	for _, rs := range sets {
		known = append(known, strconv.Itoa(revision(rs)))
	}
	if to == 0 {
		if len(sets) < 2 {
			return nil, fmt.Errorf("there is no revision before the current one; revisions: %s", strings.Join(known, ", "))
		}
		return sets[1], nil
	}
	for _, rs := range sets {
		if revision(rs) == to {
			return rs, nil
		}
	}
	return nil, fmt.Errorf("there is no revision %d any more; revisions: %s", to, strings.Join(known, ", "))
}
