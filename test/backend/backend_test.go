package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
)

// testGrace is long enough never to run out in a test that waits for a pod, and
// longGone short enough not to hold up a test of a pod that never comes.
const (
	testGrace = time.Minute
	longGone  = time.Millisecond
)

func readyPod(name, ip string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "demo", UID: types.UID("uid-" + name),
			Labels:      map[string]string{"rollouts-pod-template-hash": "abc"},
			Annotations: map[string]string{},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "registry.example:5000/app:v2"}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: ip,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func annotated(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations[key] = value }
}

// serve answers for pods on a loopback address and returns its URL.
func serve(t *testing.T, ip string, pods *directory, grace time.Duration) string {
	t.Helper()
	inner, err := net.Listen("tcp", ip+":0")
	require.NoError(t, err)
	server := newServer()
	go func() { _ = server.Serve(newListener(inner, pods, grace)) }()
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + inner.Addr().String()
}

func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func get(t *testing.T, client *http.Client, url string) (int, answer) {
	t.Helper()
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	var a answer
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&a))
	// To the end, so that the connection is used again.
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, a
}

func TestAnswersForThePodOfTheAddress(t *testing.T) {
	pods := newDirectory()
	pods.set(readyPod("one", "127.0.0.2"))
	pods.set(readyPod("two", "127.0.0.3", func(p *corev1.Pod) {
		p.Labels = map[string]string{"pod-template-hash": "def"}
		p.Spec.Containers[0].Image = "app"
	}))
	client := newClient(t)

	code, a := get(t, client, serve(t, "127.0.0.2", pods, testGrace))
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, answer{Pod: "one", Version: "v2", Hash: "abc"}, a)

	_, a = get(t, client, serve(t, "127.0.0.3", pods, testGrace))
	assert.Equal(t, answer{Pod: "two", Version: "latest", Hash: "def"}, a)
}

func TestResetsConnectionsToNoLivePod(t *testing.T) {
	now := metav1.Now()
	cases := map[string]struct {
		change  func(*corev1.Pod)
		answers bool
	}{
		"ready":             {func(*corev1.Pod) {}, true},
		"not ready":         {func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }, false},
		"no conditions yet": {func(p *corev1.Pod) { p.Status.Conditions = nil }, false},
		"pending":           {func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, false},
		"terminating":       {func(p *corev1.Pod) { p.DeletionTimestamp = &now }, true},
		"terminating and no longer ready": {func(p *corev1.Pod) {
			p.DeletionTimestamp = &now
			p.Status.Conditions[0].Status = corev1.ConditionFalse
		}, true},
		"failed":             {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, false},
		"on another address": {func(p *corev1.Pod) { p.Status.PodIP = "127.0.0.9" }, false},
		"without address":    {func(p *corev1.Pod) { p.Status.PodIP = "" }, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			pods := newDirectory()
			pods.set(readyPod("one", "127.0.0.2", c.change))
			url := serve(t, "127.0.0.2", pods, longGone)
			if c.answers {
				_, a := get(t, newClient(t), url)
				assert.Equal(t, "one", a.Pod)
				return
			}
			requireReset(t, url)
		})
	}
}

func TestAPodThatStopsBeingReadyIsReset(t *testing.T) {
	pods := newDirectory()
	pods.set(readyPod("one", "127.0.0.2"))
	pods.set(readyPod("one", "127.0.0.2", func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }))
	requireReset(t, serve(t, "127.0.0.2", pods, longGone))
}

func TestAConnectionWaitsForItsPod(t *testing.T) {
	pods := newDirectory()
	url := serve(t, "127.0.0.2", pods, testGrace)
	got := make(chan int)
	go func() {
		resp, err := newClient(t).Get(url)
		if err != nil {
			got <- 0
			return
		}
		_ = resp.Body.Close()
		got <- resp.StatusCode
	}()
	pods.set(readyPod("other", "127.0.0.3"))
	pods.set(readyPod("one", "127.0.0.2"))
	assert.Equal(t, http.StatusOK, <-got)
}

func TestADeletedPodResetsItsOpenConnections(t *testing.T) {
	pods := newDirectory()
	one := readyPod("one", "127.0.0.2")
	pods.set(one)
	url := serve(t, "127.0.0.2", pods, longGone)

	conn, err := net.Dial("tcp", url[len("http://"):])
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte("GET / HTTP/1.1\r\nHost: app\r\n\r\n"))
	require.NoError(t, err)
	buf := make([]byte, 12)
	_, err = io.ReadFull(conn, buf)
	require.NoError(t, err)
	assert.Equal(t, "HTTP/1.1 200", string(buf))

	pods.remove(one)
	_, err = io.Copy(io.Discard, conn)
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestAnAddressUsedAgainBelongsToTheNewPod(t *testing.T) {
	pods := newDirectory()
	old := readyPod("old", "127.0.0.2")
	pods.set(old)
	pods.set(readyPod("new", "127.0.0.2"))
	pods.remove(old)
	_, a := get(t, newClient(t), serve(t, "127.0.0.2", pods, testGrace))
	assert.Equal(t, "new", a.Pod)
}

func TestErrorsAreSpreadEvenlyAndFollowTheAnnotation(t *testing.T) {
	pods := newDirectory()
	pods.set(readyPod("one", "127.0.0.2", annotated(annotationErrorPercent, "25")))
	client, url := newClient(t), serve(t, "127.0.0.2", pods, testGrace)
	var codes []int
	for range 8 {
		code, a := get(t, client, url)
		assert.Equal(t, "v2", a.Version, "an error tells its version, too")
		codes = append(codes, code)
	}
	assert.Equal(t, []int{200, 200, 200, 500, 200, 200, 200, 500}, codes)

	pods.set(readyPod("one", "127.0.0.2"))
	for range 4 {
		code, _ := get(t, client, url)
		assert.Equal(t, http.StatusOK, code)
	}
}

func TestMalformedAnnotationsAreAnswered(t *testing.T) {
	for key, value := range map[string]string{annotationErrorPercent: "101", annotationLatency: "fast"} {
		pods := newDirectory()
		pods.set(readyPod("one", "127.0.0.2", annotated(key, value)))
		code, a := get(t, newClient(t), serve(t, "127.0.0.2", pods, testGrace))
		assert.Equal(t, http.StatusInternalServerError, code)
		assert.Contains(t, a.Error, key)
		assert.Contains(t, a.Error, value)
	}
}

func TestLatencyDelaysTheAnswer(t *testing.T) {
	b := parseBehaviour(map[string]string{annotationLatency: "20ms"})
	require.Empty(t, b.malformed)
	pods := newDirectory()
	pods.set(readyPod("one", "127.0.0.2", annotated(annotationLatency, "20ms")))
	client, url := newClient(t), serve(t, "127.0.0.2", pods, testGrace)
	began := time.Now()
	get(t, client, url)
	// A lower bound holds on however slow a machine.
	assert.GreaterOrEqual(t, time.Since(began), b.latency)
}

func TestMetricsCountRequestsButNotScrapes(t *testing.T) {
	pods := newDirectory()
	pods.set(readyPod("one", "127.0.0.2", annotated(annotationErrorPercent, "50")))
	client, url := newClient(t), serve(t, "127.0.0.2", pods, testGrace)
	for range 4 {
		get(t, client, url)
	}
	var text string
	for range 2 {
		resp, err := client.Get(url + "/metrics")
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		text = string(body)
	}
	assert.Contains(t, text, `http_requests_total{code="200",version="v2"} 2`)
	assert.Contains(t, text, `http_requests_total{code="500",version="v2"} 2`)
}

func TestFollowKnowsPodsAsTheyComeAndGo(t *testing.T) {
	ctx := t.Context()
	client := fake.NewClientset(readyPod("one", "127.0.0.2"))
	pods := newDirectory()
	require.NoError(t, follow(ctx, client, "demo", pods))
	there, cancel := context.WithTimeout(ctx, longGone)
	defer cancel()
	require.NotNil(t, pods.find(there, localhost(t, "127.0.0.2")), "known as soon as follow returns")

	_, err := client.CoreV1().Pods("demo").Create(ctx, readyPod("two", "127.0.0.3"), metav1.CreateOptions{})
	require.NoError(t, err)
	require.NotNil(t, pods.find(ctx, localhost(t, "127.0.0.3")))

	require.NoError(t, client.CoreV1().Pods("demo").Delete(ctx, "one", metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		soon, cancel := context.WithTimeout(ctx, longGone)
		defer cancel()
		return pods.find(soon, localhost(t, "127.0.0.2")) == nil
	}, testGrace, time.Millisecond)
}

func localhost(t *testing.T, ip string) netip.Addr {
	t.Helper()
	address, err := netip.ParseAddr(ip)
	require.NoError(t, err)
	return address
}

// requireReset connects without sending: after a write, the error might be
// another one than the reset.
func requireReset(t *testing.T, url string) {
	t.Helper()
	conn, err := net.Dial("tcp", url[len("http://"):])
	if err == nil {
		defer func() { _ = conn.Close() }()
		_, err = conn.Read(make([]byte, 1))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
}
