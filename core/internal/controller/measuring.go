package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis"
	"github.com/sluice-rollouts/sluice/core/internal/plugins"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// MetricPlugin is a metric provider as the plugin host offers it.
type MetricPlugin interface {
	Grant() rollout.Grant
	ValidateOnce(ctx context.Context, req analysis.Request) (needs []rollout.Need, remark string, err error)
	Measure(ctx context.Context, req analysis.Request) (analysis.Answer, error)
	CancelOnce(ctx context.Context, req analysis.Request) (plugins.Cleanup, error)
	CollectOnce(ctx context.Context, req analysis.Request, keep []string) (plugins.Cleanup, error)
}

// Measuring puts the broker in front of metric providers: it shows them the
// objects they need and makes the writes they answer with, so that a provider
// such as job has no credentials. Providers that need nothing are asked once.
type Measuring struct {
	// Plugin finds a provider by its catalog name, or says why there is none.
	Plugin  func(name string) (MetricPlugin, *rollout.Problem)
	Objects Objects

	mu sync.Mutex
	// needs are what each subscriber's provider last listed; the first call of
	// a process begins without.
	needs map[string][]rollout.Need
	// subscribers of each run, to be forgotten with it.
	subscribers map[types.NamespacedName]map[string]bool
	// valid are the metrics whose configuration is right, with what the provider
	// warns of in it. The configuration of a run never changes.
	valid map[string]string
	// changes of a subscriber's objects, for conversations that wait for them.
	changes map[string]chan struct{}
}

// NewMeasuring returns a Measuring that remembers nothing yet.
func NewMeasuring(plugin func(name string) (MetricPlugin, *rollout.Problem), objects Objects) *Measuring {
	return &Measuring{Plugin: plugin, Objects: objects, needs: map[string][]rollout.Need{}, valid: map[string]string{},
		subscribers: map[types.NamespacedName]map[string]bool{}, changes: map[string]chan struct{}{}}
}

// Provider implements analysis.Providers.
func (m *Measuring) Provider(name string) (analysis.Provider, *rollout.Problem) {
	plugin, problem := m.Plugin(name)
	if problem != nil {
		return nil, problem
	}
	return measured{m, plugin}, nil
}

// Forget drops what a run's providers needed; unknown runs are fine.
func (m *Measuring) Forget(run types.NamespacedName) {
	m.mu.Lock()
	gone := m.subscribers[run]
	delete(m.subscribers, run)
	for subscriber := range gone {
		delete(m.needs, subscriber)
		delete(m.valid, subscriber)
		delete(m.changes, subscriber)
	}
	m.mu.Unlock()
	for subscriber := range gone {
		m.Objects.Forget(subscriber)
	}
}

// Changed says that what a subscriber needs may be another by now. Strangers
// are fine.
func (m *Measuring) Changed(subscriber string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.changes[subscriber]; c != nil {
		close(c)
		delete(m.changes, subscriber)
	}
}

// change is closed with the next change.
func (m *Measuring) change(subscriber string) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changes[subscriber] == nil {
		m.changes[subscriber] = make(chan struct{})
	}
	return m.changes[subscriber]
}

// measured is one provider with the broker in front of it.
type measured struct {
	*Measuring
	plugin MetricPlugin
}

var _ analysis.Provider = measured{}

// Measure implements analysis.Provider. Before the first measurement the
// provider is asked whether the configuration is right.
func (m measured) Measure(ctx context.Context, req analysis.Request) (analysis.Answer, error) {
	warning, err := m.validate(ctx, req)
	if err != nil {
		return analysis.Answer{}, err
	}
	var answer analysis.Answer
	err = m.converse(ctx, req, func(req analysis.Request) ([]rollout.Need, []rollout.Write, error) {
		var err error
		answer, err = m.plugin.Measure(ctx, req)
		return answer.Needs, answer.Writes, err
	})
	var refused *refusedWrite
	switch {
	case errors.As(err, &refused):
		// The API server was asked and said no; asking again does not help.
		return analysis.Answer{Err: refused, Metadata: answer.Metadata, ResultMetadata: answer.ResultMetadata}, nil
	case err != nil:
		return analysis.Answer{}, err
	}
	answer.Needs, answer.Writes, answer.Warning = nil, nil, warning
	return answer, nil
}

func (m measured) validate(ctx context.Context, req analysis.Request) (warning string, err error) {
	subscriber := m.subscriber(req)
	m.mu.Lock()
	warning, done := m.valid[subscriber]
	m.mu.Unlock()
	if done || len(req.State) > 0 {
		return warning, nil
	}
	err = m.converse(ctx, req, func(req analysis.Request) ([]rollout.Need, []rollout.Write, error) {
		var needs []rollout.Need
		var err error
		needs, warning, err = m.plugin.ValidateOnce(ctx, req)
		return needs, nil, err
	})
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.valid[subscriber] = warning
	return warning, nil
}

// Cancel implements analysis.Provider.
func (m measured) Cancel(ctx context.Context, req analysis.Request) error {
	return m.clean(ctx, req, "the measurement being cancelled", func(req analysis.Request) (plugins.Cleanup, error) {
		return m.plugin.CancelOnce(ctx, req)
	})
}

// Collect implements analysis.Provider.
func (m measured) Collect(ctx context.Context, req analysis.Request, keep []string) error {
	return m.clean(ctx, req, "old measurements being collected", func(req analysis.Request) (plugins.Cleanup, error) {
		return m.plugin.CollectOnce(ctx, req, keep)
	})
}

// clean is done when the provider says so and its writes are made.
func (m measured) clean(ctx context.Context, req analysis.Request, what string, once func(analysis.Request) (plugins.Cleanup, error)) error {
	var last plugins.Cleanup
	err := m.converse(ctx, req, func(req analysis.Request) ([]rollout.Need, []rollout.Write, error) {
		var err error
		last, err = once(req)
		return last.Needs, last.Writes, err
	})
	if err != nil || last.Done {
		return err
	}
	return &rollout.Problem{Class: rollout.ProblemWaiting, Reason: string(rollout.HoldWaitingForPlugin), Retry: last.Retry,
		Message: fmt.Sprintf("plugin %s waits for %s: %s", req.Plugin, what, last.Message)}
}

// converse asks until the answer needs nothing it was not shown, and makes its
// writes. Objects that changed in between are a reason to ask again, like
// those that are not listed yet: nothing is measured until then.
func (m measured) converse(ctx context.Context, req analysis.Request, ask func(analysis.Request) ([]rollout.Need, []rollout.Write, error)) error {
	caller, subscriber := runCaller(req.Run), m.subscriber(req)
	for range maxRounds {
		needs := m.listed(subscriber)
		var problem *rollout.Problem
		if req.Inputs, problem = m.inputs(ctx, caller, subscriber, needs); problem != nil {
			return problem
		}
		wanted, writes, err := ask(req)
		if err != nil {
			return err
		}
		if !sameNeeds(wanted, needs) {
			m.list(subscriber, wanted)
			if !covered(wanted, req.Inputs) {
				continue
			}
		}
		return m.apply(ctx, req, caller, writes)
	}
	return &rollout.Problem{Class: rollout.ProblemRefused, Reason: string(rollout.HoldPluginRefused), Retry: refusalFor,
		Message: fmt.Sprintf("it asked for other objects in each of %d answers to the same question; it has to list all its needs in each answer", maxRounds)}
}

// inputs shows the needs, and waits a while for those that are still being
// listed: a conversation has a goroutine of its own, and the first one with a
// kind would otherwise be over before it began.
func (m measured) inputs(ctx context.Context, caller rollout.Caller, subscriber string, needs []rollout.Need) ([]rollout.NeedResult, *rollout.Problem) {
	if len(needs) == 0 {
		return nil, nil
	}
	patience := time.NewTimer(waitFor)
	defer patience.Stop()
	for {
		changed := m.change(subscriber)
		inputs := m.Objects.Resolve(caller, subscriber, m.plugin.Grant(), needs)
		problem := unready(inputs)
		if problem == nil || problem.Class != rollout.ProblemWaiting {
			return inputs, problem
		}
		select {
		case <-changed:
		case <-patience.C:
			return nil, problem
		case <-ctx.Done():
			return nil, problem
		}
	}
}

// refusedWrite is the API server's refusal of what a provider wants written.
type refusedWrite struct{ err error }

func (e *refusedWrite) Error() string { return e.err.Error() }

func (e *refusedWrite) Unwrap() error { return e.err }

func (m measured) apply(ctx context.Context, req analysis.Request, caller rollout.Caller, writes []rollout.Write) error {
	for _, write := range writes {
		if req.Leaks != nil && req.Leaks(write.JSON) {
			return &refusedWrite{errors.New("an object would store the value of a Secret: let the object refer to the Secret instead, such as with secretKeyRef or a volume")}
		}
	}
	err := m.Objects.Apply(ctx, caller, m.plugin.Grant(), req.Inputs, writes)
	switch {
	case err == nil:
		return nil
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsForbidden(err):
		return &refusedWrite{err}
	case apierrors.IsConflict(err):
		return &rollout.Problem{Class: rollout.ProblemWaiting, Reason: string(rollout.HoldWaitingForPlugin), Message: err.Error(), Retry: firstAgain}
	}
	return err
}

// firstAgain is how soon a conflict is tried again.
const firstAgain = behind

func runCaller(run *v1alpha1.AnalysisRun) rollout.Caller {
	return rollout.Caller{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindAnalysisRun,
		Namespace: run.Namespace, Name: run.Name, UID: string(run.UID)}
}

// subscriber is one metric of one run.
func (m *Measuring) subscriber(req analysis.Request) string {
	key := types.NamespacedName{Namespace: req.Run.Namespace, Name: req.Run.Name}
	s := Subscriber(v1alpha1.KindAnalysisRun, key, req.Metric.Name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.subscribers[key] == nil {
		m.subscribers[key] = map[string]bool{}
	}
	m.subscribers[key][s] = true
	return s
}

func (m *Measuring) listed(subscriber string) []rollout.Need {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.needs[subscriber]
}

func (m *Measuring) list(subscriber string, needs []rollout.Need) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.needs[subscriber] = needs
}

// apiServers are the addresses of the API server as this process knows it:
// users may not aim plugins at it unless an administrator allows it.
func apiServers(hosts ...string) []string {
	var out []string
	for _, host := range hosts {
		if u, err := url.Parse(host); err == nil && u.Hostname() != "" {
			host = u.Hostname()
		}
		if host == "" {
			continue
		}
		found, err := net.LookupIP(host)
		if err != nil {
			continue // what has no address now cannot be protected by it; plugins look kubernetes.default.svc up themselves
		}
		for _, ip := range found {
			out = append(out, ip.String())
		}
	}
	return out
}
