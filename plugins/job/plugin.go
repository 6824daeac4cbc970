package main

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

const (
	// label is on every Job of this plugin and on its pods: the host watches no others.
	label, labelValue = "sluice.dev/measured-by", "job"
	selector          = label + "=" + labelValue
	// metricAnnotation tells which metric a Job belongs to; names of metrics are no label values.
	metricAnnotation = "sluice.dev/metric"
	// longest is the most time between two looks.
	longest = time.Minute
)

//go:embed schema.json
var schema []byte

// provider has no state: everything is in the Jobs.
type provider struct{}

var (
	_ metricprovider.Provider  = provider{}
	_ metricprovider.Resumer   = provider{}
	_ metricprovider.Canceller = provider{}
	_ metricprovider.Collector = provider{}
)

func info() plugin.Info {
	return plugin.Info{Name: "job", Version: "0.1.0", Kinds: []plugin.Kind{
		{Group: "batch", Kind: "Job", Verbs: []plugin.Verb{plugin.Read, plugin.Create, plugin.Delete}, Selector: selector},
		{Kind: "Pod", Verbs: []plugin.Verb{plugin.Read}, Selector: selector},
	}}
}

func service() plugin.Service { return metricprovider.Service(provider{}).WithConfigSchema(schema) }

// Validate checks the configuration; the spec itself is checked by the API server.
func (provider) Validate(_ context.Context, req *metricprovider.ValidateRequest) error {
	t, err := parseConfig(req.Config)
	if err == nil && len(t.ignored) > 0 {
		req.Warnf("%s: only labels and annotations are put on a Job", strings.Join(t.ignored, ", "))
	}

	return err
}

func jobs(namespace string) objects.Need {
	return objects.Need{Group: "batch", Kind: "Job", Versions: []string{"v1"}, Namespace: namespace, Selector: selector}
}

func pods(namespace string) objects.Need {
	return objects.Need{Kind: "Pod", Versions: []string{"v1"}, Namespace: namespace, Selector: selector}
}

// cluster is what the host showed of a run's namespace.
type cluster struct {
	jobs []*objects.Typed[batchv1.Job]
	pods []*objects.Typed[corev1.Pod]
}

func look(in *objects.Inputs, namespace string) (cluster, error) {
	in.Want(jobs(namespace), pods(namespace))
	if err := in.Missing(); err != nil {
		return cluster{}, err
	}
	var c cluster
	var err error
	if c.jobs, err = objects.List[batchv1.Job](in, jobs(namespace)); err != nil {
		return c, err
	}
	c.pods, err = objects.List[corev1.Pod](in, pods(namespace))

	return c, err
}

func (c cluster) job(name string) *objects.Typed[batchv1.Job] {
	for _, j := range c.jobs {
		if j.View.Name == name {
			return j
		}
	}

	return nil
}

// Measure creates the Job, or finds the one that an earlier attempt of the same measurement created.
func (p provider) Measure(_ context.Context, req *metricprovider.MeasureRequest) (*metricprovider.Measurement, error) {
	t, err := parseConfig(req.Config)
	if err != nil {
		return nil, err
	}
	c, err := look(req.Inputs, req.Target.Namespace)
	if err != nil {
		return nil, err
	}
	name := jobName(req.ID)
	if c.job(name) != nil {
		return p.judge(c, req, name, 0), nil
	}
	object, err := t.job(req.Target.Namespace, name, req.Metric)
	if err != nil {
		return nil, err
	}
	create, err := objects.NewCreate(object)
	if err != nil {
		return nil, err
	}

	return named(&metricprovider.Measurement{Outcome: again(0), Writes: []objects.Write{create}}, req, name), nil
}

// Resume looks how the Job is going.
func (p provider) Resume(_ context.Context, req *metricprovider.MeasureRequest) (*metricprovider.Measurement, error) {
	c, err := look(req.Inputs, req.Target.Namespace)
	if err != nil {
		return nil, err
	}
	looks, err := strconv.Atoi(string(req.State))
	if err != nil {
		looks = 0
	}
	name := jobName(req.ID)
	if c.job(name) == nil && looks < 2 {
		return named(&metricprovider.Measurement{Outcome: again(looks)}, req, name), nil // The cache may be behind its creation.
	}

	return p.judge(c, req, name, looks), nil
}

// again asks for another look, each one second later than the last: after n looks n(n+1)/2 seconds have passed, which is
// Argo's √(2·elapsed) without a clock.
func again(looks int) metricprovider.Pending {
	after := min(time.Duration(looks+1)*time.Second, longest)

	return metricprovider.Pending{State: []byte(strconv.Itoa(looks + 1)), ResumeAfter: after}
}

func named(m *metricprovider.Measurement, req *metricprovider.MeasureRequest, name string) *metricprovider.Measurement {
	m.Metadata = map[string]string{"job-name": name, "job-namespace": req.Target.Namespace}

	return m
}

// judge reads the Job's conditions, and its pods for images that will never be there.
func (p provider) judge(c cluster, req *metricprovider.MeasureRequest, name string, looks int) *metricprovider.Measurement {
	job := c.job(name)
	m := &metricprovider.Measurement{}
	switch {
	case job == nil:
		m.Outcome = metricprovider.Failure{Message: fmt.Sprintf("Job %q was deleted before it ended", name)}
	case !owned(job, req.Target.UID):
		m.Outcome = metricprovider.Failure{Message: fmt.Sprintf("Job %q exists and is not of this run: delete it", name)}
	default:
		m.Outcome, m.Message = verdict(job.View)
		if m.Outcome == nil {
			m.Outcome = again(looks)
			if why := noImage(c.pods, name); why != "" {
				m.Outcome, m.Message = metricprovider.Verdict{Result: metricprovider.Inconclusive}, why
			}
		}
	}

	return named(m, req, name)
}

// verdict is nil while the Job goes on.
func verdict(job batchv1.Job) (metricprovider.Outcome, string) {
	for _, condition := range job.Status.Conditions {
		if condition.Status != corev1.ConditionTrue {
			continue
		}
		switch condition.Type { //nolint:exhaustive // the others do not end a Job
		case batchv1.JobComplete:
			return metricprovider.Verdict{Result: metricprovider.Successful}, ""
		case batchv1.JobFailed:
			return metricprovider.Verdict{Result: metricprovider.Failed}, condition.Message
		}
	}

	return nil, ""
}

// noImage says why a pod of the Job waits for an image it cannot get: that tells nothing about what is measured.
func noImage(pods []*objects.Typed[corev1.Pod], job string) string {
	hopeless := []string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName"}
	for _, pod := range pods {
		if pod.View.Labels[batchv1.JobNameLabel] != job {
			continue
		}
		for _, status := range slices.Concat(pod.View.Status.InitContainerStatuses, pod.View.Status.ContainerStatuses) {
			if waiting := status.State.Waiting; waiting != nil && slices.Contains(hopeless, waiting.Reason) {
				return fmt.Sprintf("container %s of pod %s: %s: %s", status.Name, pod.View.Name, waiting.Reason, waiting.Message)
			}
		}
	}

	return ""
}

func owned(job *objects.Typed[batchv1.Job], uid string) bool {
	for _, owner := range job.View.OwnerReferences {
		if owner.Controller != nil && *owner.Controller && string(owner.UID) == uid {
			return true
		}
	}

	return false
}

// Cancel deletes the Job, and its pods with it.
func (provider) Cancel(_ context.Context, req *metricprovider.CancelRequest) (*metricprovider.Cleanup, error) {
	c, err := look(req.Inputs, req.Target.Namespace)
	if err != nil {
		return nil, err
	}
	job := c.job(jobName(req.ID))
	if job == nil || !owned(job, req.Target.UID) {
		return &metricprovider.Cleanup{Done: true}, nil
	}

	return remove([]*objects.Typed[batchv1.Job]{job})
}

// Collect deletes the Jobs of the metric whose measurements are not kept.
func (provider) Collect(_ context.Context, req *metricprovider.CollectRequest) (*metricprovider.Cleanup, error) {
	c, err := look(req.Inputs, req.Target.Namespace)
	if err != nil {
		return nil, err
	}
	keep := map[string]bool{}
	for _, id := range req.Keep {
		keep[jobName(id)] = true
	}
	var old []*objects.Typed[batchv1.Job]
	for _, job := range c.jobs {
		if owned(job, req.Target.UID) && job.View.Annotations[metricAnnotation] == req.Metric && !keep[job.View.Name] {
			old = append(old, job)
		}
	}

	return remove(old)
}

func remove(old []*objects.Typed[batchv1.Job]) (*metricprovider.Cleanup, error) {
	done := &metricprovider.Cleanup{Done: true}
	for _, job := range old {
		if job.View.DeletionTimestamp != nil {
			continue
		}
		write, err := objects.NewDelete(job.Object)
		if err != nil {
			return nil, err
		}
		done.Writes = append(done.Writes, write)
	}

	return done, nil
}
