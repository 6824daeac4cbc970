package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// target is which cluster and namespace: kubectl's flags and kubectl's rules.
type target struct {
	rules     *clientcmd.ClientConfigLoadingRules
	overrides clientcmd.ConfigOverrides
}

func (t *target) bind(flags *pflag.FlagSet) {
	t.rules = clientcmd.NewDefaultClientConfigLoadingRules()
	flags.StringVar(&t.rules.ExplicitPath, "kubeconfig", "", "path of the kubeconfig file (default: $KUBECONFIG, else ~/.kube/config)")
	clientcmd.BindOverrideFlags(&t.overrides, flags, clientcmd.RecommendedConfigOverrideFlags(""))
}

// cluster is a connection, and the namespace that commands are about.
type cluster struct {
	client.WithWatch
	config    *rest.Config
	namespace string
}

var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(fmt.Sprintf("our own types: %v", err))
		}
	}
	return s
}()

// connect opens the cluster that flags and kubeconfig name. Nothing is asked
// yet.
func (p *program) connect() (*cluster, error) {
	ctrllog.SetLogger(logr.Discard()) // warnings of the client library would be mixed into the output
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(p.target.rules, &p.target.overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("no cluster to talk to: %w\ngive --kubeconfig and --context, or set KUBECONFIG", err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, fmt.Errorf("the namespace: %w\ngive --namespace", err)
	}
	config.QPS, config.Burst = 50, 100
	config.UserAgent = "kubectl-sluice"
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	return &cluster{WithWatch: c, config: config, namespace: namespace}, nil
}

func (c *cluster) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: c.namespace, Name: name}
}

// rollout reads a Rollout; an unknown name is an error that names similar ones.
func (c *cluster) rollout(ctx context.Context, name string) (*v1alpha1.Rollout, error) {
	ro := &v1alpha1.Rollout{}
	return ro, c.find(ctx, name, ro, &v1alpha1.RolloutList{})
}

// find reads an object; an unknown name is an error that names similar ones.
func (c *cluster) find(ctx context.Context, name string, into client.Object, list client.ObjectList) error {
	name = plainName(name)
	err := c.Get(ctx, c.key(name), into)
	if client.IgnoreNotFound(err) != nil || err == nil {
		return err
	}
	gvk, _ := c.GroupVersionKindFor(into) // of our scheme
	return c.unknown(ctx, gvk.Kind, name, list)
}

// plainName takes "rollout/app" and "rollout.argoproj.io/app", as -o name
// prints it.
func plainName(name string) string { return name[strings.LastIndex(name, "/")+1:] }

// names of the objects of a kind in the namespace.
func (c *cluster) names(ctx context.Context, list client.ObjectList, in ...client.ListOption) ([]string, error) {
	if err := c.List(ctx, list, append(in, client.InNamespace(c.namespace))...); err != nil {
		return nil, err
	}
	var names []string
	err := eachItem(list, func(o client.Object) { names = append(names, o.GetName()) })
	slices.Sort(names)
	return names, err
}

// complete offers the names of a kind for the first argument.
func (p *program) complete(list func() client.ObjectList) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := p.connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names, err := c.names(cmd.Context(), list())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) }), cobra.ShellCompDirectiveNoFileComp
	}
}

func rollouts() client.ObjectList     { return &v1alpha1.RolloutList{} }
func experiments() client.ObjectList  { return &v1alpha1.ExperimentList{} }
func analysisRuns() client.ObjectList { return &v1alpha1.AnalysisRunList{} }

func (p *program) completeNamespaces(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	c, err := p.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	c.namespace = ""
	names, err := c.names(cmd.Context(), &corev1.NamespaceList{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) }), cobra.ShellCompDirectiveNoFileComp
}
