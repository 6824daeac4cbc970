package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/preview"
)

// pluginConfig is the ConfigMap that lists plugins, in the controller's
// namespace.
const pluginConfig = "argo-rollouts-config"

// listedPlugin is an entry of the ConfigMap, with what is known of it.
type listedPlugin struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Location  string `json:"location,omitempty"`
	SHA256    string `json:"sha256,omitempty"`
	Protocol  string `json:"protocol,omitempty"`
	Disabled  bool   `json:"disabled,omitempty"`
	// State of its process and the version it was last ready with; empty where no
	// controller told, as of a plugin that nobody has needed yet.
	State   string   `json:"state,omitempty"`
	Version string   `json:"version,omitempty"`
	Grants  []grants `json:"grants,omitempty"`
	// UsedBy counts the Rollouts that name it, Blocked those of them that wait for
	// a plugin.
	UsedBy  int `json:"usedBy"`
	Blocked int `json:"blocked"`
	// LastEvent is what the controller said of it last, and when.
	LastEvent string    `json:"lastEvent,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	At        time.Time `json:"at,omitzero"`
}

type grants struct {
	Group string   `json:"group"`
	Kind  string   `json:"kind"`
	Verbs []string `json:"verbs"`
}

func (p *program) plugins() *cobra.Command {
	var out output
	var controllers string
	cmd := &cobra.Command{
		Use: "plugins", Short: "List the plugins: what they may do, who uses them, what went wrong last",
		Long: `List the plugins of the controllers in the cluster: those of the ConfigMap
argo-rollouts-config, and the bundled ones. States and versions are asked of the
controllers themselves, by their metrics through the API server (pods/proxy). What
went wrong last is from the events on that ConfigMap, which a cluster keeps for an
hour or so.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			c, err := p.connect()
			if err != nil {
				return err
			}
			all, err := c.pluginsOf(cmd.Context(), controllers)
			if err != nil {
				return err
			}
			if err := c.askControllers(cmd.Context(), controllers, all); err != nil {
				_, _ = fmt.Fprintf(p.Err, "states and versions are not known: %v\n", err)
			}
			if out.plain() {
				return p.encode(out, all)
			}
			p.style.writeTable(p.Out, pluginTable(all, out == "wide"))
			return nil
		},
	}
	out.bind(cmd)
	cmd.Flags().StringVar(&controllers, "controller-namespace", "", "where the controller runs (default: wherever a ConfigMap argo-rollouts-config is)")
	cmd.AddCommand(p.pluginsTest())
	return cmd
}

func (c *cluster) pluginsOf(ctx context.Context, controllers string) ([]listedPlugin, error) {
	var configs corev1.ConfigMapList
	if err := c.List(ctx, &configs, client.InNamespace(controllers), client.MatchingFields{"metadata.name": pluginConfig}); err != nil {
		return nil, err
	}
	var ros v1alpha1.RolloutList
	if err := c.List(ctx, &ros); err != nil {
		return nil, err
	}
	var all []listedPlugin
	for i := range configs.Items {
		all = append(all, listedPlugins(&configs.Items[i])...)
	}
	for _, name := range preview.Bundled() {
		if !slices.ContainsFunc(all, func(l listedPlugin) bool { return l.Name == name }) {
			all = append(all, listedPlugin{Name: name, Kind: "bundled"})
		}
	}
	for i := range all {
		l := &all[i]
		for n := range ros.Items {
			if uses, blocked := preview.Uses(&ros.Items[n], l.Name); uses {
				l.UsedBy++
				if blocked {
					l.Blocked++
				}
			}
		}
	}
	all = slices.DeleteFunc(all, func(l listedPlugin) bool {
		return l.Namespace == "" && l.UsedBy == 0 && l.Name != "gatewayapi" && strings.Contains(l.Name, "/")
	})
	return all, c.pluginEvents(ctx, controllers, all)
}

// pluginEvents adds what the controller said of each plugin last.
func (c *cluster) pluginEvents(ctx context.Context, controllers string, all []listedPlugin) error {
	var events corev1.EventList
	if err := c.List(ctx, &events, client.InNamespace(controllers), client.MatchingFields{"involvedObject.name": pluginConfig}); err != nil {
		return err
	}
	for _, e := range events.Items {
		at := e.LastTimestamp.Time
		if e.Series != nil {
			at = e.Series.LastObservedTime.Time
		}
		if at.IsZero() {
			at = e.EventTime.Time
		}
		for i := range all {
			l := &all[i]
			if (l.Namespace == "" || l.Namespace == e.Namespace) && (strings.Contains(e.Message, `"`+l.Name+`"`) || strings.Contains(e.Message, "("+l.Name+")")) && !at.Before(l.At) {
				l.LastEvent, l.Reason, l.At = e.Message, e.Reason, at
			}
		}
	}
	return nil
}

// listedPlugins are the entries of a ConfigMap; lists that are no YAML have none,
// which the controller's event tells.
func listedPlugins(c *corev1.ConfigMap) []listedPlugin {
	var out []listedPlugin
	for _, list := range []struct{ key, kind string }{{"trafficRouterPlugins", "router"}, {"metricProviderPlugins", "provider"}, {"stepPlugins", "step"}} {
		var entries []listedPlugin
		if yaml.Unmarshal([]byte(c.Data[list.key]), &entries) != nil {
			continue
		}
		for _, e := range entries {
			e.Kind, e.Namespace = list.kind, c.Namespace
			out = append(out, e)
		}
	}
	return out
}

func pluginTable(all []listedPlugin, wide bool) [][]string {
	head := []string{"NAME", "KIND", "CONTROLLER", "STATE", "VERSION", "USED-BY", "BLOCKED", "GRANTS", "LAST"}
	if wide {
		head = append(head, "LOCATION", "SHA256")
	}
	lines := [][]string{head}
	for _, l := range all {
		var may []string
		for _, g := range l.Grants {
			may = append(may, g.Kind+":"+strings.Join(g.Verbs, ","))
		}
		last := "-"
		if l.LastEvent != "" {
			last = fmt.Sprintf("%s %s: %s", ago(time.Now(), l.At), l.Reason, l.LastEvent)
		}
		if l.Disabled {
			last = "disabled"
		}
		line := []string{l.Name, l.Kind, cmp.Or(l.Namespace, "-"), cmp.Or(l.State, "-"), cmp.Or(l.Version, "-"), fmt.Sprint(l.UsedBy), fmt.Sprint(l.Blocked), cmp.Or(strings.Join(may, " "), "-"), last}
		if wide {
			line = append(line, cmp.Or(l.Location, "-"), cmp.Or(l.SHA256, "-"))
		}
		lines = append(lines, line)
	}
	return lines
}

func (p *program) pluginsTest() *cobra.Command {
	var out output
	var file string
	var print, logs bool
	cmd := &cobra.Command{
		Use: "test BINARY [-- ARGS]", Short: "Check a plugin's binary against the contract, without a cluster",
		Long: `Start a plugin as the controller would, find out which services it offers, and run
the conformance suite of each. It calls every method, also those with effects: aim
the plugin at systems for tests.

Exit codes: 0 it conforms, 1 it does not, or there was nothing to check.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if logs {
				_ = os.Setenv("SLUICE_CONFORMANCE_LOG", "1") // cannot fail with this name
			}
			return p.checkPlugin(cmd.Context(), args, file, print, out)
		},
	}
	cmd.Flags().StringVar(&file, "fixture", "", "a file with what the suites have to know: a block the plugin accepts, the objects it sees")
	cmd.Flags().BoolVar(&print, "print-fixture", false, "print a fixture to start from, and run nothing")
	cmd.Flags().BoolVar(&logs, "logs", false, "print what the plugin logs")
	out.bind(cmd)
	return cmd
}
