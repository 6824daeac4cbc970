// Command taskstep is a step plugin for stories. It leaves a Task for somebody else to do and waits until its status says
// how that went. Each operation has a Task of its own, so that whatever is begun twice shows.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/step"
)

const (
	group = "steps.example.com"
	kind  = "Task"
)

func main() {
	step.Serve(plugin.Info{
		Name: "taskstep", Version: "0.1.0",
		Kinds: []plugin.Kind{{Group: group, Kind: kind, Verbs: []plugin.Verb{plugin.Read, plugin.Create, plugin.Update}}},
	}, tasks{})
}

// block is the step's configuration.
type block struct {
	// Task is what the names of Tasks start with. Required.
	Task string `json:"task"`
	// Workers do it, 1 to 10. 0: 1.
	Workers int `json:"workers,omitempty"`
	// Threads is the old name of Workers.
	Threads int `json:"threads,omitempty"`
}

// task is what is read of a Task.
type task struct {
	Spec struct {
		Wanted string `json:"wanted"`
	} `json:"spec"`
	Status struct {
		Phase   string `json:"phase"`
		Message string `json:"message"`
	} `json:"status"`
}

type tasks struct{}

func (tasks) Validate(_ context.Context, req *step.ValidateRequest) error {
	b, err := parse(req.Config)
	if err == nil && b.Threads > 0 {
		req.Warnf("threads is called workers now")
	}

	return err
}

// Run leaves a Task that is to be done, or looks how it is going.
func (tasks) Run(_ context.Context, req *step.Request) (*step.Progress, error) {
	found, name, err := find(req)
	if err != nil {
		return nil, err
	}
	if found == nil {
		create, err := objects.NewCreate(map[string]any{
			"apiVersion": group + "/v1", "kind": kind, "metadata": map[string]any{"namespace": req.Target.Namespace, "name": name},
			"spec": map[string]any{"operation": req.OperationID, "wanted": "done"},
		})

		return progress(step.Running, "the task is not done", create), err
	}
	switch found.View.Status.Phase {
	case "done":
		return progress(step.Successful, found.View.Status.Message), nil
	case "failed":
		return progress(step.Failed, found.View.Status.Message), nil
	default:
		return progress(step.Running, "the task is not done"), nil
	}
}

// Terminate wants the Task stopped.
func (tasks) Terminate(_ context.Context, req *step.Request) (*step.Progress, error) {
	return end(req, "stopped")
}

// Abort wants the Task undone.
func (tasks) Abort(_ context.Context, req *step.Request) (*step.Progress, error) {
	return end(req, "undone")
}

func end(req *step.Request, wanted string) (*step.Progress, error) {
	found, _, err := find(req)
	if err != nil {
		return nil, err
	}
	if found == nil || found.View.Status.Phase == wanted {
		return progress(step.Successful, "the task is "+wanted), nil
	}
	found.Set(wanted, "spec", "wanted")
	writes, err := objects.Changed(found.Object)

	return progress(step.Running, "the task is not "+wanted, writes...), err
}

// find is the Task of the operation, nil while there is none.
func find(req *step.Request) (*objects.Typed[task], string, error) {
	b, err := parse(req.Config)
	if err != nil {
		return nil, "", err
	}
	name := fmt.Sprintf("%s-%x", b.Task, sha256.Sum256([]byte(req.OperationID)))[:len(b.Task)+9]
	found, err := objects.List[task](req.Inputs, objects.Need{
		Group: group, Kind: kind, Versions: []string{"v1"}, Namespace: req.Target.Namespace, Name: name,
	})
	if err != nil || len(found) == 0 {
		return nil, name, err
	}

	return found[0], name, nil
}

func progress(phase step.Phase, message string, writes ...objects.Write) *step.Progress {
	return &step.Progress{Phase: phase, Message: message, Writes: writes, State: []byte(`{"knows":"the task"}`)}
}

func parse(raw []byte) (block, error) {
	b, err := config.Decode[block](raw)
	switch {
	case err != nil:
	case b.Task == "":
		err = plugin.InvalidConfig("task", "is required")
	case b.Workers < 0 || b.Workers > 10:
		err = plugin.InvalidConfig("workers", "%d are too many; take 1 to 10", b.Workers)
	}

	return b, err
}
