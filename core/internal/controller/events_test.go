package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// mailbox is the events API: it keeps what it gets, in order, by object.
type mailbox struct {
	typedcorev1.EventInterface

	mu       sync.Mutex
	requests int
	got      map[string][]string
	// answer is asked before each creation; nil accepts.
	answer func(n int) error
}

func (m *mailbox) Events(string) typedcorev1.EventInterface { return m }

func (m *mailbox) CreateWithEventNamespaceWithContext(_ context.Context, e *corev1.Event) (*corev1.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests++
	if m.answer != nil {
		if err := m.answer(m.requests); err != nil {
			return nil, err
		}
	}
	m.got[e.InvolvedObject.Name] = append(m.got[e.InvolvedObject.Name], e.Message)
	return e, nil
}

func (m *mailbox) CreateWithEventNamespace(e *corev1.Event) (*corev1.Event, error) {
	return m.CreateWithEventNamespaceWithContext(context.Background(), e)
}

func newMailbox(t *testing.T, answer func(int) error) (*mailbox, *Events) {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	m := &mailbox{got: map[string][]string{}, answer: answer}
	return m, NewEvents(scheme, m, nil, logr.Discard())
}

func about(name string) *v1alpha1.Rollout {
	return &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-" + name)}}
}

// 5,000 Rollouts are found when the controller starts. client-go's broadcaster
// alone drops events when more than 1,000 wait.
func TestNoEventIsDroppedAtTheStart(t *testing.T) {
	m, events := newMailbox(t, nil)
	for i := range 5000 {
		events.Event(about(fmt.Sprint("app-", i)), corev1.EventTypeNormal, "RolloutAddedToInformer", "added")
	}
	events.Shutdown()
	assert.Len(t, m.got, 5000)
	assert.Equal(t, 5000, m.requests, "one request for each event")
}

func TestEventsOfOneObjectKeepTheirOrder(t *testing.T) {
	m, events := newMailbox(t, nil)
	var want []string
	for i := range 200 {
		message := fmt.Sprint("step ", i)
		want = append(want, message)
		for _, name := range []string{"a", "b", "c"} {
			events.Event(about(name), corev1.EventTypeNormal, "RolloutStepCompleted", message)
		}
	}
	events.Shutdown()
	for _, name := range []string{"a", "b", "c"} {
		assert.Equal(t, want, m.got[name])
	}
}

// A server that does not answer is asked again; one that refuses is not.
func TestEventsAreWrittenAgainUnlessRefused(t *testing.T) {
	m, events := newMailbox(t, func(n int) error {
		switch n {
		case 1:
			return errors.New("connection refused")
		case 3:
			return apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "x", errors.New("no"))
		}
		return nil
	})
	for _, message := range []string{"one", "two", "three"} {
		events.Event(about("a"), corev1.EventTypeNormal, "R", message)
	}
	events.Shutdown()
	assert.Equal(t, []string{"one", "three"}, m.got["a"])
	assert.Equal(t, 4, m.requests)
}
