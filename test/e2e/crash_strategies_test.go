package e2e

import (
	"github.com/sluice-rollouts/sluice/test/e2e/crashing"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// crashesOfStrategies are the stories for TestCrashes besides canaries with one
// router and steps.
var crashesOfStrategies = []crashing.Scenario{
	{Name: "basic canary",
		Deploy: func(a *stage.App) {
			a.Apply(basicYAML("2", "steps: [{setWeight: 20}, {pause: {duration: 1s}}, {setWeight: 50}, {pause: {duration: 1s}}]"))
			a.Await("v1 is healthy", serves("v1", 2))
		},
		Play:  func(a *stage.App) { a.Update("v2") },
		Ended: func(w stage.World) bool { return serves("v2", 2)(w) && w.Wanted("v1") == 0 }},
	{Name: "background analysis",
		Deploy: func(a *stage.App) {
			a.Deploy(stage.SetWeight(20), stage.ShortPause, stage.SetWeight(50), stage.ShortPause)
			a.PatchRollout(`{"spec": {"strategy": {"canary": {"analysis": {"templates": [{"templateName": "errors"}]}}}}}`)
		},
		Play:  func(a *stage.App) { a.Update("v2") },
		Ended: done("v2", "v1")},
	{Name: "dynamic stable scale",
		Deploy: func(a *stage.App) {
			a.Deploy(stage.SetWeight(50), stage.Pause)
			a.PatchRollout(`{"spec": {"strategy": {"canary": {"dynamicStableScale": true, "scaleDownDelaySeconds": null}}}}`)
		},
		Play: func(a *stage.App) {
			a.Update("v2")
			a.Await("paused at 50", func(w stage.World) bool { return w.Paused(1, 50) })
			resume(a)
		},
		Ended: done("v2", "v1")},
	{Name: "blue-green that promotes itself",
		Deploy: func(a *stage.App) {
			deployBlueGreen(a, "{activeService: app-active, previewService: app-preview, scaleDownDelaySeconds: 1}")
		},
		Play:  func(a *stage.App) { a.Update("v2") },
		Ended: func(w stage.World) bool { return reaches("v2")(w) && w.Wanted("v1") == 0 }},
	{Name: "blue-green with analyses before and after the switch",
		Deploy: func(a *stage.App) {
			deployBlueGreen(a, `{activeService: app-active, previewService: app-preview, scaleDownDelaySeconds: 1,
    prePromotionAnalysis: {templates: [{templateName: errors}]}, postPromotionAnalysis: {templates: [{templateName: errors}]}}`)
		},
		Play:  func(a *stage.App) { a.Update("v2") },
		Ended: func(w stage.World) bool { return reaches("v2")(w) && w.Wanted("v1") == 0 }},
}
