package devcluster_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sluice-rollouts/sluice/test/devcluster"
)

func TestReplicaSetGetsReadyPods(t *testing.T) {
	c := startCluster(t, devcluster.Options{})
	client := clientFor(t, c.Config())
	if err := c.Apply(t.Context(), replicaSet("web", 5, nil)); err != nil {
		t.Fatal(err)
	}
	awaitReplicas(t, client, "web", 5)

	pods := listPods(t, client, "app=web")
	addresses := map[string]bool{}
	for _, pod := range pods {
		addresses[pod.Status.PodIP] = true
		if !strings.HasPrefix(pod.Status.PodIP, "10.244.") {
			t.Errorf("pod %s has address %q, want one in %s", pod.Name, pod.Status.PodIP, devcluster.PodCIDR)
		}
	}
	if len(addresses) != 5 {
		t.Errorf("5 pods have %d addresses, want one each", len(addresses))
	}

	// Pods that replace deleted ones get addresses that were never used.
	err := client.CoreV1().Pods("default").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		t.Fatal(err)
	}
	poll(t, "the pods to be replaced", func() error {
		now := listPods(t, client, "app=web")
		for _, pod := range now {
			if pod.DeletionTimestamp != nil || !ready(&pod) {
				return fmt.Errorf("pod %s is still terminating or not ready", pod.Name)
			}
			if addresses[pod.Status.PodIP] {
				t.Fatalf("pod %s has address %s of a deleted pod", pod.Name, pod.Status.PodIP)
			}
		}
		return equal("pods", len(now), 5)
	})
}

func TestAnnotationsSteerPods(t *testing.T) {
	c := startCluster(t, devcluster.Options{})
	client := clientFor(t, c.Config())
	never := map[string]string{devcluster.AnnotationNeverReady: "true"}
	if err := c.Apply(t.Context(), replicaSet("sick", 1, never)); err != nil {
		t.Fatal(err)
	}
	poll(t, "the pod to run", func() error {
		pods := listPods(t, client, "app=sick")
		if len(pods) != 1 || pods[0].Status.Phase != corev1.PodRunning {
			return fmt.Errorf("pods: %v", pods)
		}
		return nil
	})
	for _, value := range []string{"false", "true", "false"} {
		pod := listPods(t, client, "app=sick")[0]
		if ready(&pod) != (value == "true") {
			t.Fatalf("before never-ready=%s: pod ready is %v", value, ready(&pod))
		}
		pod.Annotations[devcluster.AnnotationNeverReady] = value
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, devcluster.AnnotationNeverReady, value)
		_, err := client.CoreV1().Pods("default").Patch(t.Context(), pod.Name, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		poll(t, "readiness to follow never-ready="+value, func() error {
			pod := listPods(t, client, "app=sick")[0]
			return equal("ready", ready(&pod), value == "false")
		})
	}
}

func TestJobsCompleteAndFail(t *testing.T) {
	c := startCluster(t, devcluster.Options{})
	client := clientFor(t, c.Config())
	for name, test := range map[string]struct {
		command, annotations string
		want                 string
	}{
		"good":      {command: `["sh", "-c", "sleep 1 && exit 0"]`, annotations: "{}", want: "Complete"},
		"bad":       {command: `["sh", "-c", "sleep 1 && exit 3"]`, annotations: "{}", want: "Failed"},
		"bad-false": {command: `["false"]`, annotations: "{}", want: "Failed"},
		"bad-said":  {command: `["true"]`, annotations: `{devcluster.sluice.dev/exit-code: "2", devcluster.sluice.dev/run-for: 50ms}`, want: "Failed"},
		"good-said": {command: `["true"]`, annotations: `{devcluster.sluice.dev/exit-code: "0"}`, want: "Complete"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.Apply(t.Context(), fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: %s}
spec:
  backoffLimit: 0
  template:
    metadata: {annotations: %s}
    spec:
      restartPolicy: Never
      containers: [{name: main, image: none, command: %s}]
`, name, test.annotations, test.command))
			if err != nil {
				t.Fatal(err)
			}
			poll(t, "the job to end", func() error {
				job, err := client.BatchV1().Jobs("default").Get(t.Context(), name, metav1.GetOptions{})
				if err != nil {
					return err
				}
				for _, condition := range job.Status.Conditions {
					if string(condition.Type) == test.want && condition.Status == corev1.ConditionTrue {
						return nil
					}
				}
				return fmt.Errorf("conditions are %v, want %s", job.Status.Conditions, test.want)
			})
			err = client.BatchV1().Jobs("default").Delete(t.Context(), name, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationForeground)})
			if err != nil {
				t.Fatal(err)
			}
			poll(t, "the job and its pod to go", func() error {
				_, err := client.BatchV1().Jobs("default").Get(t.Context(), name, metav1.GetOptions{})
				if apierrors.IsNotFound(err) {
					return equal("pods", len(listPods(t, client, "job-name="+name)), 0)
				}
				return fmt.Errorf("the job is still there (%v)", err)
			})
		})
	}
}

func TestUsersAreUnderRBAC(t *testing.T) {
	c := startCluster(t, devcluster.Options{APIServerOnly: true})
	err := c.Apply(t.Context(), `
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: read}
rules: [{apiGroups: [""], resources: [pods], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: read}
subjects: [{kind: ServiceAccount, name: reader, namespace: default}]
`)
	if err != nil {
		t.Fatal(err)
	}
	byName, err := c.ConfigFor("system:serviceaccount:default:reader")
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.ServiceAccountToken(t.Context(), "default", "reader")
	if err != nil {
		t.Fatal(err)
	}
	byToken := &rest.Config{Host: c.Server(), BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAFile: c.CAPath()}}
	for name, cfg := range map[string]*rest.Config{"by name": byName, "by token": byToken} {
		client := clientFor(t, cfg)
		for verb, want := range map[string]bool{"list": true, "delete": false} {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: "default", Verb: verb, Resource: "pods"},
			}}
			got, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got.Status.Allowed != want {
				t.Errorf("%s: %s pods allowed is %v, want %v (%s)", name, verb, got.Status.Allowed, want, got.Status.Reason)
			}
		}
	}
}

func TestSeveralClustersAtOnce(t *testing.T) {
	for i := range 2 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, devcluster.Options{Nodes: 1})
			name := fmt.Sprintf("only-in-%d", i)
			if err := c.Apply(t.Context(), replicaSet(name, 2, nil)); err != nil {
				t.Fatal(err)
			}
			client := clientFor(t, c.Config())
			awaitReplicas(t, client, name, 2)
			all, err := client.AppsV1().ReplicaSets("").List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(all.Items) != 1 {
				t.Errorf("found %d replica sets, want the one of this cluster", len(all.Items))
			}
		})
	}
}

// startCluster starts a cluster, prints how long that took, and checks when the
// test ends that Stop leaves nothing.
func startCluster(t *testing.T, opts devcluster.Options) *devcluster.Cluster {
	t.Helper()
	return startWith(t, devcluster.Start, opts)
}

func startWith(t *testing.T, start func(context.Context, devcluster.Options) (*devcluster.Cluster, error), opts devcluster.Options) *devcluster.Cluster {
	t.Helper()
	began := time.Now()
	c, err := start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("cluster ready in %s (a build of its programs included)", time.Since(began).Round(10*time.Millisecond))
	t.Cleanup(func() {
		began := time.Now()
		if err := c.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
		t.Logf("cluster stopped in %s", time.Since(began).Round(10*time.Millisecond))
		checkNothingLeft(t, c)
	})
	return c
}

func checkNothingLeft(t *testing.T, c *devcluster.Cluster) {
	t.Helper()
	if _, err := os.Stat(c.Dir()); !os.IsNotExist(err) {
		t.Errorf("folder %s is still there (%v)", c.Dir(), err)
	}
	if left := processesOf(t, c.Dir()); len(left) > 0 {
		t.Errorf("processes are still there: %q", left)
	}
}

// processesOf lists the command lines of living processes that name dir.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(data), dir) {
			found = append(found, strings.ReplaceAll(string(data), "\x00", " "))
		}
	}
	return found
}

func clientFor(t *testing.T, cfg *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func replicaSet(name string, replicas int, annotations map[string]string) string {
	notes := ""
	for key, value := range annotations {
		notes += fmt.Sprintf("%s: %q, ", key, value)
	}
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}, annotations: {%[3]s}}
    spec: {containers: [{name: main, image: none}]}
`, name, replicas, notes)
}

func awaitReplicas(t *testing.T, client kubernetes.Interface, name string, want int) {
	t.Helper()
	poll(t, "replica set "+name+" to be available", func() error {
		set, err := client.AppsV1().ReplicaSets("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return equal("available replicas", available(set), want)
	})
}

func available(set *appsv1.ReplicaSet) int { return int(set.Status.AvailableReplicas) }

func listPods(t *testing.T, client kubernetes.Interface, selector string) []corev1.Pod {
	t.Helper()
	pods, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	return pods.Items
}

func ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func equal[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}

// poll looks until check returns nil. The limit is no expectation: it ends a
// test that would never end.
func poll(t *testing.T, what string, check func() error) {
	t.Helper()
	limit := time.Now().Add(2 * time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		<-tick.C
	}
}
