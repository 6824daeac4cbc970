#!/usr/bin/env bash
# What a newcomer does, as it could be typed: install, a canary, an analysis that
# fails, an undo, a blue-green, and everything away again. newcomer_test.go gives it a
# cluster, in which "start_controller" stands for the pods that a kubelet would start;
# in test/e2e/realnode a kubelet does.
set -euo pipefail

say() { echo "--- $*"; }
phase() { # ROLLOUT PHASE: wait until the controller has looked at the newest spec and says so
  kubectl wait "rollout/$1" -n shop --timeout=90s --for=jsonpath='{.status.phase}'="$2" >/dev/null ||
    { kubectl get "rollout/$1" -n shop -o yaml; return 1; }
}
image() { kubectl patch rollout "$1" -n shop --type=json -p '[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "'"$2"'"}]'; }

say "install"
kubectl apply -k deploy/
kubectl wait --for=condition=Established crd/rollouts.argoproj.io
again=$(kubectl apply -k deploy/)
# Twice is as good as once. Of what the API server completes, kubectl says "configured" all the same.
if grep -E '^(clusterrole|role|customresource)[^ ]* configured' <<<"$again"; then exit 1; fi
[ "$(kubectl get deployment sluice-controller -n sluice -o jsonpath='{.metadata.generation}')" = 1 ]
start_controller

say "a canary that waits for a person"
kubectl create namespace shop
kubectl apply -n shop -f - <<'YAML'
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "example.com/web:v1"}]}
  strategy: {canary: {steps: [{setWeight: 25}, {pause: {}}, {analysis: {templates: [{templateName: smoke}]}}]}}
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: smoke}
spec:
  metrics:
    - name: smoke
      provider:
        job:
          spec:
            backoffLimit: 0
            template: {spec: {restartPolicy: Never, containers: [{name: smoke, image: "example.com/smoke:v1"}]}}
YAML
phase web Healthy
image web example.com/web:v2
phase web Paused
[ "$(kubectl get rs -n shop -l app=web -o jsonpath='{range .items[*]}{.spec.replicas} {end}' | tr ' ' '\n' | sort -n | tail -1)" = 3 ]

say "promote: the analysis runs as a Job and passes"
kubectl patch rollout web -n shop --subresource=status --type=merge -p '{"status": {"pauseConditions": null}}'
phase web Healthy
[ "$(kubectl get analysisrun -n shop -o jsonpath='{.items[*].status.phase}')" = Successful ]

say "abort, and undo"
image web example.com/web:v3
phase web Paused
kubectl patch rollout web -n shop --subresource=status --type=merge -p '{"status": {"abort": true}}'
phase web Degraded
image web example.com/web:v2
phase web Healthy

say "a mistake is told when it is made, and stored as Argo Rollouts would"
told=$(kubectl patch rollout web -n shop --type=merge -p '{"spec": {"minReadySeconds": 700}}' 2>&1)
[[ $told == *Warning:*spec.progressDeadlineSeconds* ]]
phase web Degraded
kubectl patch rollout web -n shop --type=merge -p '{"spec": {"minReadySeconds": null}}'
phase web Healthy

say "blue-green"
kubectl apply -n shop -f - <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: active}
spec: {selector: {app: api}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: preview}
spec: {selector: {app: api}, ports: [{port: 80}]}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: api}
spec:
  replicas: 2
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: api, image: "example.com/api:v1"}]}
  strategy: {blueGreen: {activeService: active, previewService: preview, autoPromotionEnabled: false, scaleDownDelaySeconds: 1}}
YAML
phase api Healthy
before=$(kubectl get service active -n shop -o jsonpath='{.spec.selector.rollouts-pod-template-hash}')
image api example.com/api:v2
phase api Paused
[ "$(kubectl get service active -n shop -o jsonpath='{.spec.selector.rollouts-pod-template-hash}')" = "$before" ]
[ "$(kubectl get service preview -n shop -o jsonpath='{.spec.selector.rollouts-pod-template-hash}')" != "$before" ]
kubectl patch rollout api -n shop --subresource=status --type=merge -p '{"status": {"pauseConditions": null}}'
phase api Healthy
[ "$(kubectl get service active -n shop -o jsonpath='{.spec.selector.rollouts-pod-template-hash}')" != "$before" ]

say "uninstall: nothing has a finalizer, nothing is left"
kubectl delete rollouts,analysistemplates --all -n shop --timeout=60s
kubectl delete namespace shop --timeout=60s
stop_controller
kubectl delete -k deploy/ --timeout=60s >/dev/null
left=$(kubectl get crd,clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding,namespace,lease,configmap -A -o name | grep -iE 'sluice|argo' || true)
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
say "done"
