package main

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"
)

// maxName is the longest name of a Job: it becomes the value of a label of its pods.
const maxName = 63

// plain is a DNS subdomain, RFC 1123.
var plain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// jobName is the name of a measurement's Job: its id, <run UID>.<metric>.<n>, where that is a name. Otherwise the metric is
// shortened and the id's hash added, so that two metrics that begin alike never share a Job.
func jobName(id string) string {
	if len(id) <= maxName && plain.MatchString(id) {
		return id
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	uid, rest, _ := strings.Cut(strings.ToLower(id), ".")
	metric, number := rest, ""
	if i := strings.LastIndex(rest, "."); i >= 0 {
		metric, number = rest[:i], rest[i:]
	}
	tail := fmt.Sprintf("%08x", h.Sum32())
	if n := clean(number); n != "" {
		tail += "." + n
	}
	head := strings.Trim(clean(uid)+"."+clean(metric), ".")
	head = strings.TrimRight(head[:min(len(head), maxName-len(tail)-1)], "-.")
	if head == "" {
		return tail
	}

	return head + "-" + tail
}

// clean replaces what no label of a name may have.
func clean(text string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}

		return '-'
	}, text), "-")
}
