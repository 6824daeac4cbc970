package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// output is -o.
type output string

func (o *output) bind(cmd *cobra.Command) {
	cmd.Flags().StringVarP((*string)(o), "output", "o", "", "json, yaml, name or wide")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml", "name", "wide"}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

func (o output) check() error {
	if !slices.Contains([]output{"", "json", "yaml", "name", "wide"}, o) {
		return usage("-o %s is unknown; use json, yaml, name or wide", o)
	}
	return nil
}

// plain reports that the output is for programs.
func (o output) plain() bool { return o == "json" || o == "yaml" || o == "name" }

func (p *program) get() *cobra.Command {
	cmd := &cobra.Command{Use: "get", Short: "Show a rollout or an experiment with everything that belongs to it", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usage("say what: get rollout NAME, or get experiment NAME")
		}}
	cmd.AddCommand(
		p.getKind("rollout NAME", []string{"ro", "rollouts"}, "Show a rollout: revisions, pods, analyses; -w keeps showing it", rollouts, func() client.Object { return &v1alpha1.Rollout{} }),
		p.getKind("experiment NAME", []string{"exp", "experiments"}, "Show an experiment: its pods and analyses", experiments, func() client.Object { return &v1alpha1.Experiment{} }))
	return cmd
}

func (p *program) getKind(use string, aliases []string, short string, list func() client.ObjectList, obj func() client.Object) *cobra.Command {
	var out output
	var watching bool
	cmd := &cobra.Command{Use: use, Aliases: aliases, Short: short, Args: oneName(strings.TrimSuffix(use, " NAME")), ValidArgsFunction: p.complete(list),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if watching && out.plain() {
				return usage("--watch shows a tree; it cannot be used with -o %s", out)
			}
			c, err := p.connect()
			if err != nil {
				return err
			}
			o := obj()
			if err := c.find(cmd.Context(), args[0], o, list()); err != nil {
				return err
			}
			if out.plain() {
				return p.printStored(cmd.Context(), c, out, o)
			}
			if watching {
				return p.live(cmd.Context(), c, o, list(), out == "wide")
			}
			return p.draw(cmd.Context(), c, o, out == "wide", p.Out)
		}}
	out.bind(cmd)
	cmd.Flags().BoolVarP(&watching, "watch", "w", false, "keep showing it until interrupted")
	return cmd
}

// printStored prints objects as they are stored, with fields that this program
// does not know.
func (p *program) printStored(ctx context.Context, c *cluster, out output, objects ...client.Object) error {
	var stored []any
	for _, o := range objects {
		gvk, err := c.GroupVersionKindFor(o)
		if err != nil {
			return err
		}
		if out == "name" {
			p.printf("%s.%s/%s\n", strings.ToLower(gvk.Kind), gvk.Group, o.GetName())
			continue
		}
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(gvk)
		if err := c.Get(ctx, client.ObjectKeyFromObject(o), u); err != nil {
			return err
		}
		u.SetManagedFields(nil)
		stored = append(stored, u.Object)
	}
	if out == "name" {
		return nil
	}
	var all any = map[string]any{"apiVersion": "v1", "kind": "List", "items": stored}
	if len(stored) == 1 {
		all = stored[0]
	}
	return p.encode(out, all)
}

// encode prints a value as JSON or YAML.
func (p *program) encode(out output, v any) error {
	if out == "json" {
		e := json.NewEncoder(p.Out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	raw, err := yaml.Marshal(v)
	if err == nil {
		_, err = p.Out.Write(raw)
	}
	return err
}

// draw reads the object anew with all it owns, and shows it.
func (p *program) draw(ctx context.Context, c *cluster, obj client.Object, wide bool, w io.Writer) error {
	if err := c.Get(ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
		return err
	}
	f, err := c.familyIn(ctx)
	if err != nil {
		return err
	}
	v := viewer{now: time.Now(), wide: wide, f: f}
	switch o := obj.(type) {
	case *v1alpha1.Rollout:
		v.f.rollout = o
		p.style.writeHead(w, v.f)
		p.style.writeTree(w, v.rollout())
	case *v1alpha1.Experiment:
		p.style.writeTree(w, v.experiment(o))
	}
	return nil
}

// repaint is how long changes are gathered before the tree is drawn again.
const repaint = 200 * time.Millisecond

// live draws the tree again with each change of anything in the namespace, and
// each second on a terminal, where ages and delays count.
func (p *program) live(ctx context.Context, c *cluster, obj client.Object, list client.ObjectList, wide bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed, failed := make(chan struct{}, 1), make(chan error, 5)
	for _, l := range []client.ObjectList{list, &appsv1.ReplicaSetList{}, &corev1.PodList{}, &v1alpha1.AnalysisRunList{}, &v1alpha1.ExperimentList{}} {
		go func() {
			failed <- c.follow(ctx, l, "", func(client.Object, bool) error {
				select {
				case changed <- struct{}{}:
				default:
				}
				return nil
			})
		}()
	}
	terminal := isTerminal(p.Out)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := ""
	for {
		var b strings.Builder
		if err := p.draw(ctx, c, obj, wide, &b); err != nil {
			if ctx.Err() != nil {
				return &exitError{0, errors.New("")} // interrupted while it was read
			}
			return err
		}
		if terminal {
			p.printf("\x1b[H\x1b[2J%s", b.String())
		} else if b.String() != last {
			p.printf("%s\n", b.String())
		}
		last = b.String()
		if err := waitForChange(ctx, changed, failed, tick.C, terminal); err != nil {
			return err
		}
	}
}

func waitForChange(ctx context.Context, changed <-chan struct{}, failed <-chan error, tick <-chan time.Time, ticks bool) error {
	for {
		select {
		case <-ctx.Done():
			return &exitError{0, errors.New("")}
		case err := <-failed:
			if ctx.Err() != nil {
				continue
			}
			return err
		case <-tick:
			if ticks {
				return nil
			}
		case <-changed:
			select {
			case <-ctx.Done():
			case <-time.After(repaint):
			}
			return nil
		}
	}
}

// writeHead is what is known of the Rollout itself.
func (s style) writeHead(w io.Writer, f family) {
	ro := f.rollout
	phase, message := phaseOf(ro)
	line := func(name, value string) { _, _ = fmt.Fprintf(w, "%-17s%s\n", name+":", value) }
	line("Name", ro.Name)
	line("Namespace", ro.Namespace)
	line("Status", s.state(string(phase)))
	if message != "" {
		line("Message", message)
	}
	if c := condition(ro, v1alpha1.ConditionBlocked); c != nil && c.Status == corev1.ConditionTrue {
		line("Blocked", s.paint(yellow, c.Reason+": "+c.Message))
	}
	line("Strategy", strategyOf(ro))
	if step := stepOf(ro); step != "" {
		line("  Step", step)
	}
	if weight := wantedWeight(ro); weight >= 0 {
		line("  SetWeight", fmt.Sprint(weight))
		if actual := ro.Status.Canary.Weights; actual != nil {
			line("  ActualWeight", fmt.Sprint(actual.Canary.Weight))
		}
	}
	images := imagesOf(f)
	for i, image := range images {
		line(map[bool]string{true: "Images"}[i == 0], image)
	}
	_, _ = fmt.Fprintln(w, "Replicas:")
	for _, r := range []struct {
		name string
		n    int32
	}{{"Desired", ro.Spec.ReplicasOrDefault()}, {"Current", ro.Status.Replicas}, {"Updated", ro.Status.UpdatedReplicas},
		{"Ready", ro.Status.ReadyReplicas}, {"Available", ro.Status.AvailableReplicas}} {
		line("  "+r.name, fmt.Sprint(r.n))
	}
	_, _ = fmt.Fprintln(w)
}

// imagesOf are the images of the revisions that have pods, with their roles.
func imagesOf(f family) []string {
	v := viewer{f: f}
	roles := map[string][]string{}
	var order []string
	for _, rs := range ownedBy(f.sets, f.rollout) {
		if rs.Status.Replicas == 0 {
			continue
		}
		for _, c := range rs.Spec.Template.Spec.Containers {
			if !slices.Contains(order, c.Image) {
				order = append(order, c.Image)
			}
			for _, r := range v.roles(rs) {
				if !slices.Contains(roles[c.Image], r) {
					roles[c.Image] = append(roles[c.Image], r)
				}
			}
		}
	}
	slices.Sort(order)
	for i, image := range order {
		if r := roles[image]; len(r) > 0 {
			order[i] += " (" + strings.Join(r, ", ") + ")"
		}
	}
	return order
}
