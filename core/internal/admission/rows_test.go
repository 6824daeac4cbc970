package admission_test

const (
	podYAML = `
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "example.com/web:v1"}]}
  strategy:
`
	basicYAML     = podYAML + "    canary: {steps: [{setWeight: 20}, {pause: {}}]}\n"
	blueGreenYAML = podYAML + "    blueGreen: {activeService: active, previewService: preview}\n"
	routedYAML    = podYAML + `
    canary:
      stableService: stable
      canaryService: canary
      trafficRouting:
        managedRoutes: [{name: beta}, {name: mirror}]
        plugins: {argoproj-labs/gatewayAPI: {httpRoute: web}}
      steps: [{setWeight: 20}, {pause: {duration: 10s}}]
`
	referringYAML = `
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  workloadRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  strategy: {canary: {steps: [{setWeight: 20}]}}
`
	canaryPath = "spec.strategy.canary."
)

// admissionRows are Rollouts and the path of their one fault; no path, no fault.
var admissionRows = []struct{ name, base, patch, path string }{
	{"a routed canary", routedYAML, "{}", ""},
	{"a canary by replicas", basicYAML, "{}", ""},
	{"a blue-green", blueGreenYAML, "{}", ""},
	{"a reference to a Deployment", referringYAML, "{}", ""},
	{"no replicas at all", routedYAML, "spec: {replicas: 0}", ""},
	{"replicas left out", routedYAML, "spec: {replicas: null}", ""},
	{"blue-green without preview", blueGreenYAML, "spec: {strategy: {blueGreen: {previewService: null}}}", ""},
	{"built-in router", routedYAML, "spec: {strategy: {canary: {trafficRouting: {plugins: null, istio: {virtualService: {name: web}}}}}}", ""},
	{"bounds", basicYAML, `spec: {strategy: {canary: {maxSurge: 0, maxUnavailable: "25%"}}}`, ""},
	{"bound of one pod", basicYAML, `spec: {strategy: {canary: {maxSurge: 1, maxUnavailable: 0}}}`, ""},
	{"ping-pong", routedYAML, "spec: {strategy: {canary: {stableService: null, canaryService: null, pingPong: {pingService: a, pongService: b}}}}", ""},
	{"anti-affinity", routedYAML, "spec: {strategy: {canary: {antiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {}}}}}", ""},
	{"weights up to the total", routedYAML, "spec: {strategy: {canary: {trafficRouting: {maxTrafficWeight: 1000}, steps: [{setWeight: 1000}]}}}", ""},
	{"every kind of step", routedYAML, steps("{setWeight: 5}", "{pause: {}}", "{pause: {duration: 30}}", `{pause: {duration: "30"}}`, "{pause: {duration: 1h30m}}",
		"{pause: {duration: 1.5m}}", "{setCanaryScale: {weight: 10}}", "{setCanaryScale: {replicas: 0}}", "{setCanaryScale: {matchTrafficWeight: true}}",
		"{setHeaderRoute: {name: beta, match: [{headerName: x, headerValue: {exact: one}}]}}", "{setHeaderRoute: {name: beta}}",
		"{setMirrorRoute: {name: mirror, percentage: 50, match: [{method: {exact: GET}, path: {prefix: /}}]}}", "{setMirrorRoute: {name: mirror}}",
		"{plugin: {name: example/step}}", "{experiment: {templates: [{name: a, specRef: canary, weight: 5}, {name: b, specRef: stable, replicas: 1}]}}"), ""},

	{"scale and routes beside a weight", routedYAML, steps("{setWeight: 5, setCanaryScale: {weight: 10}, setHeaderRoute: {name: beta}}"), ""},

	{"negative minReadySeconds", routedYAML, "spec: {minReadySeconds: -1}", "spec.minReadySeconds"},
	{"negative revisionHistoryLimit", routedYAML, "spec: {revisionHistoryLimit: -1}", "spec.revisionHistoryLimit"},
	{"deadline too short", routedYAML, "spec: {progressDeadlineSeconds: 10, minReadySeconds: 10}", "spec.progressDeadlineSeconds"},
	{"ready later than the usual deadline", routedYAML, "spec: {minReadySeconds: 600}", "spec.progressDeadlineSeconds"},
	{"no selector", routedYAML, "spec: {selector: null}", "spec.selector"},
	{"empty selector", routedYAML, "spec: {selector: {matchLabels: null}}", "spec.selector"},
	{"other labels", routedYAML, "spec: {template: {metadata: {labels: {app: other}}}}", "spec.template.metadata.labels"},
	{"no labels", routedYAML, "spec: {template: {metadata: null}}", "spec.template.metadata.labels"},
	{"no containers", routedYAML, "spec: {template: {spec: {containers: []}}}", "spec.template.spec.containers"},
	{"template and reference", referringYAML, `spec: {template: {spec: {containers: [{name: web, image: "example.com/web:v1"}]}}}`, "spec.template"},
	{"no anti-affinity in it", routedYAML, "spec: {strategy: {canary: {antiAffinity: {}}}}", canaryPath + "antiAffinity"},
	{"both kinds of anti-affinity", blueGreenYAML, "spec: {strategy: {blueGreen: {antiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {}, preferredDuringSchedulingIgnoredDuringExecution: {weight: 1}}}}}", "spec.strategy.blueGreen.antiAffinity"},
	{"weight of anti-affinity", routedYAML, "spec: {strategy: {canary: {antiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: {weight: 101}}}}}", canaryPath + "antiAffinity"},
	{"no strategy", routedYAML, "spec: {strategy: null}", "spec.strategy"},
	{"two strategies", routedYAML, "spec: {strategy: {blueGreen: {activeService: active}}}", "spec.strategy"},

	{"no active Service", blueGreenYAML, "spec: {strategy: {blueGreen: {activeService: ''}}}", "spec.strategy.blueGreen.activeService"},
	{"one Service for both", blueGreenYAML, "spec: {strategy: {blueGreen: {previewService: active}}}", "spec.strategy.blueGreen.previewService"},
	{"negative autoPromotionSeconds", blueGreenYAML, "spec: {strategy: {blueGreen: {autoPromotionSeconds: -1}}}", "spec.strategy.blueGreen.autoPromotionSeconds"},
	{"negative previewReplicaCount", blueGreenYAML, "spec: {strategy: {blueGreen: {previewReplicaCount: -1}}}", "spec.strategy.blueGreen.previewReplicaCount"},
	{"negative scaleDownDelaySeconds of blue-green", blueGreenYAML, "spec: {strategy: {blueGreen: {scaleDownDelaySeconds: -1}}}", "spec.strategy.blueGreen.scaleDownDelaySeconds"},
	{"negative abortScaleDownDelaySeconds of blue-green", blueGreenYAML, "spec: {strategy: {blueGreen: {abortScaleDownDelaySeconds: -1}}}", "spec.strategy.blueGreen.abortScaleDownDelaySeconds"},
	{"more delayed revisions than history", blueGreenYAML, "spec: {revisionHistoryLimit: 2, strategy: {blueGreen: {scaleDownDelayRevisionLimit: 3}}}", "spec.strategy.blueGreen.scaleDownDelayRevisionLimit"},

	{"negative scaleDownDelaySeconds", routedYAML, "spec: {strategy: {canary: {scaleDownDelaySeconds: -1}}}", canaryPath + "scaleDownDelaySeconds"},
	{"negative abortScaleDownDelaySeconds", routedYAML, "spec: {strategy: {canary: {abortScaleDownDelaySeconds: -1}}}", canaryPath + "abortScaleDownDelaySeconds"},
	{"neither surge nor unavailable", basicYAML, `spec: {strategy: {canary: {maxSurge: "0%", maxUnavailable: 0}}}`, canaryPath + "maxUnavailable"},
	{"scaleDownDelaySeconds without router", basicYAML, "spec: {strategy: {canary: {scaleDownDelaySeconds: 30}}}", canaryPath + "scaleDownDelaySeconds"},
	{"dynamicStableScale without router", basicYAML, "spec: {strategy: {canary: {dynamicStableScale: true}}}", canaryPath + "dynamicStableScale"},
	{"dynamicStableScale and a delay", routedYAML, "spec: {strategy: {canary: {dynamicStableScale: true, scaleDownDelaySeconds: 30}}}", canaryPath + "scaleDownDelaySeconds"},
	{"ping without pong", routedYAML, "spec: {strategy: {canary: {pingPong: {pingService: a}}}}", canaryPath + "pingPong.pongService"},
	{"ping is pong", routedYAML, "spec: {strategy: {canary: {pingPong: {pingService: a, pongService: a}}}}", canaryPath + "pingPong.pongService"},
	{"one Service for stable and canary", routedYAML, "spec: {strategy: {canary: {canaryService: stable}}}", canaryPath + "canaryService"},
	{"no stable Service", routedYAML, "spec: {strategy: {canary: {stableService: null}}}", canaryPath + "stableService"},
	{"no canary Service", routedYAML, "spec: {strategy: {canary: {canaryService: null}}}", canaryPath + "canaryService"},
	{"no weight at all", routedYAML, "spec: {strategy: {canary: {trafficRouting: {maxTrafficWeight: 0}, steps: null}}}", canaryPath + "trafficRouting.maxTrafficWeight"},
	{"no router", routedYAML, "spec: {strategy: {canary: {trafficRouting: {plugins: null}}}}", canaryPath + "trafficRouting"},
	{"empty plugins", routedYAML, "spec: {strategy: {canary: {trafficRouting: {plugins: {argoproj-labs/gatewayAPI: null}}}}}", canaryPath + "trafficRouting"},

	{"two kinds in a step", routedYAML, steps("{setWeight: 5, pause: {}}"), canaryPath + "steps[0]"},
	{"plugin beside a weight", routedYAML, steps("{setWeight: 5, plugin: {name: a/b}}"), canaryPath + "steps[0]"},
	{"empty step", routedYAML, steps("{setWeight: 5}", "{}"), canaryPath + "steps[1]"},
	{"weight above 100", routedYAML, steps("{setWeight: 101}"), canaryPath + "steps[0].setWeight"},
	{"negative weight", basicYAML, steps("{setWeight: -1}"), canaryPath + "steps[0].setWeight"},
	{"pause of no length", routedYAML, steps("{pause: {duration: soon}}"), canaryPath + "steps[0].pause.duration"},
	{"pause without unit", routedYAML, steps(`{pause: {duration: "1h30"}}`), canaryPath + "steps[0].pause.duration"},
	{"negative pause", routedYAML, steps("{pause: {duration: -5}}"), canaryPath + "steps[0].pause.duration"},
	{"setCanaryScale without router", basicYAML, steps("{setCanaryScale: {weight: 10}}"), canaryPath + "steps[0].setCanaryScale"},
	{"empty setCanaryScale", routedYAML, steps("{setCanaryScale: {}}"), canaryPath + "steps[0].setCanaryScale"},
	{"setCanaryScale that matches nothing", routedYAML, steps("{setCanaryScale: {matchTrafficWeight: false}}"), canaryPath + "steps[0].setCanaryScale"},
	{"negative setCanaryScale", routedYAML, steps("{setCanaryScale: {replicas: -1}}"), canaryPath + "steps[0].setCanaryScale"},
	{"header route without router", basicYAML, steps("{setHeaderRoute: {name: beta}}"), canaryPath + "steps[0].setHeaderRoute"},
	{"mirror route without router", basicYAML, steps("{setMirrorRoute: {name: beta}}"), canaryPath + "steps[0].setMirrorRoute"},
	{"unmanaged header route", routedYAML, steps("{setHeaderRoute: {name: other}}"), canaryPath + "steps[0].setHeaderRoute"},
	{"mirror route without name", routedYAML, steps("{setMirrorRoute: {}}"), canaryPath + "steps[0].setMirrorRoute"},
	{"header without name", routedYAML, steps("{setHeaderRoute: {name: beta, match: [{headerValue: {exact: one}}]}}"), canaryPath + "steps[0].setHeaderRoute"},
	{"header without value", routedYAML, steps("{setHeaderRoute: {name: beta, match: [{headerName: x}]}}"), canaryPath + "steps[0].setHeaderRoute"},
	{"header with two values", routedYAML, steps("{setHeaderRoute: {name: beta, match: [{headerName: x, headerValue: {exact: a, regex: b}}]}}"), canaryPath + "steps[0].setHeaderRoute"},
	{"more than everything mirrored", routedYAML, steps("{setMirrorRoute: {name: mirror, percentage: 101}}"), canaryPath + "steps[0].setMirrorRoute.percentage"},
	{"method that says nothing", routedYAML, steps("{setMirrorRoute: {name: mirror, match: [{method: {}}]}}"), canaryPath + "steps[0].setMirrorRoute"},
	{"path twice", routedYAML, steps("{setMirrorRoute: {name: mirror, match: [{path: {exact: /, prefix: /}}]}}"), canaryPath + "steps[0].setMirrorRoute"},
	{"plugin step without name", routedYAML, steps("{plugin: {}}"), canaryPath + "steps[0].plugin.name"},
	{"experiment without templates", routedYAML, steps("{experiment: {}}"), canaryPath + "steps[0].experiment"},
	{"templates of one name", routedYAML, steps("{experiment: {templates: [{name: a, specRef: canary}, {name: a, specRef: stable}]}}"), canaryPath + "steps[0].experiment"},
	{"template without name", routedYAML, steps("{experiment: {templates: [{specRef: canary}]}}"), canaryPath + "steps[0].experiment"},
	{"template of another spec", routedYAML, steps("{experiment: {templates: [{name: a, specRef: other}]}}"), canaryPath + "steps[0].experiment"},
	{"negative weight of a template", routedYAML, steps("{experiment: {templates: [{name: a, specRef: canary, weight: -1}]}}"), canaryPath + "steps[0].experiment"},
	{"weight of a template without router", basicYAML, steps("{experiment: {templates: [{name: a, specRef: canary, weight: 1}]}}"), canaryPath + "steps[0].experiment"},
}
