package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// node is one line of the tree.
type node struct {
	icon, name, kind, state, age string
	info                         []string
	children                     []node
}

// viewer turns objects into nodes.
type viewer struct {
	now  time.Time
	wide bool
	f    family
}

func (v viewer) age(created time.Time) string {
	if created.IsZero() {
		return ""
	}
	return duration.HumanDuration(v.now.Sub(created))
}

// rollout is the tree of the family's Rollout: its revisions, newest first, and
// what belongs to each.
func (v viewer) rollout() node {
	ro := v.f.rollout
	phase, _ := phaseOf(ro)
	root := node{icon: "⟳", name: ro.Name, kind: "Rollout", state: string(phase), age: v.age(ro.CreationTimestamp.Time)}
	revisions := map[int]*node{}
	add := func(n int, child node) {
		if revisions[n] == nil {
			revisions[n] = &node{name: fmt.Sprintf("# revision:%d", n)}
		}
		revisions[n].children = append(revisions[n].children, child)
	}
	for _, rs := range ownedBy(v.f.sets, ro) {
		add(revision(rs), v.replicaSet(rs, v.roles(rs)))
	}
	for _, ex := range ownedBy(v.f.experiments, ro) {
		add(revision(ex), v.experiment(ex))
	}
	for _, run := range ownedBy(v.f.runs, ro) {
		add(revision(run), v.run(run))
	}
	var order []int
	for n := range revisions {
		order = append(order, n)
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(b, a) })
	for _, n := range order {
		root.children = append(root.children, *revisions[n])
	}
	return root
}

// roles of a ReplicaSet in its Rollout: stable, canary, active, preview.
func (v viewer) roles(rs *appsv1.ReplicaSet) []string {
	st, hash := v.f.rollout.Status, rs.Labels[v1alpha1.LabelPodTemplateHash]
	var roles []string
	if v.f.rollout.Spec.Strategy.BlueGreen != nil {
		if hash == st.StableRS {
			roles = append(roles, "stable")
		}
		if hash == st.BlueGreen.ActiveSelector {
			roles = append(roles, "active")
		}
		if hash == st.BlueGreen.PreviewSelector && hash != st.BlueGreen.ActiveSelector {
			roles = append(roles, "preview")
		}
		return roles
	}
	switch hash {
	case st.StableRS:
		roles = append(roles, "stable")
	case st.CurrentPodHash:
		roles = append(roles, "canary")
	}
	return roles
}

func (v viewer) replicaSet(rs *appsv1.ReplicaSet, roles []string) node {
	n := node{icon: "⧉", name: rs.Name, kind: "ReplicaSet", age: v.age(rs.CreationTimestamp.Time), info: roles}
	want := int32(1)
	if rs.Spec.Replicas != nil {
		want = *rs.Spec.Replicas
	}
	switch {
	case want == 0 && rs.Status.Replicas == 0:
		n.state = "ScaledDown"
	case rs.Status.AvailableReplicas >= want:
		n.state = string(v1alpha1.RolloutPhaseHealthy)
	default:
		n.state = string(v1alpha1.RolloutPhaseProgressing)
		for _, c := range rs.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue {
				n.state, n.info = string(v1alpha1.RolloutPhaseDegraded), append(n.info, c.Message)
			}
		}
	}
	if at, err := time.Parse(time.RFC3339, rs.Annotations[v1alpha1.AnnotationScaleDownDeadline]); err == nil && want > 0 {
		n.info = append(n.info, "delay:"+duration.HumanDuration(max(0, at.Sub(v.now))))
	}
	for _, pod := range ownedBy(v.f.pods, rs) {
		n.children = append(n.children, v.pod(pod))
	}
	return n
}

func (v viewer) pod(pod *corev1.Pod) node {
	n := node{icon: "□", name: pod.Name, kind: "Pod", state: podState(pod), age: v.age(pod.CreationTimestamp.Time)}
	ready, restarts := 0, int32(0)
	for _, s := range pod.Status.ContainerStatuses {
		restarts += s.RestartCount
		if s.Ready {
			ready++
		}
	}
	n.info = append(n.info, fmt.Sprintf("ready:%d/%d", ready, len(pod.Spec.Containers)))
	if restarts > 0 {
		n.info = append(n.info, fmt.Sprintf("restarts:%d", restarts))
	}
	if v.wide {
		n.info = append(n.info, "node:"+cmp.Or(pod.Spec.NodeName, "none"), "ip:"+cmp.Or(pod.Status.PodIP, "none"))
	}
	return n
}

// podState is what kubectl shows: the reason a container waits for, if any.
func podState(pod *corev1.Pod) string {
	if pod.DeletionTimestamp != nil {
		return "Terminating"
	}
	for _, s := range append(slices.Clone(pod.Status.InitContainerStatuses), pod.Status.ContainerStatuses...) {
		if w := s.State.Waiting; w != nil && w.Reason != "" && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			return w.Reason
		}
		if t := s.State.Terminated; t != nil && t.ExitCode != 0 {
			return cmp.Or(t.Reason, "Error")
		}
	}
	return cmp.Or(string(pod.Status.Phase), "Pending")
}

func (v viewer) run(run *v1alpha1.AnalysisRun) node {
	n := node{icon: "α", name: run.Name, kind: v1alpha1.KindAnalysisRun, state: cmp.Or(string(run.Status.Phase), "Pending"), age: v.age(run.CreationTimestamp.Time)}
	for _, count := range []struct {
		n    int32
		sign string
	}{{run.Status.RunSummary.Successful, "✔"}, {run.Status.RunSummary.Failed, "✖"}, {run.Status.RunSummary.Inconclusive, "?"}, {run.Status.RunSummary.Error, "⚠"}} {
		if count.n > 0 {
			n.info = append(n.info, fmt.Sprintf("%s %d", count.sign, count.n))
		}
	}
	if run.Status.Message != "" && run.Status.Phase != v1alpha1.AnalysisPhaseSuccessful {
		n.info = append(n.info, run.Status.Message)
	}
	return n
}

func (v viewer) experiment(ex *v1alpha1.Experiment) node {
	n := node{icon: "Σ", name: ex.Name, kind: v1alpha1.KindExperiment, state: cmp.Or(string(ex.Status.Phase), "Pending"), age: v.age(ex.CreationTimestamp.Time)}
	if ex.Status.Message != "" && ex.Status.Phase != v1alpha1.AnalysisPhaseSuccessful {
		n.info = append(n.info, ex.Status.Message)
	}
	for _, rs := range ownedBy(v.f.sets, ex) {
		n.children = append(n.children, v.replicaSet(rs, nil))
	}
	for _, run := range ownedBy(v.f.runs, ex) {
		n.children = append(n.children, v.run(run))
	}
	return n
}

// row is a node with the branches before it.
type row struct {
	left string
	node node
}

func rows(n node, branch, below string) []row {
	left := branch
	if n.icon != "" {
		left += n.icon + " "
	}
	out := []row{{left + n.name, n}}
	for i, child := range n.children {
		if i == len(n.children)-1 {
			out = append(out, rows(child, below+"└──", below+"   ")...)
		} else {
			out = append(out, rows(child, below+"├──", below+"│  ")...)
		}
	}
	return out
}

// writeTree prints the tree as a table whose columns line up, colours or not.
func (s style) writeTree(w io.Writer, root node) {
	lines := [][]string{{"NAME", "KIND", "STATUS", "AGE", "INFO"}}
	for _, r := range rows(root, "", "") {
		state := r.node.state
		if m, ok := marks[state]; ok {
			state = m.sign + " " + state
		}
		lines = append(lines, []string{r.left, r.node.kind, state, r.node.age, strings.Join(r.node.info, ",")})
	}
	s.writeTable(w, lines)
}

// writeTable prints columns; the first line is the heading. States are coloured
// by the phase they name.
func (s style) writeTable(w io.Writer, lines [][]string) {
	width := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for n, line := range lines {
		var b strings.Builder
		for i, cell := range line {
			text := cell
			if n > 0 {
				_, phase, found := strings.Cut(cell, " ")
				if m, ok := marks[phase]; ok && found {
					text = s.paint(m.colour, cell)
				}
			}
			b.WriteString(text)
			if i < len(line)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}
