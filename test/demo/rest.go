//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/sluice-rollouts/sluice/test/demo/internal/measure"
	"github.com/sluice-rollouts/sluice/test/demo/internal/quiet"
	"github.com/sluice-rollouts/sluice/test/demo/internal/watch"
)

const (
	// scaledLimit bounds how long old ReplicaSets may take to be scaled down,
	// restLimit how long the counters may take to stand still for stillFor.
	scaledLimit = 2 * time.Minute
	restLimit   = 30 * time.Second
	stillFor    = 3 * time.Second
)

// reading is what the counters say at one time.
type reading struct {
	controller quiet.Controller
	// audited is how much of the audit log was there.
	audited int64
}

// rest checks that a rollout at rest costs nothing: once the last ReplicaSet is
// scaled down, the counters must not move.
func (d *demo) rest(ctx context.Context) ([]measure.Check, error) {
	if err := d.settle(ctx); err != nil {
		return nil, err
	}
	before, err := d.read(ctx)
	if err != nil {
		return nil, err
	}
	d.note("all is done; watching for %s that nothing goes on", d.quiet)
	select {
	case <-time.After(d.quiet):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	after, err := d.read(ctx)
	if err != nil {
		return nil, err
	}
	audit, err := d.audited(before.audited, after.audited)
	if err != nil {
		return nil, err
	}
	user := "system:serviceaccount:" + controllerNamespace + ":" + controllerAccount
	for _, other := range slices.Sorted(maps.Keys(audit)) {
		if other != user {
			d.note("writes of others meanwhile, %s: %s", other, audit[other])
		}
	}
	return restChecks(d.quiet, after.controller.Since(before.controller), audit[user]), nil
}

// restChecks judges what was counted at rest.
func restChecks(lasted time.Duration, counted quiet.Controller, audited quiet.Counts) []measure.Check {
	at := fmt.Sprintf("at rest, over %s: ", lasted)
	return []measure.Check{
		{
			What:   at + "no API writes but lease renewals, by the controller's counter",
			OK:     counted.Writes.Total() == 0,
			Detail: fmt.Sprintf("%s; leases: %s", counted.Writes, counted.Leases),
		},
		{
			What:   at + "no API writes but lease renewals, by the API server's audit log",
			OK:     audited.Total() == 0,
			Detail: audited.String(),
		},
		{
			What:   at + "no plugin calls but health checks",
			OK:     counted.Calls.Total() == 0,
			Detail: fmt.Sprintf("%s; health checks: %s", counted.Calls, counted.HealthChecks),
		},
	}
}

// settle waits until the old ReplicaSets are scaled down and the counters stand
// still. If they never do, the minute after shows it.
func (d *demo) settle(ctx context.Context) error {
	d.note("waiting for the old pods to be scaled down")
	scaled, cancel := context.WithTimeoutCause(ctx, scaledLimit, fmt.Errorf("they are still there after %s", scaledLimit))
	defer cancel()
	_, err := d.feed.Await(scaled, "old pods to be scaled down", func(s watch.State) bool {
		for _, set := range s.Sets {
			stable := s.Rollout != nil && set.Labels[hashLabel] == s.Rollout.Status.StableRS
			if !stable && (wantedReplicas(set) > 0 || set.Status.Replicas > 0) {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	limit := time.After(restLimit)
	last, since := quiet.Controller{}, d.clock()
	for tick := time.Tick(500 * time.Millisecond); ; {
		now, err := d.read(ctx)
		if err != nil {
			return err
		}
		moved := now.controller.Since(last)
		if moved.Writes.Total() > 0 || moved.Calls.Total() > 0 {
			last, since = now.controller, d.clock()
		}
		if d.clock()-since >= stillFor {
			return nil
		}
		select {
		case <-tick:
		case <-limit:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// read reads the controller's counters and the length of the audit log.
func (d *demo) read(ctx context.Context) (reading, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+metricsPort+"/metrics", nil)
	if err != nil {
		return reading{}, err
	}
	transport := &http.Transport{DialContext: d.stack.cluster.Dial, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport, Timeout: requestTimeout}).Do(request)
	if err != nil {
		return reading{}, fmt.Errorf("asking the controller for its metrics: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return reading{}, fmt.Errorf("asking the controller for its metrics: %s", response.Status)
	}
	counted, err := quiet.ReadController(response.Body)
	if err != nil {
		return reading{}, err
	}
	info, err := os.Stat(d.stack.auditLog())
	if err != nil {
		return reading{}, err
	}
	return reading{controller: counted, audited: info.Size()}, nil
}

// audited reads a part of the audit log.
func (d *demo) audited(from, to int64) (map[string]quiet.Counts, error) {
	log, err := os.Open(d.stack.auditLog())
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	return quiet.ReadAudit(io.NewSectionReader(log, from, to-from))
}
