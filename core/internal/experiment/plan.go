package experiment

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Plan is what one pass over an Experiment wants.
type Plan struct {
	// Ops in the order they are executed. Besides those of this package they
	// are rollout.UpdateReplicaSet and rollout.TerminateAnalysisRun.
	Ops []rollout.Op
	// Status follows from the snapshot; Record adds what came of the Ops.
	Status v1alpha1.ExperimentStatus
	// Invalid is the message of the InvalidSpec condition; "" when valid.
	Invalid string
	// Wake is when to look again without an event; zero means never.
	Wake time.Time
}

// CreateReplicaSet creates the ReplicaSet of a template with 0 replicas. A name
// that somebody else has gets "-1", "-2" … appended.
type CreateReplicaSet struct {
	rollout.Identity
	Template   string
	ReplicaSet *appsv1.ReplicaSet
}

// CreateService creates the Service of a template.
type CreateService struct {
	rollout.Identity
	Template string
	Service  *corev1.Service
}

// DeleteService removes the Service of a template that has no pods left.
type DeleteService struct {
	rollout.Identity
	Name            string
	UID             string
	ResourceVersion string
}

// CreateRun creates the AnalysisRun that status names for an analysis.
type CreateRun struct {
	rollout.Identity
	Analysis string
	Run      *v1alpha1.AnalysisRun
}

// TakenError says that a name belongs to an object of somebody else.
type TakenError struct{ Kind, Namespace, Name string }

func (e *TakenError) Error() string {
	return fmt.Sprintf("%s %s/%s exists and does not belong to this experiment: delete it, or choose another name",
		e.Kind, e.Namespace, e.Name)
}

func (p *planner) add(op rollout.Op) { p.plan.Ops = append(p.plan.Ops, op) }

func (p *planner) wake(t time.Time) {
	if p.plan.Wake.IsZero() || t.Before(p.plan.Wake) {
		p.plan.Wake = t
	}
}

func identity(verb, name string) rollout.Identity {
	return rollout.Identity{OpID: rollout.OpID(verb + "/" + name)}
}
