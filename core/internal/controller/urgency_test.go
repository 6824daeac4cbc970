package controller

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// at is a canary of four steps, as far as it has come; -1 is at rest.
func at(name string, step int32) *v1alpha1.Rollout {
	ro := served(name, name, name+"-canary")
	ro.Spec.Strategy.Canary.Steps = make([]v1alpha1.CanaryStep, 4)
	ro.Generation = 1
	ro.Status.StableRS, ro.Status.CurrentPodHash = "old", "old"
	if step >= 0 {
		ro.Status.CurrentPodHash, ro.Status.CurrentStepIndex = "new", &step
	}
	return ro
}

func request(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: name}}
}

// served by one thread when everything is asked for at once.
func order(t *testing.T, first *urgency, ask ...string) []string {
	t.Helper()
	q := urgentQueue(first)("test", retries())
	t.Cleanup(q.ShutDown)
	for _, name := range ask {
		q.Add(request(name))
	}
	var out []string
	for range ask {
		req, _ := q.Get()
		q.Done(req)
		out = append(out, req.Name)
	}
	return out
}

// When more is asked for than the threads can do, an update close to its end
// comes before one that is far from it, and those that have not begun come last.
// Whoever is at rest is served first: that costs little.
func TestUpdatesThatHaveBegunComeFirst(t *testing.T) {
	first := &urgency{}
	learn := first.learns()
	for _, ro := range []*v1alpha1.Rollout{at("begins", 0), at("half-way", 2), at("nearly-there", 4), at("at-rest", -1)} {
		learn.Create(event.CreateEvent{Object: ro})
	}
	fresh := at("fresh", -1)
	fresh.Generation = 2
	fresh.Spec.Template.Labels = map[string]string{"version": "2"}
	learn.Update(event.UpdateEvent{ObjectOld: at("fresh", -1), ObjectNew: fresh})

	assert.Equal(t, []string{"at-rest", "nearly-there", "half-way", "begins", "fresh"},
		order(t, first, "fresh", "begins", "half-way", "nearly-there", "at-rest"))
}

// What a person says in the middle of an update does not wait, and neither does
// a change of the replicas of a Rollout at rest.
func TestWhatAPersonSaysComesFirst(t *testing.T) {
	aborted := at("said", 1)
	aborted.Status.Abort = true
	back := at("said", 1)
	back.Generation = 2
	back.Spec.Template.Labels = map[string]string{"version": "1"}
	five := int32(5)
	scaled := at("said", -1)
	scaled.Generation, scaled.Spec.Replicas = 2, &five
	for name, change := range map[string]event.UpdateEvent{
		"an abort":               {ObjectOld: at("said", 1), ObjectNew: aborted},
		"a rollback":             {ObjectOld: at("said", 1), ObjectNew: back},
		"another scale, at rest": {ObjectOld: at("said", -1), ObjectNew: scaled},
		"the end of an update":   {ObjectOld: at("said", 4), ObjectNew: at("said", -1)},
	} {
		t.Run(name, func(t *testing.T) {
			first := &urgency{}
			learn := first.learns()
			learn.Create(event.CreateEvent{Object: at("other", 4)})
			learn.Create(event.CreateEvent{Object: at("said", 1)})
			learn.Update(change)
			assert.Equal(t, []string{"said", "other"}, order(t, first, "other", "said"))
		})
	}
}

// A first listing comes after everything else, whatever it lists is doing.
func TestAFirstListingComesLast(t *testing.T) {
	first := &urgency{}
	first.learns().Create(event.CreateEvent{Object: at("begins", 0)})
	q, listing := urgentQueue(first)("test", retries()).(*urgent), -100
	t.Cleanup(q.ShutDown)
	q.AddWithOpts(priorityqueue.AddOpts{Priority: &listing}, request("listed"))
	q.Add(request("begins"))
	next, _ := q.Get()
	assert.Equal(t, "begins", next.Name)
}

// The memory of a Rollout that is gone goes with it.
func TestUrgencyForgets(t *testing.T) {
	first := &urgency{}
	first.learns().Create(event.CreateEvent{Object: at("gone", 1)})
	first.learns().Delete(event.DeleteEvent{Object: at("gone", 1)})
	assert.Empty(t, first.of)
}

// changed is a queue of Rollouts at rest that were all given another version.
func changed(t *testing.T, names ...string) (*urgent, *urgency) {
	t.Helper()
	first := &urgency{}
	q := urgentQueue(first)("test", retries()).(*urgent)
	t.Cleanup(q.ShutDown)
	for _, name := range names {
		fresh := at(name, -1)
		fresh.Generation = 2
		fresh.Spec.Template.Labels = map[string]string{"version": "2"}
		first.learns().Update(event.UpdateEvent{ObjectOld: at(name, -1), ObjectNew: fresh})
		q.Add(request(name))
	}
	return q, first
}

func next(q *urgent) string {
	req, _ := q.Get()
	return req.Name
}

// Threads that have nothing else to do begin one update after the other: what
// the API server has to do then is for those that have begun.
func TestUpdatesBeginOneAfterTheOther(t *testing.T) {
	q, first := changed(t, "a", "b", "c")
	assert.Equal(t, "a", next(q))
	first.learns().Create(event.CreateEvent{Object: at("begun", 1)})
	q.Add(request("begun"))
	assert.Equal(t, "begun", next(q), "b waits for a")
	q.Done(request("a"))
	assert.Equal(t, "b", next(q))
	q.Done(request("b"))
	assert.Equal(t, "c", next(q))
}

// A first pass that does not end, as with a webhook that does not answer, holds
// up the others for a moment only.
func TestAnUpdateThatCannotBeginHoldsUpNobody(t *testing.T) {
	q, _ := changed(t, "stuck", "b", "c")
	assert.Equal(t, "stuck", next(q))
	assert.Equal(t, "b", next(q))
	assert.Equal(t, "c", next(q))
	q.Done(request("stuck"))
	q.AddRateLimited(request("stuck"))
	assert.Equal(t, "stuck", next(q), "and it is tried again")
}

// Who waits for its turn and is paused, aborted or rolled back is served at
// once, and not once more when its turn would have come.
func TestWhatAPersonSaysWaitsForNoTurn(t *testing.T) {
	q, first := changed(t, "a", "b", "c")
	assert.Equal(t, "a", next(q))
	was, said := at("b", -1), at("b", -1)
	was.Generation, said.Generation = 2, 3
	said.Spec.Paused = true
	first.learns().Update(event.UpdateEvent{ObjectOld: was, ObjectNew: said})
	q.Add(request("b"))
	assert.Equal(t, "b", next(q))
	q.Done(request("b"))
	q.Done(request("a"))
	assert.Equal(t, "c", next(q))
}
