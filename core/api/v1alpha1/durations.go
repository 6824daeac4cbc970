package v1alpha1

import (
	"math"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// DurationString is a Go duration such as "90s" or "1h30m". Empty means that
// none is given; what that means is said where the field is.
type DurationString string

// Duration parses the string. An empty string is an error, as it is for
// time.ParseDuration.
func (d DurationString) Duration() (time.Duration, error) {
	return time.ParseDuration(string(d))
}

// DurationSeconds is the pause in whole seconds: an integer and a string
// without a unit are seconds, any other string is a Go duration, cut off to
// whole seconds. It is 0 without a Duration (the pause is indefinite then),
// and −1 if the string cannot be read. Values beyond 32 bits are limited to
// what fits.
func (p RolloutPause) DurationSeconds() int32 {
	if p.Duration == nil {
		return 0
	}
	if p.Duration.Type == intstr.Int {
		return p.Duration.IntVal
	}
	text := p.Duration.StrVal
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return saturate32(seconds)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return -1
	}
	return saturate32(int64(d / time.Second))
}

func saturate32(n int64) int32 {
	return int32(min(max(n, math.MinInt32), math.MaxInt32))
}
