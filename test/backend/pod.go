package main

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
)

// hashLabels carry the identity of a pod's revision; the first one that is set
// counts.
var hashLabels = []string{"rollouts-pod-template-hash", "pod-template-hash"}

// answer is the body of every answer.
type answer struct {
	Pod     string `json:"pod"`
	Version string `json:"version"`
	Hash    string `json:"hash"`
	Error   string `json:"error,omitempty"`
}

// pod answers the requests to one pod's address.
type pod struct {
	identity  answer
	behaviour atomic.Pointer[behaviour]
	served    atomic.Uint64
	requests  *prometheus.CounterVec
	metrics   http.Handler

	mu sync.Mutex
	// conns are the open connections; nil once the pod is gone.
	conns map[net.Conn]struct{}
}

func newPod(from *corev1.Pod) *pod {
	p := &pod{
		identity: answer{Pod: from.Name, Version: version(from), Hash: hash(from)},
		conns:    map[net.Conn]struct{}{},
	}
	p.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name:        "http_requests_total",
		Help:        "Requests answered, by status code.",
		ConstLabels: prometheus.Labels{"version": p.identity.Version},
	}, []string{"code"})
	registry := prometheus.NewRegistry()
	registry.MustRegister(p.requests)
	p.metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	p.update(from)
	return p
}

// update takes over what may change in a pod's life.
func (p *pod) update(from *corev1.Pod) {
	b := parseBehaviour(from.Annotations)
	p.behaviour.Store(&b)
}

// ServeHTTP answers as the pod's app would.
func (p *pod) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/metrics" {
		p.metrics.ServeHTTP(w, r)
		return
	}
	b := *p.behaviour.Load()
	if b.latency > 0 {
		select {
		case <-time.After(b.latency):
		case <-r.Context().Done():
			return
		}
	}
	body, code := p.identity, http.StatusOK
	switch {
	case b.malformed != "":
		body.Error, code = b.malformed, http.StatusInternalServerError
	case b.fails(p.served.Add(1)):
		body.Error, code = "failing on purpose, see annotation "+annotationErrorPercent, http.StatusInternalServerError
	}
	p.requests.WithLabelValues(strconv.Itoa(code)).Inc()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Asked", r.URL.RequestURI()) // after what gateways rewrite
	w.WriteHeader(code)
	// An error here means that the client has gone.
	_ = json.NewEncoder(w).Encode(body)
}

// adopt remembers a connection. It reports false when the pod is gone.
func (p *pod) adopt(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *pod) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// kill resets the pod's connections, as the kernel does when a process dies.
func (p *pod) kill() {
	p.mu.Lock()
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for c := range conns {
		reset(c)
	}
}

// version is the tag of the first container's image.
func version(p *corev1.Pod) string {
	if len(p.Spec.Containers) == 0 {
		return ""
	}
	image := p.Spec.Containers[0].Image
	// A colon before the last slash belongs to a registry's port.
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		return image[colon+1:]
	}
	return "latest"
}

func hash(p *corev1.Pod) string {
	for _, label := range hashLabels {
		if value := p.Labels[label]; value != "" {
			return value
		}
	}
	return ""
}
