package sim_test

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// lifecycleStories are about what happens to a Rollout besides its strategy.
var lifecycleStories = []story{
	{name: "rollback-window", about: "v1 is wanted back right after v2: within the rollback window no step is played.",
		play: func(w *sim.World) {
			ro := sim.NewRollout("v1", 4, half()...)
			ro.Spec.RollbackWindow = &v1alpha1.RollbackWindowSpec{Revisions: 2}
			w.Create(ro)
			w.Rest()
			updated(w, "v2")
			w.Deploy("v1")
		}},
	{name: "rollback-outside-window", about: "v1 is wanted back after v3: it is too old for the window, so every step is played.",
		play: func(w *sim.World) {
			ro := sim.NewRollout("v1", 4, half()...)
			ro.Spec.RollbackWindow = &v1alpha1.RollbackWindowSpec{Revisions: 1}
			w.Create(ro)
			w.Rest()
			updated(w, "v2")
			updated(w, "v3")
			w.Deploy("v1")
			w.Until("50 % of v1", pausedAt(1))
			w.Resume()
		}},
	{name: "history-trimmed", about: "revisionHistoryLimit is 1: of the old ReplicaSets only the youngest is kept.",
		play: func(w *sim.World) {
			limit := int32(1)
			ro := sim.NewRollout("v1", 2)
			ro.Spec.RevisionHistoryLimit = &limit
			w.Create(ro)
			for _, version := range []string{"v2", "v3", "v4"} {
				w.Rest()
				w.Deploy(version)
			}
		}},
	{name: "undo", about: "An undo writes the pod template of the ReplicaSet back, with the defaults that the API server filled in: it is v1 again, not a third revision.",
		play: func(w *sim.World) {
			running(w, "v1", half())
			updated(w, "v2")
			w.Undo("v1")
			w.Until("50 % of v1", pausedAt(1))
			w.Resume()
		}},
	{name: "hash-collision", about: "Somebody else's ReplicaSet has the name that v2 would get: it is counted as a collision, and v2 gets another name.",
		play: func(w *sim.World) {
			running(w, "v1", half())
			w.TakeName("v2")
			w.Deploy("v2")
			w.Until("50 % of v2", pausedAt(1))
			w.Resume()
		}},
	{name: "abort-delay-mistyped", about: "An update is aborted at 50 % with an abortScaleDownDelaySeconds of -1: what was meant is not known, so the pods of v2 stay until it is corrected.",
		play: func(w *sim.World) {
			atHalf(w)
			w.Edit("asks for a delay of -1 s", func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.AbortScaleDownDelaySeconds = new(int32(-1)) })
			w.Abort()
			w.Run(time.Minute)
			w.Edit("corrects it to 10 s", func(ro *v1alpha1.Rollout) { ro.Spec.Strategy.Canary.AbortScaleDownDelaySeconds = new(int32(10)) })
		}},
	{name: "deadline-recovers", about: "The pods of v2 come after the progress deadline: the rollout is Degraded until then, and goes on.",
		play: func(w *sim.World) {
			running(w, "v1", half())
			w.Edit("sets progressDeadlineSeconds to 60", func(ro *v1alpha1.Rollout) {
				seconds := int32(60)
				ro.Spec.ProgressDeadlineSeconds = &seconds
			})
			w.Crash("v2")
			w.Deploy("v2")
			w.Run(2 * time.Minute)
			w.Recover("v2")
			w.Until("50 % of v2", pausedAt(1))
			w.Resume()
		}},
}

// blueGreenRoles waits with v2 for its promotion, and roles mark the pods.
func blueGreenRoles(w *sim.World) {
	blueGreen(w, manual)
	w.SetRoles(map[string]string{"role": "preview", "new": "yes"}, map[string]string{"role": "active"})
	w.Rest()
	w.Deploy("v2")
	w.Until("v2 waits", promotable)
}

// updated plays a whole update with the steps of half().
func updated(w *sim.World, version string) {
	w.Deploy(version)
	w.Until("50 % of "+version, pausedAt(1))
	w.Resume()
	w.Rest()
}

// referring creates a Rollout for the Deployment web of v1, with 4 replicas.
func referring(w *sim.World, scaleDown string) {
	w.AddDeployment("v1", 4)
	w.Create(sim.Referring(sim.NewRollout("", 4, half()...), scaleDown))
}

// image is an edit of the Deployment.
func image(version string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Template = sim.PodTemplate(version) }
}

var workloadStories = []story{
	{name: "workload-onsuccess", about: "A Rollout takes over a Deployment: its pods go when those of the Rollout serve; an update of its template is an update of the Rollout.",
		play: func(w *sim.World) {
			referring(w, v1alpha1.ScaleDownOnSuccess)
			w.Rest()
			w.EditDeployment("sets the image of the Deployment to v2", image("v2"))
			w.Until("50 % of v2", pausedAt(1))
			w.Resume()
		}},
	{name: "workload-progressively", about: "The Deployment gives up its pods one by one; when those of the Rollout crash on the way it gets them back.",
		play: func(w *sim.World) {
			referring(w, v1alpha1.ScaleDownProgressively)
			w.Run(time.Second)
			w.KillPod("v1") // one pod comes later than the others
			w.Run(1500 * time.Millisecond)
			w.Crash("v1")
			w.Run(10 * time.Second)
			w.Recover("v1")
		}},
	{name: "workload-progressively-abort", about: "An update of the taken-over Deployment is aborted: the Deployment stays at 0, v1 of the Rollout serves.",
		play: func(w *sim.World) {
			referring(w, v1alpha1.ScaleDownProgressively)
			w.Rest()
			w.EditDeployment("sets the image of the Deployment to v2", image("v2"))
			w.Until("50 % of v2", pausedAt(1))
			w.Abort()
		}},
	{name: "workload-missing", about: "The Deployment does not exist, and is deleted later: the message names it, and what runs goes on running.",
		play: func(w *sim.World) {
			w.Create(sim.Referring(sim.NewRollout("", 4, half()...), v1alpha1.ScaleDownNever))
			w.Run(time.Minute)
			w.AddDeployment("v1", 4)
			w.Rest()
			w.DeleteDeployment()
			w.Run(time.Minute)
			w.Scale(6)
			w.Run(time.Minute)
			w.AddDeployment("v2", 0)
			w.Until("50 % of v2", pausedAt(1))
			w.Resume()
		}},
}

var podStories = []story{
	{name: "restart", about: "Pods are restarted by evictions, no more at a time than maxUnavailable allows.",
		play: func(w *sim.World) {
			running(w, "v1", half())
			w.Run(10 * time.Second)
			w.Restart()
			w.Run(2 * time.Minute)
		}},
	{name: "restart-across-budget", about: "A PodDisruptionBudget refuses every eviction: the restart says so and waits; when it allows one, the pods go one by one.",
		play: func(w *sim.World) {
			running(w, "v1", half())
			w.Run(10 * time.Second)
			w.SetBudget(4)
			w.Restart()
			w.Run(time.Minute)
			w.SetBudget(3)
			w.Run(2 * time.Minute)
		}},
	{name: "restart-later", about: "A restart that is asked for in five minutes waits for them.",
		play: func(w *sim.World) {
			running(w, "v1", half())
			at := metav1.NewTime(w.Now().Add(5 * time.Minute).Truncate(time.Second))
			w.Edit("asks for a restart in five minutes", func(ro *v1alpha1.Rollout) { ro.Spec.RestartAt = &at })
		}},
	{name: "role-metadata", about: "The pods of the canary are marked as such while they are, and as stable when they become it; no pod is restarted for that.",
		play: func(w *sim.World) {
			running(w, "v1", half())
			w.SetRoles(map[string]string{"role": "canary", "new": "yes"}, map[string]string{"role": "stable"})
			w.Rest()
			updated(w, "v2")
		}},
	{name: "role-metadata-abort", about: "An aborted canary stays marked as the canary; the pods it keeps never count as stable.",
		play: func(w *sim.World) {
			running(w, "v1", half())
			w.SetRoles(map[string]string{"role": "canary"}, map[string]string{"role": "stable"})
			w.Deploy("v2")
			w.Until("50 % of v2", pausedAt(1))
			w.Abort()
		}},
	{name: "anti-affinity", about: "The pods of v2 keep away from the nodes of v1 as long as both are there; it is not part of the revision, and goes when v2 is stable.",
		play: func(w *sim.World) {
			ro := sim.NewRollout("v1", 4, half()...)
			ro.Spec.Strategy.Canary.AntiAffinity = &v1alpha1.AntiAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: &v1alpha1.RequiredDuringSchedulingIgnoredDuringExecution{}}
			w.Create(ro)
			w.Rest()
			updated(w, "v2")
		}},
}

// roleStories are about marks on the pods of a blue-green Rollout.
var roleStories = []story{
	{name: "bluegreen-role-metadata", about: "The pods of the preview are marked as such until they are promoted, and as active then; those it replaces lose their mark.",
		play: func(w *sim.World) {
			blueGreenRoles(w)
			w.Run(time.Minute)
			w.Resume()
		}},
	{name: "bluegreen-role-metadata-abort", about: "An aborted preview stays marked as the preview; the active pods keep their mark.",
		play: func(w *sim.World) { blueGreenRoles(w); w.Abort() }},
	{name: "bluegreen-role-metadata-rollback", about: "The pods that return in their scale-down delay are marked as the preview, and as active again when users reach them.",
		play: func(w *sim.World) {
			blueGreenRoles(w)
			w.Resume()
			w.Until("v2 is stable", func(ro *v1alpha1.Rollout) bool { return ro.Status.Phase == v1alpha1.RolloutPhaseHealthy })
			w.Run(5 * time.Second)
			w.Deploy("v1")
		}},
}
