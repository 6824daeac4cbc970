package main

import (
	"fmt"
	"strconv"
	"time"
)

// Annotations a pod carries to misbehave. They are read again whenever the pod
// changes.
const (
	// annotationErrorPercent is a whole number from 0 to 100: how many of a
	// hundred requests are answered with status 500.
	annotationErrorPercent = "backend.sluice.dev/error-percent"
	// annotationLatency is a duration such as "50ms" that each answer waits.
	annotationLatency = "backend.sluice.dev/latency"
)

// behaviour is how a pod answers.
type behaviour struct {
	errorPercent uint64
	latency      time.Duration
	// malformed says what is wrong with the annotations; the pod then answers
	// every request with it, so that a typo cannot pass for a healthy pod.
	malformed string
}

func parseBehaviour(annotations map[string]string) behaviour {
	var b behaviour
	if text, set := annotations[annotationErrorPercent]; set {
		percent, err := strconv.ParseUint(text, 10, 8)
		if err != nil || percent > 100 {
			return behaviour{malformed: fmt.Sprintf("annotation %s is %q; it must be a whole number from 0 to 100", annotationErrorPercent, text)}
		}
		b.errorPercent = percent
	}
	if text, set := annotations[annotationLatency]; set {
		latency, err := time.ParseDuration(text)
		if err != nil || latency < 0 {
			return behaviour{malformed: fmt.Sprintf("annotation %s is %q; it must be a duration such as 50ms", annotationLatency, text)}
		}
		b.latency = latency
	}
	return b
}

// fails reports whether the n-th request, counted from 1, is answered with an
// error. Errors are spread evenly instead of drawn, so that the same requests
// give the same share in every run.
func (b behaviour) fails(n uint64) bool {
	return n*b.errorPercent/100 != (n-1)*b.errorPercent/100
}
