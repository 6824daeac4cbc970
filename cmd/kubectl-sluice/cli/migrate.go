package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/preview"
	"github.com/sluice-rollouts/sluice/plugins/nginx/migration"
)

func (p *program) migrate() *cobra.Command {
	var out output
	var everywhere bool
	var controllers string
	var with []string
	cmd := &cobra.Command{
		Use: "migrate", Short: "Find what would be different if Sluice's controller took over from Argo Rollouts'",
		Long: `Look at the Rollouts, the templates and the controller of a cluster for anything
that would behave differently under Sluice's controller, or be ignored. Nothing is
written. Each finding names the object, the field and the cure.

Exit codes: 0 nothing is found, 1 something is, or it could not be looked at.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			c, err := p.connect()
			if err != nil {
				return err
			}
			if everywhere {
				c.namespace = ""
			}
			p.progress("reading the cluster …")
			f, unseen, err := c.fleet(cmd.Context(), controllers)
			if err != nil {
				return err
			}
			f.Installed = append(f.Installed, append(preview.Bundled(), with...)...)
			return p.tellConcerns(out, preview.Migrate(f), unseen, len(f.Rollouts))
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&everywhere, "all-namespaces", "A", true, "look into all namespaces")
	f.StringVar(&controllers, "controller-namespace", "argo-rollouts", "where Argo Rollouts' controller and its ConfigMaps are")
	f.StringSliceVar(&with, "with-plugin", nil, "a plugin that will be listed, by the name Rollouts and templates use")
	out.bind(cmd)
	cmd.AddCommand(p.migrateIngress())
	return cmd
}

// fleet reads what a migration is about, and says what it was not allowed to
// see.
func (c *cluster) fleet(ctx context.Context, controllers string) (preview.Fleet, []string, error) {
	var ros v1alpha1.RolloutList
	var templates v1alpha1.AnalysisTemplateList
	var clusterTemplates v1alpha1.ClusterAnalysisTemplateList
	var configs corev1.ConfigMapList
	var deployments appsv1.DeploymentList
	secrets := metav1.PartialObjectMetadataList{}
	secrets.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "SecretList"})
	var unseen []string
	for _, q := range []struct {
		what string
		list client.ObjectList
		opts []client.ListOption
	}{
		{"Rollouts", &ros, []client.ListOption{client.InNamespace(c.namespace)}},
		{"AnalysisTemplates", &templates, []client.ListOption{client.InNamespace(c.namespace)}},
		{"ClusterAnalysisTemplates", &clusterTemplates, nil},
		{"ConfigMaps of " + controllers, &configs, []client.ListOption{client.InNamespace(controllers)}},
		{"Deployments of " + controllers, &deployments, []client.ListOption{client.InNamespace(controllers)}},
		{"the names of Secrets with kubeconfigs of Istio primaries", &secrets, []client.ListOption{client.MatchingLabels{v1alpha1.LabelIstioPrimaryCluster: "true"}}},
	} {
		switch err := c.List(ctx, q.list, q.opts...); {
		case apierrors.IsForbidden(err):
			unseen = append(unseen, q.what)
		case err != nil:
			return preview.Fleet{}, nil, err
		}
	}
	f := preview.Fleet{Rollouts: pointers(ros.Items), Templates: pointers(templates.Items), ClusterTemplates: pointers(clusterTemplates.Items), ConfigMaps: pointers(configs.Items)}
	for i := range deployments.Items {
		if slices.ContainsFunc(deployments.Items[i].Spec.Template.Spec.Containers, func(c corev1.Container) bool { return strings.Contains(c.Image, "argo-rollouts") }) {
			f.Controllers = append(f.Controllers, &deployments.Items[i])
		}
	}
	for _, s := range secrets.Items {
		f.IstioPrimaries = append(f.IstioPrimaries, s.Namespace+"/"+s.Name)
	}
	for i := range configs.Items {
		if configs.Items[i].Name == pluginConfig {
			for _, l := range listedPlugins(&configs.Items[i]) {
				f.Installed = append(f.Installed, l.Name)
			}
		}
	}
	return f, unseen, nil
}

func (p *program) tellConcerns(out output, concerns []preview.Concern, unseen []string, rollouts int) error {
	if out.plain() {
		if err := p.encode(out, concerns); err != nil {
			return err
		}
	}
	for _, c := range concerns {
		if out.plain() {
			break
		}
		mark := p.style.paint(yellow, "•")
		if c.Holds {
			mark = p.style.paint(red, "✖")
		}
		p.printf("%s %s %s\n    %s\n    cure: %s\n", mark, c.Object, c.Field, c.What, c.Cure)
	}
	for _, u := range unseen {
		_, _ = fmt.Fprintf(p.Err, "not looked at, you may not list them: %s\n", u)
	}
	if len(concerns) > 0 || len(unseen) > 0 {
		return &exitError{ExitFailed, fmt.Errorf("%d findings in %d Rollouts, %d kinds of objects not seen", len(concerns), rollouts, len(unseen))}
	}
	if !out.plain() {
		p.printf("%s %d Rollouts, nothing would be different\n", p.style.paint(green, "✔"), rollouts)
	}
	return nil
}

func (p *program) migrateIngress() *cobra.Command {
	var files []string
	var o migration.Options
	cmd := &cobra.Command{
		Use: "ingress -f FILE --gateway NAME", Short: "Print the HTTPRoutes that do what ingress-nginx does with Ingresses",
		Long: `Print HTTPRoutes of the Gateway API that do what ingress-nginx does with the
Ingresses in files: hosts, paths, regular expressions, rewrites, redirects. What has
no counterpart is told on standard error. Nothing is asked of a cluster.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if len(files) == 0 {
				return usage("give -f FILE; - is stdin")
			}
			return p.translateIngresses(files, o)
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&files, "filename", "f", nil, "files or folders with Ingresses, and the Services whose ports they name; - is stdin")
	f.StringVar(&o.GatewayName, "gateway", "", "the Gateway the routes attach to")
	f.StringVar(&o.GatewayNamespace, "gateway-namespace", "", "its namespace (default: that of the Ingress)")
	f.StringVar(&o.Listener, "listener", "", "the listener that serves the routes (default: all that take them)")
	f.StringVar(&o.RedirectListener, "redirect-listener", "", "the listener for plain HTTP, for redirects to HTTPS")
	f.StringVar(&o.StableService, "stable-service", "", "stableService of the Rollout: where the Ingress sends to it, the route splits")
	f.StringVar(&o.CanaryService, "canary-service", "", "canaryService of the Rollout")
	f.StringVar(&o.AnnotationPrefix, "annotation-prefix", migration.DefaultPrefix, "prefix of ingress-nginx's annotations")
	_ = cmd.MarkFlagRequired("gateway") // the flag exists
	return cmd
}

func (p *program) translateIngresses(files []string, o migration.Options) error {
	files, err := expand(files)
	if err != nil {
		return err
	}
	ports := map[string]int32{}
	var ingresses []*networkingv1.Ingress
	for _, file := range files {
		all, err := p.manifests(file)
		if err != nil {
			return err
		}
		for _, u := range all {
			switch u.GetKind() {
			case "Ingress":
				ing := &networkingv1.Ingress{}
				if err := decode(u, ing); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				ingresses = append(ingresses, ing)
			case "Service":
				svc := &corev1.Service{}
				if err := decode(u, svc); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				for _, port := range svc.Spec.Ports {
					ports[svc.Name+"/"+port.Name] = port.Port
				}
			}
		}
	}
	if len(ingresses) == 0 {
		return fmt.Errorf("there is no Ingress in %s", strings.Join(files, ", "))
	}
	o.Port = func(service, name string) (int32, bool) { n, ok := ports[service+"/"+name]; return n, ok }
	for _, ing := range ingresses {
		result, err := migration.Translate(ing, o)
		if err != nil {
			return fmt.Errorf("ingress %s: %w", ing.Name, err)
		}
		for _, w := range result.Warnings {
			_, _ = fmt.Fprintf(p.Err, "warning: Ingress %s: %s\n", ing.Name, w)
		}
		for _, route := range result.Routes {
			raw, err := yaml.Marshal(route)
			if err != nil {
				return err
			}
			p.printf("---\n%s", withoutStatus(string(raw)))
		}
	}
	return nil
}

// withoutStatus leaves out what only a Gateway fills in.
func withoutStatus(manifest string) string {
	spec, _, _ := strings.Cut(manifest, "\nstatus:")
	return strings.TrimRight(spec, "\n") + "\n"
}
