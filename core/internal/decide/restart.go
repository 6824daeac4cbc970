package decide

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// restartPoll is when an eviction that was asked for is looked at again without
// an event.
const restartPoll = 30 * time.Second

// restartPods evicts pods that are older than spec.restartAt, a few at a time:
// as many as are available beyond what maxUnavailable wants kept, at least one.
// It reports that a canary's pass ends here, so that nothing else is lowered on
// counts that the evictions change.
func (p *planner) restartPods() bool {
	at := p.ro.Spec.RestartAt
	if at == nil || at.Equal(p.ro.Status.RestartedAt) {
		return false
	}
	if p.s.Now.Before(at.Time) {
		p.wake(at.Time)
		return false
	}
	if p.s.Pods == nil || p.aborted() && !p.quiet() {
		return false // an abort takes its traffic back first
	}
	left, may := 0, p.mayRestart()
	evicts := false
	for _, rs := range p.byRole() {
		for _, pod := range p.s.Pods {
			if pod.ReplicaSet != string(rs.UID) || pod.Terminating || !pod.Created.Before(at.Time) {
				continue
			}
			if left++; may <= 0 {
				continue
			}
			may--
			evicts = true
			p.add(rollout.EvictPod{Identity: rollout.Identity{OpID: "evict/" + rollout.OpID(pod.Name)}, Name: pod.Name, UID: pod.UID})
		}
	}
	if left == 0 {
		p.plan.RestartedAt = at.DeepCopy()
		return false
	}
	if evicts {
		p.wake(p.s.Now.Add(restartPoll)) // what a budget refuses comes without an event
	} else {
		p.hold(rollout.Hold{Reason: rollout.HoldWaitingForPods, EndedBy: "pods becoming available",
			What: fmt.Sprintf("%d pods are still to be restarted, and too few are available to evict one", left)})
	}
	return evicts && p.bg == nil
}

// mayRestart is how many available pods there are beyond those to keep.
func (p *planner) mayRestart() int {
	available, wanted := 0, int64(0)
	for _, pod := range p.s.Pods {
		if pod.Available && !pod.Terminating {
			available++
		}
	}
	for _, rs := range p.s.ReplicaSets {
		wanted += int64(rollout.SpecReplicas(rs))
	}
	keep := max(int64(p.want), wanted) - max(1, p.mayMiss())
	return int(min(int64(available)-keep, math.MaxInt32))
}

// mayMiss is maxUnavailable in pods, rounded down. A string is a percent with or
// without the sign.
func (p *planner) mayMiss() int64 {
	value := p.canary.MaxUnavailableOrDefault()
	if p.bg != nil {
		value = p.bg.MaxUnavailableOrDefault()
	}
	if value.Type == intstr.Int {
		return int64(value.IntVal)
	}
	percent, err := strconv.ParseInt(strings.TrimSuffix(value.StrVal, "%"), 10, 32)
	if err != nil {
		return 0
	}
	return percent * int64(p.want) / 100
}

// byRole lists the ReplicaSets in the order their pods are restarted: stable,
// new, then the others, oldest first.
func (p *planner) byRole() []*appsv1.ReplicaSet {
	var out []*appsv1.ReplicaSet
	if p.stableRS != nil {
		out = append(out, p.stableRS)
	}
	if p.newRS != nil && p.newRS != p.stableRS {
		out = append(out, p.newRS)
	}
	for i := len(p.others) - 1; i >= 0; i-- {
		out = append(out, p.others[i])
	}
	return out
}
