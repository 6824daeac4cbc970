package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/preview"
)

type planRequest struct {
	files          []string
	from           string
	initial, stay  bool
	startUp        time.Duration
	routersMissing []string
	out            output
}

func (p *program) plan() *cobra.Command {
	var r planRequest
	cmd := &cobra.Command{
		Use: "plan -f FILE", Short: "Say what the controller would do with a manifest, step by step, without doing it",
		Long: `Say what the controller would do: every step, weight, replica count and object
change in order, the most pods at once, how long it takes, what would stop it.

The controller's own planner is asked, in a simulated cluster: with --from live
one that continues the cluster as it is, else one in which an older revision of
the manifest runs (with --initial: nothing). The order of things is exact, given
the assumptions at the end; times are guesses.

Exit codes: 0 the wanted revision gets everything, 1 it does not.`,
		Example: "  kubectl sluice plan -f rollout.yaml\n  kubectl sluice plan -f rollout.yaml --from live\n  kubectl sluice plan web --from live   # how the update of now goes on",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: p.complete(rollouts),
		RunE: func(cmd *cobra.Command, args []string) error { return p.runPlan(cmd.Context(), r, args) },
	}
	f := cmd.Flags()
	f.StringSliceVarP(&r.files, "filename", "f", nil, "files or folders with the manifests; - is stdin. Services and templates beside the Rollout are taken into account")
	f.StringVar(&r.from, "from", "nothing", "what is there before: live (the cluster), or nothing (an older revision of the manifest)")
	f.BoolVar(&r.initial, "initial", false, "plan the first deployment instead of an update")
	f.BoolVar(&r.stay, "stop-at-pauses", false, "end the plan where a person has to promote")
	f.DurationVar(&r.startUp, "pod-start-up", 10*time.Second, "how long a pod takes to become ready")
	f.StringSliceVar(&r.routersMissing, "without-plugin", nil, "a router plugin that is not installed")
	r.out.bind(cmd)
	return cmd
}

func (p *program) runPlan(ctx context.Context, r planRequest, args []string) error {
	if err := r.out.check(); err != nil {
		return err
	}
	if r.from != "live" && r.from != "nothing" {
		return usage("--from %s is unknown; use live or nothing", r.from)
	}
	if len(r.files) == 0 && (len(args) == 0 || r.from != "live") {
		return usage("give -f FILE, or 'plan NAME --from live'")
	}
	name := ""
	if len(args) == 1 {
		name = plainName(args[0])
	}
	q := preview.Request{Initial: r.initial, Assume: preview.Assumptions{PodStartUp: r.startUp, Stay: r.stay, Routers: map[string]preview.Router{}}}
	for _, m := range r.routersMissing {
		q.Assume.Routers[m] = preview.Router{Missing: true}
	}
	var err error
	if q.Live, q.Want, err = p.manifestObjects(r.files, name); err != nil {
		return err
	}
	if q.Want != nil {
		name = q.Want.Name
	}
	if r.from == "live" {
		if err := p.fromLive(ctx, &q, name); err != nil {
			return err
		}
	}
	plan, err := preview.Plan(q)
	if err != nil {
		return err
	}
	if r.out.plain() {
		err = p.encode(r.out, plan)
	} else {
		p.tellPlan(name, plan)
	}
	if err == nil && !plan.Finished && !r.stay {
		return &exitError{ExitFailed, fmt.Errorf("the wanted revision does not get everything; it ends %s", plan.Ends)}
	}
	return err
}

// fromLive replaces what is before by the cluster. Objects of the file come
// first: they are what will be applied.
func (p *program) fromLive(ctx context.Context, q *preview.Request, name string) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	if q.Want != nil && q.Want.Namespace != "" {
		c.namespace = q.Want.Namespace
	}
	ro := &v1alpha1.Rollout{}
	if err := c.Get(ctx, c.key(name), ro); err != nil {
		if client.IgnoreNotFound(err) != nil || q.Want == nil {
			return c.find(ctx, name, ro, rollouts())
		}
		q.Initial = true // its first deployment
		ro = q.Want
	}
	live, err := c.surroundings(ctx, ro)
	if err != nil {
		return err
	}
	live.Services = merged(q.Live.Services, live.Services)
	live.Templates = merged(q.Live.Templates, live.Templates)
	live.ClusterTemplates = merged(q.Live.ClusterTemplates, live.ClusterTemplates)
	if ro == q.Want {
		live.Rollout = nil
	}
	q.Live, q.Now = live, time.Now()
	return nil
}

func merged[T client.Object](first, second []T) []T {
	have := map[string]bool{}
	for _, o := range first {
		have[o.GetName()] = true
	}
	for _, o := range second {
		if !have[o.GetName()] {
			first = append(first, o)
		}
	}
	return first
}

// manifestObjects finds the Rollout, by name if there are several, and what is
// beside it.
func (p *program) manifestObjects(files []string, name string) (preview.Objects, *v1alpha1.Rollout, error) {
	var o preview.Objects
	var want *v1alpha1.Rollout
	var known []string
	files, err := expand(files)
	if err != nil {
		return o, nil, err
	}
	for _, file := range files {
		all, err := p.manifests(file)
		if err != nil {
			return o, nil, err
		}
		for _, u := range all {
			switch u.GetKind() {
			case v1alpha1.KindRollout:
				ro := &v1alpha1.Rollout{}
				if err := decode(u, ro); err != nil {
					return o, nil, fmt.Errorf("%s: %w", file, err)
				}
				known = append(known, ro.Name)
				if name == "" || ro.Name == name {
					want = ro
				}
			case "Service":
				err = gather(u, &o.Services, &corev1.Service{})
			case "Deployment":
				d := &appsv1.Deployment{}
				if err = decode(u, d); err == nil && d.Spec.Replicas != nil {
					o.Workload = d
				}
			case v1alpha1.KindAnalysisTemplate:
				err = gather(u, &o.Templates, &v1alpha1.AnalysisTemplate{})
			case v1alpha1.KindClusterAnalysisTemplate:
				err = gather(u, &o.ClusterTemplates, &v1alpha1.ClusterAnalysisTemplate{})
			}
			if err != nil {
				return o, nil, fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	switch {
	case len(files) > 0 && want == nil:
		return o, nil, fmt.Errorf("no Rollout %s in %s; it has %s", name, strings.Join(files, ", "), strings.Join(append(known, "none")[:max(1, len(known))], ", "))
	case name == "" && len(known) > 1:
		return o, nil, usage("there are several Rollouts (%s): name one", strings.Join(known, ", "))
	}
	return o, want, nil
}

func decode(u *unstructured.Unstructured, into any) error {
	raw, err := u.MarshalJSON()
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func gather[T any](u *unstructured.Unstructured, all *[]T, into T) error {
	*all = append(*all, into)
	return decode(u, into)
}

func (p *program) tellPlan(name string, plan preview.Foretold) {
	p.printf("rollout %s:\n", name)
	for hash, role := range plan.Revisions {
		p.printf("  revision %s: %s\n", hash, role)
	}
	p.printf("\n")
	lines := [][]string{{"AFTER", "WHAT", "CHANGE"}}
	for _, s := range plan.Steps {
		lines = append(lines, []string{shortDuration(s.After), s.Kind, s.What})
	}
	p.style.writeTable(p.Out, lines)
	p.printf("\nends     %s\ntakes    %s, and what people take\nat most  %d pods at once\n", plan.Ends, shortDuration(plan.Duration), plan.PeakPods)
	for _, problem := range plan.Problems {
		p.printf("%s  %s\n", p.style.paint(red, "problem"), problem)
	}
	for _, a := range plan.Assumed {
		p.printf("assumed  %s\n", a)
	}
}

func shortDuration(d time.Duration) string {
	if d < time.Hour {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
